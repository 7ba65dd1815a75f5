//! A client: submits, asks again under the same key when it wasn't answered, stops, removes and reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use podling::api::wire::spec::Creation;
use podling::model::id::TaskId;
use podling::model::restart::RestartPolicy;

use super::net::{Reply, Request};
use super::rng::Rng;
use super::show;
use super::time::{Micros, SECOND};
use super::wants;
use crate::checker::history::{Answer, What, Wish};

/// How long a client waits for an answer.
pub(crate) const PATIENCE: Micros = 8 * SECOND;

/// A creation that isn't answered yet.
#[derive(Clone, Debug)]
struct Open {
    key: String,
    wanted: Vec<Creation>,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    number: usize,
    created: u64,
    tasks: Vec<TaskId>,
    /// Those that may go on for ever, and weren't stopped yet.
    endless: Vec<TaskId>,
    /// Creations that are to be asked for again.
    open: Vec<Open>,
    /// Calls that are under way.
    calls: BTreeMap<u64, Request>,
}

impl Client {
    pub(crate) const fn new(number: usize) -> Self {
        Self {
            number,
            created: 0,
            tasks: Vec::new(),
            endless: Vec::new(),
            open: Vec::new(),
            calls: BTreeMap::new(),
        }
    }

    fn id(&self) -> u32 {
        u32::try_from(self.number).unwrap_or_default()
    }

    /// What it asks for now. `creates`: whether it still makes new tasks; if not, it stops what would never end.
    pub(crate) fn wish(&mut self, rng: &mut Rng, creates: bool) -> Option<Request> {
        if let Some(open) = self.open.pop() {
            return Some(Request::Create { key: open.key, wanted: open.wanted });
        }
        if !creates && let Some(task) = rng.pick(&self.endless).cloned() {
            return Some(Request::Stop { task, grace_ms: 0 });
        }
        let known = rng.pick(&self.tasks).cloned();
        match (rng.within(0, 100), known) {
            (0..40, _) | (_, None) => creates.then(|| self.creation(rng)),
            (40..50, Some(task)) => Some(Request::Stop { task, grace_ms: rng.within(0, 6_000) }),
            (50..54, Some(task)) => Some(Request::Remove { task }),
            // One read at a time: of two under way, the older may be answered later.
            (54.., Some(_)) if self.is_reading() => None,
            (54..90, Some(task)) => Some(Request::Get { task }),
            (_, Some(_)) => Some(Request::List),
        }
    }

    fn is_reading(&self) -> bool {
        self.calls.values().any(|call| matches!(call, Request::Get { .. } | Request::List))
    }

    fn creation(&mut self, rng: &mut Rng) -> Request {
        self.created += 1;
        let key = format!("client-{}-{}", self.number, self.created);
        let count = rng.within(1, 5);
        let one = |index| Creation {
            name: format!("t-{}-{}-{index}", self.number, self.created).parse().expect("it is a name"),
            spec: Arc::new(wants::spec(rng)),
            count: None,
        };
        Request::Create { key, wanted: (0..count).map(one).collect() }
    }

    /// A call goes out. Gives what the history is to hold.
    pub(crate) fn sends(&mut self, call: u64, request: &Request) -> Option<What> {
        self.calls.insert(call, request.clone());
        let wish = match request {
            Request::Create { key, wanted } => Wish::Create {
                key: key.clone(),
                specs: wanted.iter().map(|one| show::spec_text(one.name.as_str(), &one.spec)).collect(),
            },
            Request::Stop { task, .. } => Wish::Stop { task: task.clone() },
            Request::Remove { task } => Wish::Remove { task: task.clone() },
            Request::Get { .. }
            | Request::List
            | Request::Register(_)
            | Request::Beat(_)
            | Request::Reports(_)
            | Request::Availability { .. }
            | Request::Prepare(_)
            | Request::Assign(_)
            | Request::StopThere { .. } => return None,
        };
        Some(What::Asked { call, client: self.id(), wish })
    }

    /// No answer came in time.
    pub(crate) fn gives_up(&mut self, call: u64) {
        if let Some(Request::Create { key, wanted }) = self.calls.remove(&call) {
            self.open.push(Open { key, wanted });
        }
    }

    /// An answer came. Gives what the history is to hold.
    pub(crate) fn hears(&mut self, call: u64, reply: Reply) -> Vec<What> {
        let Some(request) = self.calls.remove(&call) else { return Vec::new() };
        let client = self.id();
        let answered = |answer| vec![What::Answered { call, answer }];
        match reply {
            Reply::Created(ids) => {
                self.note_endless(&request, &ids);
                self.tasks
                    .extend(ids.iter().filter(|id| !self.tasks.contains(id)).cloned().collect::<Vec<_>>());
                answered(Answer::Created(ids))
            }
            Reply::Done => {
                if let Request::Stop { task, .. } = &request {
                    self.endless.retain(|known| known != task);
                }
                answered(Answer::Done)
            }
            Reply::Task(seen) => vec![What::Saw { client, seen: *seen }],
            Reply::Tasks(all) => all.into_iter().map(|seen| What::Saw { client, seen }).collect(),
            Reply::Problem(status, _) => self.is_refused(call, request, status),
            Reply::Registered(_) | Reply::Set(_) | Reply::Verdicts(_) | Reply::Image(_) => Vec::new(),
        }
    }

    /// Remembers which of its new tasks have no last try.
    fn note_endless(&mut self, request: &Request, ids: &[TaskId]) {
        let Request::Create { wanted, .. } = request else { return };
        for (id, one) in ids.iter().zip(wanted).filter(|(id, _)| !self.tasks.contains(id)) {
            let restart = one.spec.restart;
            if restart.policy != RestartPolicy::Never && restart.max.is_none() {
                self.endless.push(id.clone());
            }
        }
    }

    fn is_refused(&mut self, call: u64, request: Request, status: u16) -> Vec<What> {
        let client = self.id();
        let refused = What::Answered { call, answer: Answer::Refused { status, is_problem: true } };
        match request {
            Request::Create { key, wanted } if matches!(status, 409 | 503 | 507) => {
                self.open.push(Open { key, wanted });
                vec![refused]
            }
            Request::Get { task } if status == 404 => {
                self.tasks.retain(|known| *known != task);
                vec![What::Missed { client, task }]
            }
            Request::Get { .. } | Request::List => Vec::new(),
            Request::Stop { task, .. } if status == 404 => {
                self.endless.retain(|known| *known != task);
                vec![refused]
            }
            Request::Create { .. }
            | Request::Stop { .. }
            | Request::Remove { .. }
            | Request::Register(_)
            | Request::Beat(_)
            | Request::Reports(_)
            | Request::Availability { .. }
            | Request::Prepare(_)
            | Request::Assign(_)
            | Request::StopThere { .. } => vec![refused],
        }
    }

    /// Whether a creation still waits for an answer, or an endless task for its stop.
    pub(crate) fn is_owed(&self) -> bool {
        let creates = |request: &Request| matches!(request, Request::Create { .. });
        !self.open.is_empty() || !self.endless.is_empty() || self.calls.values().any(creates)
    }
}
