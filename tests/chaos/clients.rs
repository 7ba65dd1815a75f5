//! The users: threads that create, stop, read and remove tasks all the time, and write down what they were told.
//!
//! Main type: [`Clients`]. A request whose outcome is unknown is sent again with the same key until it is answered.
//! No client knows which faults are put in; what it draws depends on the seed alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use podling::api::routes;
use podling::api::wire::Page;
use podling::api::wire::task::TaskView;
use podling::http::client::{Call, Reply};
use podling::http::{Client, ClientError};
use podling::model::id::TaskId;
use podling::runtime::supervise::{self, Thread};
use serde_json::json;

use crate::checker::history::{Answer, What, Wish};
use crate::dice::Dice;
use crate::recorder::Recorder;
use crate::site::master_url;
use crate::workload;

/// How many there are.
pub(crate) const COUNT: u32 = 4;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// How often a request with an unknown outcome is sent at most.
const TRIES: u32 = 40;

/// A batch is smaller than this.
const BATCH: u64 = 4;

/// How many tasks that don't end by themselves a client leaves running.
const LONG_ONES: usize = 3;

/// All of them.
pub(crate) struct Clients {
    is_over: Arc<AtomicBool>,
    threads: Vec<Thread>,
}

impl Clients {
    pub(crate) fn begin(seed: u64, recorder: &Arc<Recorder>) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let begin = |number: u32| {
            let user = User::new(number, recorder, &is_over);
            let dice = Dice::of(seed, u64::from(number));
            supervise::spawn(format!("client-{number}"), move || user.run(dice)).unwrap()
        };
        let threads = (1..=COUNT).map(begin).collect();
        Self { is_over, threads }
    }

    /// Waits until the last of them has its last answer.
    #[track_caller]
    pub(crate) fn end(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let fine = self.threads.into_iter().map(Thread::join).filter(|fine| *fine).count();
        assert_eq!(fine, COUNT as usize, "a client's thread panicked");
    }
}

/// A task that a client made.
struct Own {
    id: TaskId,
    is_long: bool,
    has_ended: bool,
}

/// A user.
pub(crate) struct User {
    number: u32,
    client: Client,
    recorder: Arc<Recorder>,
    is_over: Arc<AtomicBool>,
}

impl User {
    pub(crate) fn new(number: u32, recorder: &Arc<Recorder>, is_over: &Arc<AtomicBool>) -> Self {
        let (recorder, is_over) = (Arc::clone(recorder), Arc::clone(is_over));
        Self { number, client: Client::new(&master_url()).unwrap(), recorder, is_over }
    }

