//! A network of this run's own: a namespace for each process, all of them joined by a bridge in one more, which the
//! test itself enters. Nothing of it is seen or reached from outside, so no address can clash with anybody's.
//!
//! Main type: [`Net`], removed when it is dropped. A line is cut by DROP where packets come in, never where they go
//! out: a sender must not learn of it.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::plan::{Way, Who};

/// Where iproute2 keeps the names of namespaces.
pub(crate) const NAMES: &str = "/run/netns";

/// The address that the test itself has.
const HUB: &str = "10.213.0.1";

/// The network.
pub(crate) struct Net {
    prefix: String,
}

impl Net {
    /// Makes it, and takes the calling thread into it, with all that it starts from now on.
    #[track_caller]
    pub(crate) fn make(prefix: &str, workers: u32) -> Self {
        let net = Self { prefix: prefix.to_owned() };
        run("ip", &["netns", "add", &net.hub()]);
        let hub = File::open(Path::new(NAMES).join(net.hub())).unwrap();
        move_into_link_name_space(hub.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["link", "add", "hub", "type", "bridge"]);
        run("ip", &["addr", "add", &format!("{HUB}/16"), "dev", "hub"]);
        run("ip", &["link", "set", "hub", "up"]);
        net.join(Who::Master);
        (1..=workers).for_each(|number| net.join(Who::Worker(number)));
        net
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn name(&self, who: Who) -> String {
        format!("{}-{who}", self.prefix)
    }

    fn join(&self, who: Who) {
        let (name, end) = (self.name(who), format!("v-{who}"));
        run("ip", &["netns", "add", &name]);
        run("ip", &["link", "add", &end, "type", "veth", "peer", "name", "eth0", "netns", &name]);
        run("ip", &["link", "set", &end, "master", "hub", "up"]);
        run("ip", &["-n", &name, "addr", "add", &format!("{}/16", address(who)), "dev", "eth0"]);
        run("ip", &["-n", &name, "link", "set", "eth0", "up"]);
        run("ip", &["-n", &name, "link", "set", "lo", "up"]);
    }

    /// The words that run a program where `who` lives.
    pub(crate) fn within(&self, who: Who) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net={NAMES}/{}", self.name(who))]
    }

    /// Lets nothing pass between a worker and the master.
    pub(crate) fn cut(&self, worker: u32, way: Way) {
        self.filter("-A", worker, way);
    }

    /// Lets everything pass again.
    pub(crate) fn heal(&self, worker: u32, way: Way) {
        self.filter("-D", worker, way);
    }

    fn filter(&self, verb: &str, worker: u32, way: Way) {
        let worker = Who::Worker(worker);
        if way != Way::ToWorker {
            self.drop_what_comes(verb, Who::Master, worker);
        }
        if way != Way::ToMaster {
            self.drop_what_comes(verb, worker, Who::Master);
        }
    }

    fn drop_what_comes(&self, verb: &str, at: Who, from: Who) {
        let [enter, place] = self.within(at);
        let source = address(from);
        run(&enter, &[&place, "iptables", "-w", "5", verb, "INPUT", "-s", &source, "-j", "DROP"]);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        remove(&self.prefix);
    }
}

/// Where a process listens.
pub(crate) fn address(who: Who) -> String {
    match who {
        Who::Master => "10.213.0.10".to_owned(),
        Who::Worker(number) => format!("10.213.1.{number}"),
    }
}

/// Removes the namespaces whose names begin like this.
pub(crate) fn remove(prefix: &str) {
    for name in names(prefix) {
        let done = Command::new("ip").args(["netns", "del", &name]).status();
        if !done.is_ok_and(|status| status.success()) {
            println!("the network namespace {name} is left");
        }
    }
}

/// The namespaces whose names begin like this.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    let folder = std::fs::read_dir(PathBuf::from(NAMES)).into_iter().flatten().flatten();
    let names = folder.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("{prefix}-"))).collect()
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn run(program: &str, words: &[&str]) -> Output {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{program} can't be run ({error}): run scripts/chaos"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
