//! What must not be held against a run: edits of the good history that leave it good, up to the last millisecond.

use podling::control::change::Change;
use podling::model::node::NodeStatus;
use podling::model::spec::Protocol;
use podling::model::task::Step;
use podling::model::time::WallTime;

use super::edits::{Edit, asks_for_a_port, asks_for_ssd, is_status, is_told_by_its_code, registration};
use super::story::{Story, story};
use super::world::{IMAGE, node};
use crate::checker::history::{Because, Fault, Millis, What, Wish};
use crate::checker::{check, report};

fn told_to_end(story: &mut Story, at: Millis) {
    let container = story.container("steady", 1);
    story.put(at, What::Ended { container, exit_code: 143, oom: false, because: Because::Signal });
}

fn fault(story: &mut Story, fault: Fault, from: Millis, to: Millis) {
    story.put(from, What::Broke { fault, subject: "master".to_owned() });
    story.put(to, What::Healed { fault, subject: "master".to_owned() });
}

fn ended(story: &mut Story, container: &str, because: Because) {
    let container = story.container(container, 1);
    story.change(|what| match what {
        What::Ended { container: of, because: why, .. } if *of == container => {
            *why = because;
            true
        }
        _ => false,
    });
}

fn probed(story: &mut Story, at: Millis, took: Option<Millis>) {
    story.put(at, What::Probed { subject: "n2".to_owned(), took });
}

const ALLOWED: &[(&str, Edit)] = &[
    ("no answer from a server that is dead", |story| probed(story, 3_000, None)),
    ("no answer from a server that has just come back", |story| probed(story, 11_000, None)),
    ("an answer that took all the time that it may", |story| probed(story, 6_000, Some(500))),
    ("a placement that took all the time that it may", |story| {
        let task = story.waiting.clone();
        story.put(12_600, What::Unplaced { task, waited: 1_500 });
    }),
    ("a container is told to end that is moved off a node that is drained", |story| {
        let (task, image) = (story.moved.clone(), IMAGE.to_owned());
        story.drain(11_700, "n1");
        story.step(11_710, &task, Step::Reserve { node: node("n2") });
        story.put(11_715, What::HasImage { node: node("n2"), image });
        story.step(11_720, &task, Step::Move { at: WallTime::default() });
        let container = story.container("moved", 2);
        story.put(11_800, What::Ended { container, exit_code: 143, oom: false, because: Because::Signal });
    }),
    ("a task is moved off a node that was drained until just now", |story| {
        story.open(10_425, "n1");
    }),
    ("nobody knows which node has which image", |story| {
        story.drop(|entry| matches!(entry.what, What::HasImage { .. }));
    }),
    ("a place that is kept is given back", |story| {
        let task = story.moved.clone();
        story.step(11_710, &task, Step::Reserve { node: node("n2") });
        story.step(11_720, &task, Step::Unreserve);
    }),
    ("the next try comes with all of its back-off shortened", |story| {
        let task = story.tried.clone();
        story.replace(5_310 + 400, &task);
    }),
    ("the next try is early, and the master stood still when the first one ended", |story| {
        let task = story.tried.clone();
        story.replace(5_350, &task);
        fault(story, Fault::Paused, 5_305, 5_340);
    }),
    ("two tasks of one node have a port of each protocol", |story| {
        let (one, other) = (story.plain.clone(), story.halted.clone());
        asks_for_a_port(story, &one, Protocol::Tcp);
        asks_for_a_port(story, &other, Protocol::Udp);
    }),
    ("two tasks have a port one after the other", |story| {
        let (one, other) = (story.plain.clone(), story.brief.clone());
        asks_for_a_port(story, &one, Protocol::Tcp);
        asks_for_a_port(story, &other, Protocol::Tcp);
    }),
    ("two tasks have a port on nodes whose Engines told no id", |story| {
        let (one, other) = (story.plain.clone(), story.moved.clone());
        asks_for_a_port(story, &one, Protocol::Tcp);
        asks_for_a_port(story, &other, Protocol::Tcp);
        registration(story, "n1", |of| of.engine_id.clear());
        registration(story, "n2", |of| of.engine_id.clear());
    }),
    ("a node has the label that its task asks for", |story| {
        let task = story.plain.clone();
        asks_for_ssd(story, &task);
        registration(story, "n1", |of| drop(of.labels.insert("disk".to_owned(), "ssd".to_owned())));
    }),
    ("a container is told to end on a node that is forgotten", |story| {
        story.commit(11_700, Change::NodeForgotten { node: node("n2") });
        told_to_end(story, 11_800);
    }),
    ("a container is told to end for a stop that was never answered", |story| {
        let wish = Wish::Stop { task: story.steady.clone() };
        story.put(11_700, What::Asked { call: 999, client: 1, wish });
        told_to_end(story, 11_800);
    }),
    ("a node is offline after its timeout to the millisecond", |story| story.shift(4_575, is_status)),
    ("a silent node stays online while the master is stopped", |story| {
        fault(story, Fault::Paused, 2_000, 3_000);
        story.drop(|entry| is_status(&entry.what));
    }),
    ("a silent node stays online while the store fails", |story| {
        fault(story, Fault::Disk, 2_000, 3_000);
        story.drop(|entry| is_status(&entry.what));
    }),
    ("a node comes back online by a beat", |story| {
        story.commit(7_500, Change::Status { node: node("n2"), status: NodeStatus::Online });
    }),
    ("a worker whose disk is full doesn't know what the one before it had sent", |story| {
        is_told_by_its_code(story, "halted");
        story.put(1_100, What::Broke { fault: Fault::Disk, subject: "n1".to_owned() });
        story.put(1_305, What::Healed { fault: Fault::Disk, subject: "n1".to_owned() });
    }),
    ("where a clock is set, a signal's code is taken for the signal's, whichever came first", |story| {
        ended(story, "halted", Because::Engine);
        story.shift(1_195, |what| matches!(what, What::Ended { exit_code: 143, .. }));
        story.put(1_190, What::Broke { fault: Fault::Clock, subject: "n1".to_owned() });
    }),
    ("an Engine takes a container with it", |story| ended(story, "plain", Because::Engine)),
    ("nobody saw why a container ended", |story| ended(story, "lapsed", Because::Unknown)),
    ("nobody knows when changes became durable", |story| {
        story.history.terms.commits_are_timed = false;
    }),
    ("a run that is cut short", |story| story.history.entries.truncate(100)),
];

#[test]
fn what_is_allowed_is_not_flagged() {
    for (what, edit) in ALLOWED {
        let mut good = story();
        edit(&mut good);
        let found = check(&good.history);
        assert!(found.is_empty(), "{what}\n{}", report(&good.history, &found));
    }
}
