//! A cluster behind a load balancer: Debian's haproxy with the settings of `docs/deploy/haproxy.cfg`, between the master
//! on one side and its workers and users on the other.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use podling::http::Client;
use podling::model::task::TaskStatus;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::part::{LONG, wait_until};
use support::{Cluster, MasterOptions, WorkerOptions, script};
use tempfile::{NamedTempFile, TempDir};

const PROGRAM: &str = "/usr/sbin/haproxy";

const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deploy/haproxy.cfg");

/// A haproxy of the test's own.
struct Balancer {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Balancer {
    /// In front of this master. Streams that are silent for two seconds are cut.
    fn start(master: SocketAddr) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: run scripts/test, or apt-get install haproxy"
        );
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut settings = fs::read_to_string(SETTINGS).unwrap();
        for (of_the_docs, of_the_test) in [
            ("127.0.0.1:8000", address.to_string()),
            ("127.0.0.1:8080", master.to_string()),
            ("timeout client 120s", "timeout client 60s".to_owned()),
            ("timeout server 120s", "timeout server 2s".to_owned()),
            ("inter 1s", "inter 100ms".to_owned()),
        ] {
            assert_eq!(settings.matches(of_the_docs).count(), 1, "{of_the_docs}");
            settings = settings.replace(of_the_docs, &of_the_test);
        }
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(PROGRAM);
        let quiet = command.arg("-db").arg("-q").arg("-f").arg(file).stdout(Stdio::null());
        let child = quiet.spawn().unwrap();
        let balancer = Self { child, address, _folder: folder };
        wait_until("the balancer lets requests through", || balancer.lets_through());
        balancer
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn lets_through(&self) -> bool {
        Client::new(&self.url()).unwrap().get::<Value>("/readyz", LONG).is_ok()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `podling events -f`, which ends with the test. What it tells goes to a file.
struct Follower {
    child: Child,
    told: NamedTempFile,
}

impl Follower {
    fn start(mut command: Command) -> Self {
        let told = NamedTempFile::new().unwrap();
        let child = command.stdout(told.reopen().unwrap()).spawn().unwrap();
        Self { child, told }
    }

    /// How many ends of a task it has told.
    fn ends_of(&self, task: &str) -> usize {
        let told = fs::read_to_string(self.told.path()).unwrap();
        let events = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["task_id"] == task && event["exit_code"].is_number()).count()
    }
}

impl Drop for Follower {
    /// Whoever bounds its time passes the signal on.
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
            self.child.wait().unwrap();
        }
    }
}

#[test]
fn workers_and_users_reach_the_master_through_a_balancer() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let balancer = Balancer::start(cluster.master.address);
    cluster.start_worker_at("worker-1", WorkerOptions::default(), &balancer.url());
    let podling = |words: &[&str]| cluster.podling_at(&balancer.url(), words);

    let events = cluster.podling_command(&balancer.url(), &["events", "-f", "-o", "json"]);
    let events = Follower::start(events);
    let said =
        podling(&["run", "hello", "--image", "podling/busybox", "--pull", "never", "--wait", "--", "true"]);
    assert_eq!(said.code, Some(0), "{said:?}");

    // Silent for longer than the balancer bears: the line is cut, and taken up again.
    let quiet = script("quiet", "echo first; sleep 5; echo last; exit 4");
    let id = cluster.create(&quiet).task_id.to_string();
    let said = podling(&["logs", "-f", &id]);
    assert_eq!(said.stdout, "first\nlast\n", "{said:?}");
    assert_eq!(podling(&["wait", &id]).code, Some(4));

    cluster.master.kill9();
    wait_until("the balancer knows", || !balancer.lets_through());
    let said = cluster.podling_at(&balancer.url(), &["ps"]);
    assert!(said.code == Some(1) && said.stderr.lines().count() == 1, "one clear line: {said:?}");
    cluster.start_master_again();
    wait_until("the balancer knows", || balancer.lets_through());
    let after = cluster.create(&script("after", "echo after")).task_id.to_string();
    assert_eq!(cluster.wait_for_end(&after).status, TaskStatus::Completed, "its worker found it again");
    let said = cluster.podling_at(&balancer.url(), &["logs", &after]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "after\n"), "{said:?}");

    wait_until("the events are told", || events.ends_of(&after) > 0);
    assert_eq!((events.ends_of(&id), events.ends_of(&after)), (1, 1), "each once, though the line was cut");
}
