//! One good history, told by hand: small enough to know by heart, with everything in it that can be broken.
//!
//! Two nodes. `plain` fails on `n1`; `moved` is lost with `n2`, whose worker was killed, and goes to `n1`; `halted` is
//! stopped by a user; `brief` ends with 0 and is removed; `lapsed` is ended by its lease while `n2` is cut off, and goes
//! to `n1`; `tried` fails on `n1`, is tried again, and fails for good; `shifted` is moved from `n1`, which is drained, to
//! `n2`; `steady` runs to the end on `n2`; `waiting` waits to the end. The master is restarted once.

use podling::model::id::{Epoch, NodeId, TaskId};
use podling::model::node::{Availability, NodeStatus};
use podling::model::task::{Reason, Step};

use super::world::{IMAGE, World, node};
use crate::checker::history::{Answer, Because, Fault, History, Millis, What, Wish};

/// The history, and whom it is about.
pub(crate) struct Story {
    pub(crate) history: History,
    pub(crate) plain: TaskId,
    pub(crate) moved: TaskId,
    pub(crate) halted: TaskId,
    pub(crate) brief: TaskId,
    pub(crate) lapsed: TaskId,
    pub(crate) tried: TaskId,
    pub(crate) shifted: TaskId,
    pub(crate) steady: TaskId,
    pub(crate) waiting: TaskId,
}

/// A cluster whose nodes beat as long as they can be heard.
struct Telling {
    world: World,
    next_beat: Millis,
    heard: Vec<NodeId>,
}

impl Telling {
    fn at(&mut self, at: Millis) -> &mut World {
        while self.next_beat <= at {
            self.world.now = self.next_beat;
            for node in &self.heard {
                self.world.beat(node);
            }
            self.next_beat += 500;
        }
        self.world.now = at;
        &mut self.world
    }

    fn create(&mut self, at: Millis, client: u32, key: &str, specs: &[&str]) -> Vec<TaskId> {
        let world = self.at(at);
        let specs: Vec<String> = specs.iter().map(|text| (*text).to_owned()).collect();
        let call = world.ask(client, Wish::Create { key: key.to_owned(), specs: specs.clone() });
        let ids = world.create(key, &specs);
        world.answer(call, Answer::Created(ids.clone()));
        ids
    }

    fn run(&mut self, at: Millis, task: &TaskId, on: &str, by: u64) -> podling::model::id::ContainerId {
        self.at(at).place(task, &node(on));
        let container = self.at(at + 20).run(task, &node(on), by);
        self.at(at + 40).tell_start(&container);
        container
    }
}

pub(crate) fn story() -> Story {
    let (n1, n2) = (node("n1"), node("n2"));
    let mut telling = Telling { world: World::new(), next_beat: 100, heard: vec![n1.clone(), n2.clone()] };
    telling.at(0).master_begins(1);
    for node in [&n1, &n2] {
        telling.at(10).worker_begins(node, 1);
        telling.at(20).register(node, 1, 4);
    }
    let plain = telling.create(200, 1, "k1", &["f plain"]).remove(0);
    let mut two = telling.create(250, 2, "k2", &["l moved", "f halted"]);
    let (halted, moved) = (two.remove(1), two.remove(0));
    let first = telling.run(300, &plain, "n1", 1);
    let left_behind = telling.run(400, &moved, "n2", 1);
    let told = telling.run(500, &halted, "n1", 1);
    for task in [&plain, &moved] {
        telling.at(600).read(1, task);
    }
    tell_of_ends(&mut telling, &plain, &first, &halted, &told);
    tell_of_a_loss(&mut telling, &moved);
    let tried = tell_of_further_tries(&mut telling);
    tell_of_a_return(&mut telling, &left_behind);
    let brief = tell_of_a_retry(&mut telling);
    let lapsed = tell_of_a_lease(&mut telling);
    let shifted = tell_of_a_move(&mut telling);
    let steady = telling.create(11_000, 3, "k5", &["f steady"]).remove(0);
    telling.run(11_050, &steady, "n2", 2);
    let waiting = telling.create(11_200, 3, "k6", &["f waiting"]).remove(0);
    telling.at(11_300).push(What::Unplaced { task: waiting.clone(), waited: 300 });
    telling.at(11_400).push(What::MasterEnded { epoch: Epoch(1) });
    telling.at(11_500).master_begins(2);
    for task in [&plain, &moved, &steady, &waiting] {
        telling.at(12_000).read(1, task);
    }
    telling.at(13_000).rest();
    let history = telling.world.history;
    Story { history, plain, moved, halted, brief, lapsed, tried, shifted, steady, waiting }
}

fn tell_of_ends(
    telling: &mut Telling,
    plain: &TaskId,
    first: &podling::model::id::ContainerId,
    halted: &TaskId,
    told: &podling::model::id::ContainerId,
) {
    let wish = Wish::Create { key: "bad".to_owned(), specs: vec!["nonsense".to_owned()] };
    let call = telling.at(700).ask(2, wish);
    telling.at(710).answer(call, Answer::Refused { status: 422, is_problem: true });
    telling.at(900).end(first, 3, Because::Itself, Some(Reason::ExitCode));
    telling.at(910).tell_end(first);
    telling.at(920).remove(first);
    telling.at(950).read(1, plain);
    telling.at(1_000).push(What::Probed { subject: "n1".to_owned(), took: Some(30) });
    let call = telling.at(1_200).ask(2, Wish::Stop { task: halted.clone() });
    telling.at(1_210).stop(halted);
    telling.at(1_220).answer(call, Answer::Done);
    telling.at(1_300).end(told, 143, Because::Signal, Some(Reason::Stopped));
    telling.at(1_310).tell_end(told);
    telling.at(1_320).remove(told);
}

