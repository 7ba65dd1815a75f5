//! Broken histories: the good one with one small edit each, which breaks one invariant and no other.

use std::collections::{BTreeMap, BTreeSet};

use podling::control::change::Change;
use podling::model::id::{Epoch, Incarnation, Revision};
use podling::model::task::{Placement, Reason, Step, StopIntent, TaskStatus};
use podling::model::time::WallTime;

use super::edits::{Edit, is_status, is_step, is_told_by_its_code};
use super::placing::PLACING;
use super::story::{Story, story};
use super::world::node;
use crate::checker::history::{Answer, Because, Fault, Left, Millis, What, Wish};
use crate::checker::{check, report};

/// What clients are told.
const CLIENTS: &[(&str, &str, Edit)] = &[
    ("I1", "a task that was promised is missing at rest", |story| {
        story.rest().0.retain(|seen| !seen.spec.ends_with("plain"));
    }),
    ("I1", "a task that was promised is not found", |story| {
        let task = story.moved.clone();
        story.put(8_000, What::Missed { client: 9, task });
    }),
    ("I1", "a task runs another command than was asked for", |story| {
        story.at_rest("plain").spec = "f other".to_owned();
    }),
    ("I2", "a repeated key is answered with another task", |story| {
        let (brief, plain) = (story.brief.clone(), story.plain.clone());
        story.change(|what| match what {
            What::Answered { answer: Answer::Created(ids), .. } if *ids == [brief.clone()] => {
                *ids = vec![plain.clone()];
                true
            }
            _ => false,
        });
    }),
    ("I2", "a task was made that nobody asked for", |story| {
        let waiting = story.waiting.clone();
        story.change(|what| match what {
            What::Committed { change: Change::Created(creation), .. } if creation.tasks[0].id == waiting => {
                creation.key.as_mut().unwrap().key = "k9".to_owned();
                true
            }
            _ => false,
        });
    }),
    ("I17", "an error without a problem document", |story| {
        story.change(|what| match what {
            What::Answered { answer: Answer::Refused { is_problem, .. }, .. } => {
                *is_problem = false;
                true
            }
            _ => false,
        });
    }),
    ("I17", "an answer that blames the server", |story| {
        story.change(|what| match what {
            What::Answered { answer: Answer::Refused { status, .. }, .. } => {
                *status = 500;
                true
            }
            _ => false,
        });
    }),
];

/// What becomes durable.
const DURABLE: &[(&str, &str, Edit)] = &[
    ("I4", "a client sees a task run that it saw ended", |story| {
        let plain = story.plain.clone();
        story.shift(10_500, |what| matches!(what, What::Saw { seen, .. } if seen.task == plain));
    }),
    ("I4", "a task that ended is placed again", |story| {
        let on = Placement { node: node("n1"), at: WallTime::default(), revision: Revision(1) };
        let task = story.plain.clone();
        story.commit(10_500, Change::Advanced { task, step: Step::Place(on) });
    }),
    ("I4", "an end changes its reason", |story| {
        story.at_rest("plain").reason = Some(Reason::OomKilled);
    }),
    ("I10", "a master shows something else than is durable", |story| {
        story.change(|what| match what {
            What::Restored { shown, .. } => {
                shown.push_str("\none more");
                true
            }
            _ => false,
        });
    }),
    ("I10", "a stop was acknowledged and is not durable", |story| {
        story.drop(|entry| is_step(&entry.what, |step| matches!(step, Step::Stop(_))));
    }),
    ("I10", "a creation was acknowledged before it was durable", |story| {
        let plain = story.plain.clone();
        story.shift(270, |what| {
            matches!(what, What::Committed { change: Change::Created(made), .. } if made.tasks[0].id == plain)
        });
    }),
    ("I13", "two masters at once", |story| {
        story.drop(|entry| matches!(entry.what, What::MasterEnded { .. }));
    }),
    ("I13", "an epoch that comes twice", |story| {
        story.change(|what| match what {
            What::MasterBegan { epoch } => {
                *epoch = Epoch(1);
                true
            }
            _ => false,
        });
    }),
    ("I13", "a position that is written twice", |story| {
        story.change(|what| match what {
            What::Committed { position, .. } if position.0 == 5 => {
                *position = Revision(4);
                true
            }
            _ => false,
        });
    }),
    ("I15", "a container on another node than its attempt", |story| {
        let container = story.container("plain", 1);
        story.change(|what| match what {
            What::Made { container: made, node: on, .. } if *made == container => {
                *on = node("n2");
                true
            }
            _ => false,
        });
    }),
    ("I15", "a report about another task's container", |story| {
        let (steady, other) = (story.container("steady", 1), story.container("halted", 1));
        story.change(|what| match what {
            What::Committed {
                change: Change::Advanced { step: Step::Start { container, .. }, .. }, ..
            } if *container == steady => {
                *container = other.clone();
                true
            }
            _ => false,
        });
    }),
];

