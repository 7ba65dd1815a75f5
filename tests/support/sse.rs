//! A follower of what happens: server-sent events, read as the HTML standard says, by other code than the command
//! line's.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use podling::api::routes;
use podling::api::wire::event::{Event, EventId, Gap, Subject, TaskNews};
use podling::http::Client;
use podling::http::client::Stream;

/// Longer than any silence should be, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// One event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Event(Event),
    Gap(Gap),
}

impl Told {
    pub(crate) fn id(&self) -> EventId {
        match self {
            Self::Event(event) => event.id,
            Self::Gap(gap) => gap.id,
        }
    }

    /// What it says of a task.
    pub(crate) fn task(&self) -> Option<&TaskNews> {
        match self {
            Self::Event(Event { subject: Subject::Task(task), .. }) => Some(task),
            Self::Event(_) | Self::Gap(_) => None,
        }
    }
}

/// One open stream.
pub(crate) struct Follower {
    lines: BufReader<Stream>,
    /// The id that it would be opened again with.
    pub(crate) last_id: String,
}

impl Follower {
    /// Opens the stream; `query` begins with `?` or is empty. What happens after this call is told.
    #[track_caller]
    pub(crate) fn open(client: &Client, query: &str, last_id: Option<&str>) -> Self {
        let headers: Vec<(&str, &str)> = last_id.map(|id| ("Last-Event-ID", id)).into_iter().collect();
        let stream = client.stream(&format!("{}{query}", routes::EVENTS), &headers, PATIENCE).unwrap();
        assert_eq!(stream.content_type(), Some("text/event-stream"));
        Self { lines: BufReader::new(stream), last_id: last_id.unwrap_or_default().to_owned() }
    }

    /// The next event; none where the stream has ended. Panics when it is silent for too long.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Told> {
        let (mut id, mut kind, mut data) = (None, String::new(), None);
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.strip_suffix('\n').expect("a whole line");
            match line.split_once(": ") {
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("event", value)) => value.clone_into(&mut kind),
                Some(("data", value)) => {
                    assert!(data.replace(value.to_owned()).is_none(), "two lines of data")
                }
                // A beat.
                Some(("", _)) => {}
                _ => assert_eq!(line, ""),
            }
            if line.is_empty() {
                self.last_id = id.take().unwrap_or_else(|| self.last_id.clone());
                if let Some(data) = data.take() {
                    return Some(self.told(&kind, &data));
                }
            }
        }
    }

    fn told(&self, kind: &str, data: &str) -> Told {
        assert!(!data.contains("null"), "absent means absent: {data}");
        let told = if kind == Gap::KIND {
            Told::Gap(serde_json::from_str(data).unwrap())
        } else {
            let event: Event = serde_json::from_str(data).unwrap();
            assert_eq!(event.subject.kind(), kind);
            Told::Event(event)
        };
        assert_eq!(told.id().to_string(), self.last_id);
        told
    }

    /// All events up to the first that is as wanted.
    #[track_caller]
    pub(crate) fn until(&mut self, mut is_last: impl FnMut(&Told) -> bool) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            told.push(self.next().unwrap_or_else(|| panic!("it ended after {told:#?}")));
            if told.last().is_some_and(&mut is_last) {
                return told;
            }
        }
    }

    /// Exactly so many.
    #[track_caller]
    pub(crate) fn take(&mut self, count: usize) -> Vec<Told> {
        (0..count).map(|_| self.next().expect("it goes on")).collect()
    }

    /// All to the end.
    #[track_caller]
    pub(crate) fn rest(mut self) -> Vec<Told> {
        const MOST: usize = 100_000;
        let told: Vec<Told> = std::iter::from_fn(|| self.next()).take(MOST).collect();
        assert!(told.len() < MOST, "it has no end");
        told
    }
}

/// All that is kept.
#[track_caller]
pub(crate) fn kept(client: &Client) -> Vec<Told> {
    Follower::open(client, "?after=0&follow=false", None).rest()
}

/// The ids of events.
pub(crate) fn ids(told: &[Told]) -> Vec<EventId> {
    told.iter().map(Told::id).collect()
}