    fn run(&self, mut dice: Dice) {
        let mut own: Vec<Own> = Vec::new();
        let mut made = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            match dice.between(0, 100) {
                0..37 => {
                    made += 1;
                    own.extend(self.create(made, &mut dice));
                }
                37..40 => {
                    made += 1;
                    own.extend(self.create_batch(made, &mut dice));
                }
                40..65 => self.read_one(&mut own, &mut dice),
                65..80 => drop(self.list()),
                80..92 => self.stop_one(&mut own, &mut dice),
                _ => self.remove_one(&mut own),
            }
            let long: Vec<&Own> = own.iter().filter(|task| task.is_long && !task.has_ended).collect();
            if long.len() > LONG_ONES {
                self.stop(&long[0].id, None);
                let id = long[0].id.clone();
                own.iter_mut().filter(|task| task.id == id).for_each(|task| task.is_long = false);
            }
            std::thread::park_timeout(Duration::from_millis(dice.between(300, 1_300)));
        }
    }

    fn create(&self, number: u32, dice: &mut Dice) -> Option<Own> {
        let name = format!("t{}-{number}", self.number);
        let wanted = workload::draw(&name, dice);
        let key = format!("chaos-{name}");
        let wish = Wish::Create { key: key.clone(), specs: vec![wanted.spec] };
        let created = |reply: &Reply| {
            let view: TaskView = reply.json().ok()?;
            Some(Answer::Created(vec![view.task_id]))
        };
        let headers = [("Idempotency-Key", key.as_str())];
        match self.insist("POST", routes::TASKS, &headers, Some(&wanted.body), &wish, created)? {
            Answer::Created(ids) => {
                Some(Own { id: ids[0].clone(), is_long: wanted.is_long, has_ended: false })
            }
            Answer::Done | Answer::Refused { .. } => None,
        }
    }

    /// Creates several tasks, all or none.
    fn create_batch(&self, number: u32, dice: &mut Dice) -> Vec<Own> {
        let one =
            |nth: u64, dice: &mut Dice| workload::draw(&format!("b{}-{number}-{nth}", self.number), dice);
        let count = dice.between(2, BATCH);
        let wanted: Vec<workload::Wanted> = (0..count).map(|nth| one(nth, dice)).collect();
        let key = format!("chaos-b{}-{number}", self.number);
        let specs = wanted.iter().map(|one| one.spec.clone()).collect();
        let wish = Wish::Create { key: key.clone(), specs };
        let created = |reply: &Reply| {
            let page: Page<TaskView> = reply.json().ok()?;
            Some(Answer::Created(page.items.into_iter().map(|view| view.task_id).collect()))
        };
        let bodies: Vec<&[u8]> = wanted.iter().map(|one| one.body.as_slice()).collect();
        let body = [b"[", bodies.join(&b',').as_slice(), b"]"].concat();
        let headers = [("Idempotency-Key", key.as_str())];
        let answer = self.insist("POST", routes::TASKS, &headers, Some(&body), &wish, created);
        let Some(Answer::Created(ids)) = answer else { return Vec::new() };
        let own = |(id, one): (TaskId, &workload::Wanted)| Own { id, is_long: one.is_long, has_ended: false };
        ids.into_iter().zip(&wanted).map(own).collect()
    }

    /// Sends a request until its outcome is known, and it isn't one that passes. None: it never was.
    fn insist(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
        wish: &Wish,
        read: impl Fn(&Reply) -> Option<Answer>,
    ) -> Option<Answer> {
        for _ in 0..TRIES {
            let call = self.recorder.asked(self.number, wish.clone());
            let body = body.map(<[u8]>::to_vec);
            let outcome = self.client.call(Call { headers, body, ..Call::new(method, path, PATIENCE) });
            let answer = match &outcome {
                Ok(reply) => read(reply),
                Err(error) => refusal(error),
            };
            if let Some(answer) = answer {
                self.recorder.answered(call, answer.clone());
                if !matches!(answer, Answer::Refused { status: 409 | 429 | 503 | 507, .. }) {
                    return Some(answer);
                }
                if matches!((method, &answer), ("DELETE", Answer::Refused { status: 409, .. })) {
                    return Some(answer);
                }
            }
            std::thread::park_timeout(Duration::from_millis(150));
        }
        None
    }

    /// Reads a task.
    fn read_one(&self, own: &mut Vec<Own>, dice: &mut Dice) {
        if own.is_empty() {
            return;
        }
        let which = usize::try_from(dice.between(0, own.len() as u64)).unwrap();
        let id = own[which].id.clone();
        match self.client.get::<TaskView>(&routes::task(id.as_str()), PATIENCE) {
            Ok(view) => {
                own[which].has_ended = view.status.is_terminal();
                self.saw(&view);
            }
            Err(ClientError::Refused(problem)) if problem.code == "task_not_found" => {
                own.remove(which);
                self.recorder.put(What::Missed { client: self.number, task: id });
            }
            Err(_) => {}
        }
    }

    /// Reads all tasks.
    pub(crate) fn list(&self) -> Option<Vec<TaskView>> {
        let path = format!("{}?limit=10000", routes::TASKS);
        let page = self.client.get::<Page<TaskView>>(&path, PATIENCE).ok()?;
        page.items.iter().for_each(|view| self.saw(view));
        Some(page.items)
    }

    fn saw(&self, view: &TaskView) {
        self.recorder.put(What::Saw { client: self.number, seen: workload::seen(view) });
    }

    fn stop_one(&self, own: &mut [Own], dice: &mut Dice) {
        let mut alive: Vec<&mut Own> = own.iter_mut().filter(|task| !task.has_ended).collect();
        if !alive.is_empty() {
            let which = usize::try_from(dice.between(0, alive.len() as u64)).unwrap();
            self.stop(&alive[which].id, Some(dice.between(200, workload::LONGEST_GRACE_MS)));
            alive[which].is_long = false;
        }
    }

    /// Asks for a task's end.
    pub(crate) fn stop(&self, id: &TaskId, grace_ms: Option<u64>) {
        let body = grace_ms.map(|grace_ms| json!({ "grace_ms": grace_ms }).to_string().into_bytes());
        let wish = Wish::Stop { task: id.clone() };
        let path = routes::task_stop(id.as_str());
        let read = |reply: &Reply| {
            let view = reply.json::<TaskView>().ok()?;
            self.saw(&view);
            Some(Answer::Done)
        };
        let _ = self.insist("POST", &path, &[], body.as_deref(), &wish, read);
    }

    fn remove_one(&self, own: &mut Vec<Own>) {
        let Some(which) = own.iter().position(|task| task.has_ended) else { return };
        let id = own.remove(which).id;
        let wish = Wish::Remove { task: id.clone() };
        let _ = self.insist("DELETE", &routes::task(id.as_str()), &[], None, &wish, |_| Some(Answer::Done));
    }
}

/// What the server said against it. None: nobody knows whether it was done.
fn refusal(error: &ClientError) -> Option<Answer> {
    let problem = error.problem()?;
    Some(Answer::Refused { status: problem.status, is_problem: problem.code != "unknown" })
}