/// What Engines do.
const CONTAINERS: &[(&str, &str, Edit)] = &[
    ("I5", "a second container for one attempt", |story| {
        let first = story.find(|what| matches!(what, What::Made { key, .. } if key.task == story.steady));
        let mut made = story.history.entries[first].what.clone();
        let What::Made { container, .. } = &mut made else { unreachable!("it was found as such") };
        *container = "twin".parse().unwrap();
        let container = container.clone();
        story.put(11_110, made);
        story.put(11_120, What::Started { container: container.clone(), by: None });
        story.put(11_130, What::Removed { container });
    }),
    ("I5", "a container that is started again", |story| {
        let container = story.container("plain", 1);
        story.put(905, What::Started { container, by: Some(Incarnation(1)) });
    }),
    ("I6", "a container that nobody wanted ended is told to end", |story| {
        let container = story.container("steady", 1);
        story.put(11_800, What::Ended { container, exit_code: 143, oom: false, because: Because::Signal });
    }),
    ("I6", "a leased container is told to end while its lease is held", |story| {
        let container = story.container("moved", 2);
        story.put(11_800, What::Ended { container, exit_code: 143, oom: false, because: Because::Signal });
    }),
    ("I6", "a container is told to end on a node that is drained, and isn't moved", |story| {
        let container = story.container("steady", 1);
        story.drain(11_700, "n2");
        story.put(11_800, What::Ended { container, exit_code: 143, oom: false, because: Because::Signal });
    }),
    ("I6", "a container is told to end before it is moved", |story| {
        let container = story.container("shifted", 1);
        story.shift(10_425, |what| matches!(what, What::Ended { container: of, .. } if *of == container));
    }),
    ("I6", "a running task changes its start", |story| {
        story.at_rest("steady").started_at = Some(WallTime::default());
    }),
    ("I7", "a worker that was there lets a container outlive its lease", |story| {
        story.drop(|entry| {
            matches!(&entry.what, What::Broke { .. } | What::Healed { .. } | What::WorkerEnded { .. })
        });
    }),
    ("I7", "an attempt ends only after the next one has begun", |story| {
        let container = story.container("lapsed", 1);
        story.shift(10_500, |what| matches!(what, What::Ended { container: of, .. } if *of == container));
    }),
    ("I9", "the Engine tells another exit code", |story| {
        story.change(|what| match what {
            What::Ended { exit_code, .. } if *exit_code == 3 => {
                *exit_code = 4;
                true
            }
            _ => false,
        });
    }),
    ("I9", "the Engine tells that it was out of memory", |story| {
        story.change(|what| match what {
            What::Ended { exit_code: 3, oom, .. } => {
                *oom = true;
                true
            }
            _ => false,
        });
    }),
    ("I9", "what a worker had sent isn't known to the next one", |story| {
        is_told_by_its_code(story, "halted");
        story.put(1_302, What::Broke { fault: Fault::Killed, subject: "n1".to_owned() });
        story.put(1_305, What::Healed { fault: Fault::Killed, subject: "n1".to_owned() });
    }),
    ("I9", "a container that still runs is said to have vanished", |story| {
        vanishes(story, "plain", 915);
    }),
    ("I9", "a container that is being stopped is said to have vanished", |story| {
        vanishes(story, "halted", 1_315);
    }),
    ("I9", "an end by itself is called a lost lease", |story| {
        let container = story.container("lapsed", 1);
        story.change(|what| match what {
            What::Ended { container: of, because, .. } if *of == container => {
                *because = Because::Itself;
                true
            }
            What::Made { container: of, leased, .. } if *of == container => {
                *leased = false;
                true
            }
            _ => false,
        });
    }),
    ("I12", "a worker that was superseded starts a container", |story| {
        story.change(|what| match what {
            What::Started { by, .. } if *by == Some(Incarnation(2)) => {
                *by = Some(Incarnation(1));
                true
            }
            _ => false,
        });
    }),
    ("I12", "a container is started after the lease ran out", |story| {
        story.drop(|entry| {
            let is_answer = matches!(&entry.what, What::BeatAnswered { node: of, .. } if *of == node("n1"));
            is_answer && (3_000..5_200).contains(&entry.at)
        });
    }),
];

