//! Pulling from a real registry.

use std::net::TcpListener;
use std::time::Duration;

use podling::engine::docker::{Deadlines, DockerEngine};
use podling::engine::{Engine, EngineError};
use podling::runtime::clock;

use crate::support::Rig;
use crate::support::docker::docker_host;
use crate::support::registry::Registry;

#[test]
fn an_image_comes_from_a_registry_or_its_words_do() {
    let rig = Rig::docker();
    let registry = Registry::start();
    let tag = registry.push();

    let image = tag.0.parse().unwrap();
    assert_eq!(rig.engine.has_image(&image), Ok(false));
    rig.engine.pull(&image, &mut |_| {}).unwrap();
    assert_eq!(rig.engine.has_image(&image), Ok(true));

    let absent = registry.image("absent");
    let refused = rig.engine.pull(&absent.parse().unwrap(), &mut |_| {}).unwrap_err();
    assert!(
        matches!(&refused, EngineError::Pull { image, why } if *image == absent && why.contains("manifest unknown")),
        "{refused:?}"
    );
}

#[test]
fn a_registry_that_hangs_is_given_up() {
    drop(Rig::docker());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let deadlines = Deadlines { pull_stall: Duration::from_secs(1), ..Deadlines::default() };
    let engine = DockerEngine::connect(docker_host().as_deref(), deadlines).unwrap();
    let image = format!("127.0.0.1:{}/a:1", silent.local_addr().unwrap().port());
    let began = clock::mono();
    let given_up = engine.pull(&image.parse().unwrap(), &mut |_| {});
    assert!(clock::mono().since(began) < Duration::from_secs(5));
    let why = "nothing moved for 1 s".to_owned();
    assert_eq!(given_up, Err(EngineError::Pull { image, why }));
}
