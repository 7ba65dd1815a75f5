//! What must not be held against a run: edits of the good history that leave it good, up to the last millisecond.

use podling::control::change::Change;
use podling::model::node::{Availability, NodeStatus};

use super::broken::{Edit, is_status};
use super::story::{Story, story};
use super::world::node;
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
    ("a container is told to end on a node that is drained", |story| {
        let availability = Availability::Draining;
        story.commit(11_700, Change::Availability { node: node("n2"), availability });
        told_to_end(story, 11_800);
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