/// The nodes, the rest, and what holds throughout.
const CLUSTER: &[(&str, &str, Edit)] = &[
    ("I3", "a task waits, and nothing says why", |story| {
        story.at_rest("waiting").detail = None;
    }),
    ("I3", "a task is left scheduled", |story| {
        let (task, on) = (story.waiting.clone(), node("n2"));
        let on = Placement { node: on, at: WallTime::default(), revision: Revision(1) };
        story.commit(12_500, Change::Advanced { task, step: Step::Place(on) });
        let seen = story.at_rest("waiting");
        (seen.status, seen.node) = (TaskStatus::Scheduled, Some(node("n2")));
    }),
    ("I3", "a task runs on that was to stop", |story| {
        let task = story.steady.clone();
        let wish = Wish::Stop { task: task.clone() };
        story.put(12_100, What::Asked { call: 999, client: 2, wish });
        let step =
            Step::Stop(StopIntent { requested_at: WallTime::default(), grace: std::time::Duration::ZERO });
        story.commit(12_110, Change::Advanced { task, step });
        story.put(12_120, What::Answered { call: 999, answer: Answer::Done });
    }),
    ("I8", "a container is left of a task that ended", |story| {
        let first = story.find(|what| matches!(what, What::Made { key, .. } if key.task == story.plain));
        let What::Made { container, node, key, .. } = story.history.entries[first].what.clone() else {
            unreachable!("it was found as such")
        };
        story.rest().1.push(Left { container, node, key, runs: false });
    }),
    ("I8", "a task runs without a container", |story| {
        let container = story.container("steady", 1);
        story.rest().1.retain(|left| left.container != container);
    }),
    ("I8", "somebody else's container is gone", |story| {
        story.put(4_000, What::ForeignTouched { container: "f0e1".parse().unwrap() });
    }),
    ("I11", "a node is offline a millisecond before its timeout", |story| story.shift(4_574, is_status)),
    ("I11", "a node is blamed for what the master slept through", |story| {
        for (at, is_over) in [(2_000, false), (4_000, true)] {
            let (fault, subject) = (Fault::Paused, "master".to_owned());
            story.put(
                at,
                if is_over { What::Healed { fault, subject } } else { What::Broke { fault, subject } },
            );
        }
    }),
    ("I11", "a node that was heard is offline", |story| {
        story.put(4_000, What::BeatTaken { node: node("n2") });
    }),
    ("I11", "a silent node stays online", |story| story.drop(|entry| is_status(&entry.what))),
    ("I16", "no answer long after a server came back", |story| {
        story.put(11_001, What::Probed { subject: "n2".to_owned(), took: None });
    }),
    ("I16", "no answer from a server that runs", |story| {
        story.put(6_000, What::Probed { subject: "master".to_owned(), took: None });
    }),
    ("I16", "an answer that took too long", |story| {
        story.put(6_000, What::Probed { subject: "n1".to_owned(), took: Some(501) });
    }),
    ("I20", "a task that fits waits for a moment too long", |story| {
        let task = story.waiting.clone();
        story.put(12_600, What::Unplaced { task, waited: 1_501 });
    }),
    ("I20", "a task that fits is never placed", |story| {
        let task = story.steady.clone();
        story.put(12_600, What::Unplaced { task, waited: 600_000 });
    }),
];

/// A task is said to be over without an exit code, and its container ends later.
fn vanishes(story: &mut Story, task: &str, ends: Millis) {
    let container = story.container(task, 1);
    story.change(|what| match what {
        What::Committed { change: Change::Advanced { step: Step::End(ending), .. }, .. }
            if ending.container.as_ref() == Some(&container) =>
        {
            (ending.exit_code, ending.reason) = (None, Some(Reason::Engine));
            true
        }
        _ => false,
    });
    story.shift(ends, |what| matches!(what, What::Ended { container: of, .. } if *of == container));
}

fn cases() -> impl Iterator<Item = &'static (&'static str, &'static str, Edit)> {
    [CLIENTS, DURABLE, CONTAINERS, CLUSTER, PLACING].into_iter().flatten()
}

#[test]
fn the_story_is_good() {
    let story = story();
    let found = check(&story.history);
    assert!(found.is_empty(), "{}", report(&story.history, &found));
}

#[test]
fn each_broken_history_breaks_its_invariant_and_no_other() {
    for (invariant, what, edit) in cases() {
        let mut broken = story();
        edit(&mut broken);
        let found = check(&broken.history);
        let flagged: BTreeSet<&str> = found.iter().map(|violation| violation.invariant).collect();
        let report = report(&broken.history, &found);
        assert_eq!(flagged, BTreeSet::from([*invariant]), "{what}\n{report}");
    }
}

#[test]
fn each_invariant_that_is_judged_is_broken_twice() {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for (invariant, _, _) in cases() {
        *counts.entry(*invariant).or_default() += 1;
    }
    let judged = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 21];
    for number in judged {
        let count = counts.get(format!("I{number}").as_str()).copied().unwrap_or(0);
        assert!(count >= 2, "I{number} is broken {count} times");
    }
}
