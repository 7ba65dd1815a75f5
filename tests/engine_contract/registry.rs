//! Pulling from a real registry: Debian's `docker-registry`, on loopback, with a folder of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use podling::engine::docker::{Deadlines, DockerEngine};
use podling::engine::{Engine, EngineError};
use podling::runtime::clock;

use crate::support::{Rig, ask_docker, docker_host};

const PROGRAM: &str = "/usr/bin/docker-registry";

/// A registry, ended with the test.
struct Registry {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing: run apt-get install docker-registry");
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (config, log) = (folder.path().join("config.yml"), folder.path().join("log"));
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            folder.path().join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&config)
            .stdout(File::create(log).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.by_ref().any(|line| line.is_ok_and(|line| line.contains("listening on")));
        assert!(ready, "the registry ended");
        // Nobody reads on: it says little, and its pipe holds that.
        std::mem::forget(lines);
        Self { child, port, _folder: folder }
    }

    fn image(&self, tag: &str) -> String {
        format!("127.0.0.1:{}/podling/busybox:{tag}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An image name on the Docker Engine, taken away with the test.
struct Tag(String);

impl Drop for Tag {
    fn drop(&mut self) {
        ask_docker("DELETE", &format!("/images/{}", self.0), "");
    }
}

#[test]
fn an_image_comes_from_a_registry_or_its_words_do() {
    let rig = Rig::docker();
    let registry = Registry::start();
    let repository = format!("127.0.0.1:{}/podling/busybox", registry.port);
    let tag = Tag(registry.image("v1"));
    let (status, body) =
        ask_docker("POST", &format!("/images/podling/busybox:latest/tag?repo={repository}&tag=v1"), "");
    assert!(status.contains(" 201 "), "{status} {body}");
    let (_, pushed) =
        ask_docker("POST", &format!("/images/{repository}/push?tag=v1"), "X-Registry-Auth: e30=\r\n");
    assert!(pushed.contains("digest: sha256"), "{pushed}");
    ask_docker("DELETE", &format!("/images/{}", tag.0), "");

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
