//! A real registry on loopback: the one that `scripts/test` started, or Debian's `docker-registry`, on a free port with
//! a folder of its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use ulid::Ulid;

use super::docker::{Api, IMAGE, ask_docker};

const PROGRAM: &str = "/usr/bin/docker-registry";

/// Where `scripts/test` says the address of the registry that it started.
const STARTED: &str = "PODLING_TEST_REGISTRY";

/// A registry. One that this started ends with the test.
pub(crate) struct Registry {
    address: String,
    _own: Option<Own>,
}

/// The process of a registry, and its folder.
struct Own {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn start() -> Self {
        if let Ok(address) = std::env::var(STARTED) {
            return Self { address, _own: None };
        }
        let why = "run scripts/test, which starts a registry, or apt-get install docker-registry";
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing and {STARTED} isn't set: {why}");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { address: format!("127.0.0.1:{port}"), _own: Some(Own::start(port)) }
    }

    /// What the sample image is called there.
    pub(crate) fn image(&self, tag: &str) -> String {
        format!("{}/podling/busybox:{tag}", self.address)
    }

    /// Puts the sample image into it under a name that nobody else uses. The Engine doesn't hold it under that name
    /// afterwards.
    pub(crate) fn push(&self) -> Tag {
        let tag = Ulid::generate().to_string();
        let repository = self.repository();
        let path = format!("/images/podling/busybox:latest/tag?repo={repository}&tag={tag}");
        Api::here().does("POST", &path, "", b"");
        self.push_tag(&tag)
    }

    /// The same with a layer of `bytes` more that nobody has and that can't be packed any smaller. Its tag.
    pub(crate) fn push_with_noise(&self, bytes: u64) -> String {
        let tag = Ulid::generate().to_string();
        let engine = Api::here();
        let container = engine.create(&json!({"Image": IMAGE}));
        let path = format!("/containers/{container}/archive?path=/");
        engine.does("PUT", &path, "Content-Type: application/x-tar\r\n", &noise(bytes));
        let path = format!("/commit?container={container}&repo={}&tag={tag}", self.repository());
        engine.does("POST", &path, "Content-Type: application/json\r\n", b"{}");
        engine.remove(&container);
        drop(self.push_tag(&tag));
        tag
    }

    fn repository(&self) -> String {
        format!("{}/podling/busybox", self.address)
    }

    fn push_tag(&self, tag: &str) -> Tag {
        let pushed = Tag(self.image(tag));
        let auth = "X-Registry-Auth: e30=\r\n";
        let path = format!("/images/{}/push?tag={tag}", self.repository());
        let (_, told) = ask_docker("POST", &path, auth);
        assert!(told.contains("digest: sha256"), "{told}");
        pushed.remove();
        pushed
    }

    /// Where it listens.
    pub(crate) fn socket_address(&self) -> SocketAddr {
        self.address.parse().unwrap()
    }
}

impl Own {
    fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
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
        Self { child, _folder: folder }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An archive with one file of random bytes.
fn noise(bytes: u64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::create(folder.path().join("noise")).unwrap();
    io::copy(&mut File::open("/dev/urandom").unwrap().take(bytes), &mut file).unwrap();
    let packed = Command::new("tar").args(["--create", "--file", "-", "noise"]).current_dir(&folder).output();
    let packed = packed.unwrap();
    assert!(packed.status.success(), "{packed:?}");
    packed.stdout
}

/// An image name on the Docker Engine, taken away with the test.
pub(crate) struct Tag(pub(crate) String);

impl Tag {
    fn remove(&self) {
        ask_docker("DELETE", &format!("/images/{}", self.0), "");
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        self.remove();
    }
}
