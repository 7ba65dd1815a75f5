//! A walk on a stage: each thing that it asks for is said in a few words, and answered by the test.

use super::{LOOSE, key};
use crate::api::wire::agent::Verdict;
use crate::worker::step::Step;
use crate::worker::walk::{Answer, Ask, Facts, Note, Walk, What};

/// A walk, what it asks for now, and what it would see if it looked.
pub(super) struct Stage {
    pub(super) walk: Walk,
    pub(super) ask: Ask,
    pub(super) facts: Facts,
}

impl Stage {
    pub(super) fn begin(what: What) -> Self {
        Self::begin_with(what, LOOSE)
    }

    pub(super) fn begin_with(what: What, facts: Facts) -> Self {
        let mut walk = Walk::new(key("n1"), what, 1 << 20);
        let ask = walk.begin(&facts);
        Self { walk, ask, facts }
    }

    /// The walk asks for this; it is answered so.
    #[track_caller]
    pub(super) fn on(&mut self, expected: &str, answer: Answer) -> &mut Self {
        self.asks(expected);
        self.ask = self.walk.advance(answer, &self.facts);
        self
    }

    /// The walk asks for each of these, which are done.
    #[track_caller]
    pub(super) fn does(&mut self, expected: &[&str]) -> &mut Self {
        for one in expected {
            self.on(one, Answer::Done);
        }
        self
    }

    #[track_caller]
    pub(super) fn asks(&mut self, expected: &str) -> &mut Self {
        assert_eq!(words(&self.ask), expected);
        self
    }

    pub(super) fn with(&mut self, facts: Facts) -> &mut Self {
        self.facts = facts;
        self
    }

    /// From "it has ended" to the end, where all goes well. `kept`: no container tells the end.
    #[track_caller]
    pub(super) fn says_farewell(&mut self, end: &str, kept: bool, log: bool, verdict: Verdict) {
        self.does(&["note ended"]);
        if kept {
            self.does(&[&format!("keep {end}")]);
        }
        self.does(&[&format!("tell-end {end}")]);
        if log {
            self.on("collect c1", Answer::Collected(Ok(())));
        }
        self.on("verdict", Answer::Verdict(verdict)).does(&["note acknowledged", "drop-end"]);
    }
}

/// An ask in short.
pub(super) fn words(ask: &Ask) -> String {
    let step = |step: &Step| match step {
        Step::Progress(detail) => detail.clone(),
        Step::Running(container, at) => format!("running {container} since {}", at.unix_millis()),
        Step::Ended(ending) => {
            let reason = ending.reason.map_or("-", |reason| reason.as_str());
            format!(
                "ended {reason} {}",
                ending.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string())
            )
        }
        Step::Refused(why, _) => format!("refused {why}"),
    };
    match ask {
        Ask::Pull(image) => format!("pull {image}"),
        Ask::Create(request) => format!("create {}", request.spec.image),
        Ask::Inspect(subject) if *subject == key("n1").container_name() => "inspect name".to_owned(),
        Ask::Inspect(subject) => format!("inspect {subject}"),
        Ask::Slot => "slot".to_owned(),
        Ask::Start(container) => format!("start {container}"),
        Ask::Wait(container, _) => format!("wait {container}"),
        Ask::Kill(container) => format!("kill {container}"),
        Ask::Remove(container) => format!("remove {container}"),
        Ask::CollectLog(container) => format!("collect {container}"),
        Ask::MissLog(why) => format!("miss log {why}"),
        Ask::Pause(duration) => format!("pause {}", duration.as_millis()),
        Ask::AwaitLease(_) => "lease".to_owned(),
        Ask::Note(Note::Progress(detail)) => format!("note {detail}"),
        Ask::Note(Note::Container(container)) => format!("note container {container}"),
        Ask::Note(Note::Running(container)) => format!("note running {container}"),
        Ask::Note(Note::Ended) => "note ended".to_owned(),
        Ask::Note(Note::Acknowledged) => "note acknowledged".to_owned(),
        Ask::Note(Note::Released) => "note released".to_owned(),
        Ask::KeepEnd(end) => format!("keep {}", step(end)),
        Ask::DropEnd => "drop-end".to_owned(),
        Ask::Tell(told) => format!("tell {}", step(told)),
        Ask::TellEnd(end) => format!("tell-end {}", step(end)),
        Ask::AwaitVerdict => "verdict".to_owned(),
        Ask::Nudge => "nudge".to_owned(),
        Ask::Finish => "finish".to_owned(),
        Ask::Leave => "leave".to_owned(),
    }
}
