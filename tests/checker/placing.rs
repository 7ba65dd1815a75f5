//! Broken histories about where tasks are placed, moved, and tried again.

use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::restart::{Restart, RestartPolicy};
use podling::model::spec::Protocol;
use podling::model::task::Step;
use podling::model::time::WallTime;

use super::edits::{Edit, asks_for_a_port, asks_for_ssd, registration};
use super::story::Story;
use super::world::{IMAGE, node};
use crate::checker::history::What;

fn has_disk(story: &mut Story, name: &str, kind: &str) {
    registration(story, name, |of| drop(of.labels.insert("disk".to_owned(), kind.to_owned())));
}

fn reserve(on: &str) -> Step {
    Step::Reserve { node: node(on) }
}

const fn moves() -> Step {
    Step::Move { at: WallTime::from_unix_millis(0) }
}

/// Placement, moves, further tries.
pub(crate) const PLACING: &[(&str, &str, Edit)] = &[
    ("I6", "a task is moved for which no place is kept", |story| {
        let task = story.moved.clone();
        story.drain(11_700, "n1");
        story.step(11_720, &task, moves());
    }),
    ("I6", "a task is moved after its place was given back", |story| {
        let task = story.moved.clone();
        story.drain(11_700, "n1");
        story.step(11_710, &task, reserve("n2"));
        story.step(11_715, &task, Step::Unreserve);
        story.step(11_720, &task, moves());
    }),
    ("I6", "a task is moved off a node that isn't drained", |story| {
        let task = story.moved.clone();
        story.step(11_710, &task, reserve("n2"));
        story.step(11_720, &task, moves());
    }),
    ("I6", "a task is moved off a node that was drained before its place was kept", |story| {
        story.open(10_405, "n1");
    }),
    ("I6", "a task is moved that stays where it is", |story| {
        let task = story.steady.clone();
        story.drain(11_700, "n2");
        story.step(11_710, &task, reserve("n1"));
        story.put(11_715, What::HasImage { node: node("n1"), image: IMAGE.to_owned() });
        story.step(11_720, &task, moves());
    }),
    ("I6", "a task is moved where its image isn't", |story| {
        story.change(|what| match what {
            What::HasImage { image, .. } => {
                image.push_str(":other");
                true
            }
            _ => false,
        });
    }),
    ("I6", "a task is moved before its image is there", |story| {
        story.shift(10_435, |what| matches!(what, What::HasImage { .. }));
    }),
    ("I14", "more tasks than places", |story| registration(story, "n1", |of| of.capacity = 1)),
    ("I14", "more CPU than there is", |story| registration(story, "n1", |of| of.cpu = CpuMillis(1_500))),
    ("I14", "more memory than there is", |story| {
        let task = story.plain.clone();
        story.respec(&task, |spec| spec.memory = Some(MemoryBytes(9 << 30)));
    }),
    ("I14", "a place is kept where all are taken", |story| {
        let task = story.moved.clone();
        registration(story, "n2", |of| of.capacity = 2);
        story.step(11_710, &task, reserve("n2"));
    }),
    ("I14", "a task is placed where the last place is kept for another", |story| {
        let (kept, placed) = (story.moved.clone(), story.waiting.clone());
        registration(story, "n2", |of| of.cpu = CpuMillis(3_000));
        story.step(11_710, &kept, reserve("n2"));
        story.place(11_720, &placed, "n2");
        story.step(
            11_730,
            &placed,
            Step::Refuse { at: WallTime::from_unix_millis(0), why: "port".to_owned() },
        );
        story.at_rest("waiting").attempt = 2;
    }),
    ("I14", "a task is placed where a label is missing", |story| {
        let task = story.plain.clone();
        asks_for_ssd(story, &task);
    }),
    ("I14", "a task is placed where a label says something else", |story| {
        let task = story.plain.clone();
        asks_for_ssd(story, &task);
        has_disk(story, "n1", "hdd");
    }),
    ("I14", "a place is kept where a label is missing", |story| {
        let task = story.steady.clone();
        asks_for_ssd(story, &task);
        has_disk(story, "n2", "ssd");
        story.step(11_710, &task, reserve("n1"));
    }),
    ("I14", "two tasks of one node have a port", |story| {
        let (one, other) = (story.plain.clone(), story.halted.clone());
        asks_for_a_port(story, &one, Protocol::Tcp);
        asks_for_a_port(story, &other, Protocol::Tcp);
    }),
    ("I14", "two tasks on nodes of one Engine have a port", |story| {
        let (one, other) = (story.plain.clone(), story.moved.clone());
        asks_for_a_port(story, &one, Protocol::Udp);
        asks_for_a_port(story, &other, Protocol::Udp);
    }),
    ("I14", "a place is kept where the task itself has the port", |story| {
        let task = story.shifted.clone();
        asks_for_a_port(story, &task, Protocol::Tcp);
    }),
    ("I21", "the next try comes at once", |story| {
        let task = story.tried.clone();
        story.replace(5_320, &task);
    }),
    ("I21", "the next try comes a millisecond before its back-off can be over", |story| {
        let task = story.tried.clone();
        story.replace(5_310 + 399, &task);
    }),
    ("I21", "there is a try more than there may be", |story| {
        let task = story.tried.clone();
        story.place(10_500, &task, "n1");
    }),
    ("I21", "a task is tried again that may fail, after it did not", |story| {
        let task = story.brief.clone();
        let restart = Restart { policy: RestartPolicy::OnFailure, max: None };
        story.respec(&task, |spec| spec.restart = restart);
        story.place(7_480, &task, "n1");
    }),
];
