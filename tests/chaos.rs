//! Chaos with real processes: a master and workers, each in a network namespace of its own, on real Docker; clients
//! that never rest; and a fault every second or so, by a plan that the seed decides. All that anybody saw is recorded,
//! and the checker reads it.
//!
//! `scripts/chaos --minutes M --seed S` runs it for longer. Needs root, iproute2 and iptables.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a run says its plan and what it came to")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a figure is read from a few kinds of entries")]

#[path = "chaos/applier.rs"]
mod applier;
#[expect(dead_code, reason = "the checker's own tests use the rest of it")]
#[path = "support/checker/mod.rs"]
mod checker;
#[path = "chaos/clients.rs"]
mod clients;
#[path = "chaos/dice.rs"]
mod dice;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/docker.rs"]
mod docker;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/dockerd.rs"]
mod dockerd;
#[path = "chaos/engine_api.rs"]
mod engine_api;
#[path = "chaos/faults.rs"]
mod faults;
#[path = "chaos/leftovers.rs"]
mod leftovers;
#[path = "chaos/net.rs"]
mod net;
#[path = "chaos/operator.rs"]
mod operator;
#[path = "chaos/own_engine.rs"]
mod own_engine;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/part.rs"]
mod part;
#[path = "chaos/plan.rs"]
mod plan;
#[path = "chaos/probes.rs"]
mod probes;
#[path = "chaos/recorder.rs"]
mod recorder;
#[path = "chaos/rest.rs"]
mod rest;
#[path = "chaos/server.rs"]
mod server;
#[path = "chaos/settings.rs"]
mod settings;
#[path = "chaos/site.rs"]
mod site;
#[path = "chaos/summary.rs"]
mod summary;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/tmpfs.rs"]
mod tmpfs;
#[path = "chaos/watch.rs"]
mod watch;
#[path = "chaos/workload.rs"]
mod workload;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use podling::model::id::ClusterId;
use podling::runtime::signals::Signals;

use applier::Applier;
use checker::history::{History, Terms};
use clients::Clients;
use engine_api::EngineApi;
use faults::Faults;
use operator::Operator;
use own_engine::OwnEngine;
use plan::{Ground, Plan, Who};
use probes::Probes;
use recorder::Recorder;
use settings::{Settings, Times};
use site::Site;
use summary::{Done, Summary};
use watch::Watch;

/// How many faults two minutes must hold at least.
const FAULTS_IN_TWO_MINUTES: u64 = 60;

/// How long /healthz may take on a machine that the cluster shares with its clients, two Engines and whoever builds.
const HEALTHZ: u64 = 3_000;

#[test]
fn whatever_breaks_nothing_is_lost_run_twice_or_left_behind() {
    let settings = Settings::read();
    let signals = Signals::listen().unwrap();
    drop(docker::engine());
    let recorder = Arc::new(Recorder::start());
    let ground = ground(&settings);
    let plan = Plan::draw(settings.seed, settings.millis(), ground);
    announce(&settings, &plan);

    let mut site = Site::prepare(&settings, ground, &recorder);
    let cluster = site.start_master();
    let mut own_engine =
        ground.own_engine.map(|number| OwnEngine::start(site.folder(), Who::Worker(number), &recorder));
    let machine = EngineApi::of_machine();
    let mut watches = vec![Watch::begin(machine.clone(), Arc::default(), &cluster, &recorder)];
    if let Some(own) = &own_engine {
        watches.push(Watch::begin(own.api.clone(), Arc::clone(&own.killed), &cluster, &recorder));
    }
    for number in 1..=settings.workers {
        let own = own_engine.as_ref().filter(|_| ground.own_engine == Some(number));
        site.start_worker(number, settings.times.beat, own.map_or(&machine, |own| &own.api));
    }
    site.wait_until_all_serve();
    let standings = site.servers.values().map(|server| (server.who, server.standing()));
    let probes = Probes::begin(standings.collect(), &recorder);
    let clients = Clients::begin(settings.seed, &recorder);
    let applier = Applier::begin(site.folder(), settings.times);
    let operator = Operator::begin(settings.seed, settings.workers, settings.times);

    let mut faults = Faults {
        site: &mut site,
        engine: &mut own_engine,
        recorder: &recorder,
        signals: &signals,
        counts: BTreeMap::new(),
    };
    faults.put_in(&plan, settings.millis());
    clients.end();
    let drains = operator.end();
    let applied = applier.end();
    let extra = if settings.times == Times::REAL { settings.times.node_timeout } else { 0 };
    let mut rest = rest::wait(&mut faults, &watches, extra);
    let counts = std::mem::take(&mut faults.counts);
    let samples = probes.end();
    rest::let_events_arrive();
    drop(watches);
    site.end_processes();
    rest::record(&mut rest, &site.data_of(Who::Master), &recorder);

    let history = recorder.history(terms(&cluster, settings.times));
    let done = Done { faults: counts, surprises: site.surprises.len(), drains, applied };
    let summary = Summary::of(settings, done, &history, &rest, &samples);
    judge(&settings, &site, &history, &summary);
}

fn ground(settings: &Settings) -> Ground {
    let small_disk = settings.workers.min(2);
    Ground {
        workers: settings.workers,
        own_engine: Some(settings.workers),
        small_disk,
        times: settings.times,
    }
}

fn announce(settings: &Settings, plan: &Plan) {
    println!("chaos: seed {}, {} faults in {} min", settings.seed, plan.0.len(), settings.minutes());
    for one in &plan.0 {
        println!("{:>8} ms  {} for {} ms", one.at, one.deed, one.lasts);
    }
}

fn terms(cluster: &ClusterId, times: Times) -> Terms {
    Terms {
        cluster: cluster.clone(),
        node_timeout: times.node_timeout,
        lease: times.lease(),
        healthz: HEALTHZ,
        commits_are_timed: false,
    }
}

/// Shows what the run came to, and fails where anything must not be so.
fn judge(settings: &Settings, site: &Site, history: &History, summary: &Summary) {
    let violations = checker::check(history);
    let mut wrong: Vec<String> = violations.iter().map(ToString::to_string).collect();
    wrong.extend(summary.complaints());
    wrong.extend(site.failures.iter().cloned());
    wrong.extend(site.panics());
    println!("{summary}");
    if !wrong.is_empty() {
        let folder = save(settings, site, history, &checker::report(history, &violations));
        println!("seed {}: {} violations; all of it is in {}", settings.seed, wrong.len(), folder.display());
        wrong.iter().for_each(|one| println!("  {one}"));
        panic!("seed {}: {}", settings.seed, wrong[0]);
    }
    if settings.times == Times::SCALED {
        let least = FAULTS_IN_TWO_MINUTES * settings.millis() / 120_000;
        assert!(u64::from(summary.total()) >= least, "{} faults were put in", summary.total());
    }
}

/// Keeps the history, what the checker says of it, and the logs; the folder that holds them.
fn save(settings: &Settings, site: &Site, history: &History, report: &str) -> PathBuf {
    let folder = site.save_logs(&settings.seed.to_string());
    let mut text = format!("{:?}\n", history.terms);
    history.entries.iter().for_each(|entry| writeln!(text, "{entry}").unwrap());
    std::fs::write(folder.join("history.txt"), text).unwrap();
    std::fs::write(folder.join("report.txt"), report).unwrap();
    folder
}
