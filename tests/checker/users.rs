//! The users of a good history: they create, stop, remove and read, some answers never reach them, and then they ask
//! again.
//!
//! Main type: [`Users`].

use podling::control::change::Change;
use podling::model::id::TaskId;

use super::good::Play;
use crate::checker::history::{Answer, Wish};

/// Three clients, and what they remember.
#[derive(Default)]
pub(crate) struct Users {
    keys: u64,
    /// Tasks that they were told of.
    known: Vec<TaskId>,
    /// Creations whose answers they never got, with what they made, if anything.
    open: Vec<(String, Vec<String>, Vec<TaskId>)>,
}

impl Users {
    /// What the users do in a tick.
    pub(crate) fn tick(&mut self, play: &mut Play) {
        if !play.answers() {
            if play.dice.one_in(12) {
                self.ask_in_vain(play);
            }
            return;
        }
        match play.dice.below(24) {
            0..3 => self.create(play),
            3 => self.stop(play),
            4 => self.remove(play),
            5..9 => self.read(play),
            9 => self.ask_again(play),
            10 if play.dice.one_in(4) => self.ask_nonsense(play),
            _ => {}
        }
    }

    fn client(play: &mut Play) -> u32 {
        u32::try_from(play.dice.below(3)).unwrap()
    }

    /// A new key, with one to three tasks.
    fn wish(&mut self, play: &mut Play) -> (String, Vec<String>) {
        self.keys += 1;
        let count = 1 + play.dice.below(3);
        let kinds = (0..count)
            .map(|_| ['l', 'l', 'f', 'f', 'r', 'a'][play.dice.below(6) as usize])
            .collect::<Vec<_>>();
        let specs = kinds.iter().zip(0..).map(|(kind, nth)| format!("{kind} {}.{nth}", self.keys));
        (format!("key-{}", self.keys), specs.collect())
    }

    fn create(&mut self, play: &mut Play) {
        let (key, specs) = self.wish(play);
        let client = Self::client(play);
        let call = play.world.ask(client, Wish::Create { key: key.clone(), specs: specs.clone() });
        if !play.writes() {
            play.world.answer(call, Answer::Refused { status: 507, is_problem: true });
            play.note("a full store refused");
            self.open.push((key, specs, Vec::new()));
            return;
        }
        let ids = play.world.create(&key, &specs);
        if play.dice.one_in(5) {
            play.note("an answer was lost, and its creation was not");
            self.open.push((key, specs, ids));
        } else {
            play.world.answer(call, Answer::Created(ids.clone()));
            self.known.extend(ids);
        }
    }

    /// The master isn't there: nobody answers, and nothing comes of it.
    fn ask_in_vain(&mut self, play: &mut Play) {
        let (key, specs) = self.wish(play);
        let client = Self::client(play);
        play.world.ask(client, Wish::Create { key: key.clone(), specs: specs.clone() });
        play.note("nobody answered, and nothing was made");
        self.open.push((key, specs, Vec::new()));
    }

    fn ask_again(&mut self, play: &mut Play) {
        if !play.writes() {
            return;
        }
        let Some((key, specs, made)) = self.open.pop() else { return };
        let client = Self::client(play);
        let call = play.world.ask(client, Wish::Create { key: key.clone(), specs: specs.clone() });
        play.note(if made.is_empty() { "a second try made it" } else { "a second try found it" });
        let ids = if made.is_empty() { play.world.create(&key, &specs) } else { made };
        play.world.answer(call, Answer::Created(ids.clone()));
        self.known.extend(ids);
    }

    /// All answers that never came are asked for once more.
    pub(crate) fn ask_again_for_all(&mut self, play: &mut Play) {
        while !self.open.is_empty() {
            self.ask_again(play);
        }
    }

    fn ask_nonsense(&mut self, play: &mut Play) {
        let (key, specs) = self.wish(play);
        let client = Self::client(play);
        let call = play.world.ask(client, Wish::Create { key, specs });
        play.world.answer(call, Answer::Refused { status: 422, is_problem: true });
        play.note("nonsense was refused");
    }

    fn any(&self, play: &mut Play) -> Option<TaskId> {
        let count = self.known.len() as u64;
        (count > 0).then(|| self.known[usize::try_from(play.dice.below(count)).unwrap()].clone())
    }

    fn stop(&mut self, play: &mut Play) {
        let Some(task) = self.any(play).filter(|_| play.writes()) else { return };
        let client = Self::client(play);
        let call = play.world.ask(client, Wish::Stop { task: task.clone() });
        let Some(held) = play.world.tasks.get(&task).cloned() else {
            play.world.answer(call, Answer::Refused { status: 404, is_problem: true });
            return;
        };
        if held.stop.is_none() && !held.status().is_terminal() {
            play.world.stop(&task);
            play.note("a stop");
        }
        if play.dice.one_in(4) {
            play.note("the answer to a stop was lost");
        } else {
            play.world.answer(call, Answer::Done);
        }
    }

    fn remove(&mut self, play: &mut Play) {
        let Some(task) = self.any(play).filter(|_| play.writes()) else { return };
        let client = Self::client(play);
        let call = play.world.ask(client, Wish::Remove { task: task.clone() });
        let status = match play.world.tasks.get(&task).map(|held| held.status().is_terminal()) {
            None => Some(404),
            Some(false) => Some(409),
            Some(true) => None,
        };
        if let Some(status) = status {
            play.world.answer(call, Answer::Refused { status, is_problem: true });
            return;
        }
        play.world.commit(Change::Forgotten { task });
        play.note("a removal");
        if play.dice.one_in(4) {
            play.note("the answer to a removal was lost");
        } else {
            play.world.answer(call, Answer::Done);
        }
    }

    fn read(&mut self, play: &mut Play) {
        let Some(task) = self.any(play) else { return };
        let client = Self::client(play);
        play.note(if play.world.tasks.get(&task).is_some() { "a read" } else { "a read of what is gone" });
        play.world.read(client, &task);
    }
}