fn tell_of_a_loss(telling: &mut Telling, moved: &TaskId) {
    let n2 = node("n2");
    telling.at(1_700).broke(Fault::Killed, "n2");
    telling.at(1_700).push(What::WorkerEnded { node: n2.clone() });
    telling.heard.pop();
    telling.at(5_000).status(&n2, NodeStatus::Offline);
    let lost = Step::Lose { at: telling.world.wall(), why: "n2 is silent".to_owned() };
    telling.at(5_000).advance(moved, lost);
    telling.run(5_050, moved, "n1", 1);
}

/// A worker that was killed begins anew, and ends what it must no longer run.
fn tell_of_a_return(telling: &mut Telling, left_behind: &podling::model::id::ContainerId) {
    let n2 = node("n2");
    telling.at(7_000).healed(Fault::Killed, "n2");
    telling.at(7_000).worker_begins(&n2, 2);
    telling.at(7_010).register(&n2, 2, 4);
    telling.at(7_020).beat(&n2);
    telling.heard.push(n2);
    telling.at(7_050).end(left_behind, 143, Because::Signal, None);
    telling.at(7_060).remove(left_behind);
}

/// A task fails, waits, is tried again, and fails again.
fn tell_of_further_tries(telling: &mut Telling) -> TaskId {
    let tried = telling.create(5_200, 2, "k7", &["r tried"]).remove(0);
    for begins in [5_220, 6_300] {
        let container = telling.run(begins, &tried, "n1", 1);
        telling.at(begins + 80).end(&container, 3, Because::Itself, Some(Reason::ExitCode));
        telling.at(begins + 90).tell_end(&container);
        telling.at(begins + 100).remove(&container);
    }
    telling.at(6_500).read(2, &tried);
    tried
}

/// A node is drained: a task's attempt ends once another node keeps a place and has the image.
fn tell_of_a_move(telling: &mut Telling) -> TaskId {
    let (n1, n2) = (node("n1"), node("n2"));
    let shifted = telling.create(10_200, 3, "k8", &["l shifted"]).remove(0);
    let container = telling.run(10_220, &shifted, "n1", 1);
    telling.at(10_400).open_or_close(&n1, Availability::Draining);
    telling.at(10_410).advance(&shifted, Step::Reserve { node: n2.clone() });
    telling.at(10_420).push(What::HasImage { node: n2, image: IMAGE.to_owned() });
    let at = telling.at(10_430).wall();
    telling.at(10_430).advance(&shifted, Step::Move { at });
    telling.at(10_450).end(&container, 143, Because::Signal, Some(Reason::Stopped));
    telling.at(10_460).tell_end(&container);
    telling.at(10_470).remove(&container);
    telling.run(10_480, &shifted, "n2", 2);
    telling.at(10_900).open_or_close(&n1, Availability::Active);
    shifted
}

/// The first answer is lost, and the same key finds what it made.
fn tell_of_a_retry(telling: &mut Telling) -> TaskId {
    let wish = Wish::Create { key: "k3".to_owned(), specs: vec!["f brief".to_owned()] };
    telling.at(7_100).ask(3, wish.clone());
    let ids = telling.at(7_110).create("k3", &["f brief".to_owned()]);
    let call = telling.at(7_200).ask(3, wish);
    telling.at(7_210).answer(call, Answer::Created(ids.clone()));
    let brief = ids[0].clone();
    let container = telling.run(7_250, &brief, "n2", 2);
    telling.at(7_400).end(&container, 0, Because::Itself, None);
    telling.at(7_410).tell_end(&container);
    telling.at(7_420).remove(&container);
    telling.at(7_450).read(3, &brief);
    let call = telling.at(7_500).ask(3, Wish::Remove { task: brief.clone() });
    telling.at(7_510).commit(podling::control::change::Change::Forgotten { task: brief.clone() });
    telling.at(7_520).answer(call, Answer::Done);
    telling.at(7_550).read(3, &brief);
    brief
}

/// A node is cut off for longer than its lease, and heard again before it is lost.
fn tell_of_a_lease(telling: &mut Telling) -> TaskId {
    let n2 = node("n2");
    let lapsed = telling.create(7_600, 3, "k4", &["l lapsed"]).remove(0);
    let container = telling.run(7_650, &lapsed, "n2", 2);
    telling.at(7_900).broke(Fault::Cut, "n2");
    telling.heard.pop();
    telling.at(9_700).end(&container, 143, Because::Signal, Some(Reason::LeaseExpired));
    telling.at(10_000).healed(Fault::Cut, "n2");
    telling.at(10_000).beat(&n2);
    telling.heard.push(n2);
    telling.at(10_020).tell_end(&container);
    telling.at(10_030).remove(&container);
    telling.run(10_050, &lapsed, "n1", 1);
    lapsed
}
