//! Pulling from a real registry.

use std::net::TcpListener;
use std::time::Duration;

use podling::engine::docker::{Deadlines, DockerEngine};
use podling::engine::{Engine, EngineError, PullProgress};
use podling::runtime::clock;

use crate::support::Rig;
use crate::support::docker::docker_host;
use crate::support::proxy::{Flow, Proxy};
use crate::support::registry::{Registry, Tag};

/// Silence for longer than this is a stall, here.
const STALL: Duration = Duration::from_secs(2);

/// An Engine with little patience for pulls.
fn impatient() -> DockerEngine {
    drop(Rig::docker());
    let deadlines = Deadlines { pull_stall: STALL, ..Deadlines::default() };
    DockerEngine::connect(docker_host().as_deref(), deadlines).unwrap()
}

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
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let engine = impatient();
    let image = format!("127.0.0.1:{}/a:1", silent.local_addr().unwrap().port());
    let began = clock::mono();
    let given_up = engine.pull(&image.parse().unwrap(), &mut |_| {});
    assert!(clock::mono().since(began) < STALL * 4);
    assert_eq!(given_up, Err(stalled(image)));
}

fn stalled(image: String) -> EngineError {
    EngineError::Pull { image, why: "nothing moved for 2 s".to_owned() }
}

/// The way is slow enough for many times the patience that a silence meets.
#[test]
fn an_image_that_crawls_is_waited_for_as_long_as_bytes_move() {
    const BYTES: usize = 96 << 10;
    let (engine, registry) = (impatient(), Registry::start());
    let tag = registry.push_with_noise(BYTES as u64);
    let way = Proxy::to(registry.socket_address());
    let image = Tag(format!("{}/podling/busybox:{tag}", way.address()));
    way.flows(Flow::Crawls(BYTES / 8));
    let (began, mut seen) = (clock::mono(), Vec::new());
    let mut note = |progress: PullProgress| seen.push((progress.current_bytes, progress.total_bytes));
    assert_eq!(engine.pull(&image.0.parse().unwrap(), &mut note), Ok(()));
    let took = clock::mono().since(began);
    assert!(took > STALL * 3, "{took:?}");
    assert!(seen.len() > 10 && seen.is_sorted(), "{seen:?}");
    let total = seen.last().unwrap().1;
    assert!(total >= BYTES as u64 && seen.iter().all(|(_, of)| *of == total), "{seen:?}");
}

#[test]
fn an_image_that_stops_in_the_middle_is_given_up_and_can_be_pulled_later() {
    const BYTES: usize = 2 << 20;
    let (engine, registry) = (impatient(), Registry::start());
    let tag = registry.push_with_noise(BYTES as u64);
    let way = Proxy::to(registry.socket_address());
    let image = Tag(format!("{}/podling/busybox:{tag}", way.address()));
    let pull = |progress: &mut dyn FnMut(PullProgress)| engine.pull(&image.0.parse().unwrap(), progress);

    way.flows(Flow::Stalls(BYTES / 2));
    let (began, mut moved_at, mut furthest) = (clock::mono(), clock::mono(), 0);
    let given_up = pull(&mut |progress| {
        (moved_at, furthest) = (clock::mono(), progress.current_bytes);
    });
    let now = clock::mono();
    assert_eq!(given_up, Err(stalled(image.0.clone())));
    assert!((1..BYTES as u64).contains(&furthest), "{furthest} bytes came");
    let silence = now.since(moved_at);
    assert!(silence >= STALL.mul_f32(0.9) && silence < STALL * 4, "{silence:?} of {:?}", now.since(began));

    way.flows(Flow::Free);
    assert_eq!(pull(&mut |_| {}), Ok(()));
}
