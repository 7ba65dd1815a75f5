//! The thread `images`: has an image ready on this node before a task needs it.
//!
//! Main type: [`Images`], behind POST /images. Whoever wants an image there asks again and again, and is told how far it
//! has come: that it is there, that it is being pulled, or, once, that the pull failed. The pull itself is
//! [`Pulls`]', and so one and the same with that of a task that waits for the image. No request waits for a pull, or for
//! an Engine that hangs.
//!
//! The policy `always` is treated as `missing` here: what matters is that a task that is to move finds its image at its
//! new node. It asks the registry again itself, when it starts there; then all layers are there already.
//!
//! Invariant: at most [`MOST_IMAGES`] pulls are remembered. A pull that nobody asks after any more goes on to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};
use parking_lot::Mutex;

use crate::api::wire::image::{ImageReply, ImageRequest, ImageStatus};
use crate::engine::EngineError;
use crate::http::{Problem, Request, Responder, Response};
use crate::model::spec::{ImageRef, PullPolicy};
use crate::model::time::Mono;
use crate::rest::{problem_of, read};
use crate::runtime::clock;
use crate::runtime::supervise::Stop;
use crate::worker::errands::Errands;
use crate::worker::monitor::Ground;
use crate::worker::pulls::{News, Pulls};
use crate::worker::watch::EngineWatch;

/// Pulls that are remembered.
const MOST_IMAGES: usize = 16;

/// Requests that may wait for the thread.
const MOST_QUESTIONS: usize = 64;

/// How many images the Engine is asked about at a time.
const AT_ONCE: usize = 4;

/// How long the Engine is waited for. Less than the master waits for the answer.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// How long a pull that failed stands as the answer before it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How long an end waits for an Engine that hangs.
const END_WITHIN: Duration = Duration::from_secs(8);

/// The images that are to be ready.
pub(super) struct Images {
    ground: Arc<Ground>,
    watch: Arc<EngineWatch>,
    known: Mutex<Known>,
    questions: (Sender<Question>, Receiver<Question>),
}

/// A request that the Engine has to be asked for.
struct Question {
    image: ImageRef,
    pull: PullPolicy,
    responder: Responder,
}

/// What is known without asking the Engine.
#[derive(Default)]
struct Known(HashMap<ImageRef, Pull>);

/// A pull that was asked for.
enum Pull {
    UnderWay(Receiver<News>),
    /// `at`: when that was first told.
    Failed {
        why: String,
        at: Mono,
    },
    Over,
}

impl Images {
    /// Nothing asked for yet.
    pub(super) fn new(ground: Arc<Ground>, watch: Arc<EngineWatch>) -> Self {
        Self { ground, watch, known: Mutex::default(), questions: bounded(MOST_QUESTIONS) }
    }

    /// POST /images. Never blocks: the answer may come later.
    pub(super) fn ask(&self, request: &Request, responder: Responder) {
        match self.answer_at_once(request) {
            Ok(Ok(response)) => responder.send(response),
            Err(problem) => responder.send(problem),
            Ok(Err((image, pull))) => {
                let question = Question { image, pull, responder };
                if let Err(refused) = self.questions.0.try_send(question) {
                    refused.into_inner().responder.send(busy());
                }
            }
        }
    }

    /// What can be said without the Engine; else what it is to be asked.
    fn answer_at_once(&self, request: &Request) -> Result<Result<Response, (ImageRef, PullPolicy)>, Problem> {
        let (image, pull) = read::<ImageRequest>(request)?.read().map_err(|mistake| problem_of(&mistake))?;
        let standing = self.known.lock().look(&image, clock::mono());
        match standing {
            Some(Ok(())) => return Ok(Ok(pulling(&image, &self.ground.pulls))),
            Some(Err(why)) => return Err(failed(why)),
            None => {}
        }
        if self.watch.is_ready() { Ok(Err((image, pull))) } else { Err(no_engine()) }
    }

    /// Body of the thread `images`.
    pub(super) fn run(&self, stop: &Stop) {
        let mut errands = Errands::new("images", AT_ONCE);
        loop {
            select! {
                recv(self.questions.1) -> question => {
                    let questions = question.into_iter().chain(self.questions.1.try_iter()).collect();
                    self.answer(questions, &mut errands);
                }
                recv(stop.channel_ref()) -> _ => break,
            }
        }
        errands.end(END_WITHIN);
    }

    /// Asks the Engine about all at once, and answers.
    fn answer(&self, questions: Vec<Question>, errands: &mut Errands) {
        let engine = Arc::clone(&self.ground.engine);
        let images: Vec<(usize, ImageRef)> =
            questions.iter().map(|question| question.image.clone()).enumerate().collect();
        let asked = move |(number, image): &(usize, ImageRef)| (*number, engine.has_image(image));
        let found = errands.run(images, LOOK_WITHIN, asked);
        let mut found: HashMap<usize, _> = found.into_iter().flatten().collect();
        for (number, question) in questions.into_iter().enumerate() {
            let response = match found.remove(&number) {
                Some(Ok(true)) => Ok(present(&question.image)),
                Some(Ok(false)) => self.absent(&question.image, question.pull),
                Some(Err(error)) => {
                    log::debug!("the engine can't say whether it has an image because={error}");
                    Err(no_engine())
                }
                None => Err(no_engine()),
            };
            question.responder.send(response.unwrap_or_else(Response::from));
        }
    }

    /// The Engine doesn't have it: its pull begins, or is joined.
    fn absent(&self, image: &ImageRef, pull: PullPolicy) -> Result<Response, Problem> {
        if pull == PullPolicy::Never {
            return Err(failed(format!("{image} is not on this node, and it is never to be pulled")));
        }
        let begun = self.known.lock().begin(image, clock::mono(), || self.ground.pulls.listen(image));
        if begun { Ok(pulling(image, &self.ground.pulls)) } else { Err(busy()) }
    }
}

impl Known {
    /// How the pull of an image stands. None: there is none, or none that still counts.
    fn look(&mut self, image: &ImageRef, now: Mono) -> Option<Result<(), String>> {
        let pull = self.0.get_mut(image)?;
        pull.hear(now);
        let standing = pull.standing(now);
        if standing.is_none() {
            self.0.remove(image);
        }
        standing
    }

    /// Remembers a pull that begins now, unless there are too many. Those that no longer count make room.
    fn begin(&mut self, image: &ImageRef, now: Mono, listen: impl FnOnce() -> Receiver<News>) -> bool {
        if self.0.contains_key(image) {
            return true;
        }
        if self.0.len() >= MOST_IMAGES {
            self.0.values_mut().for_each(|pull| pull.hear(now));
            self.0.retain(|_, pull| pull.standing(now).is_some());
        }
        let has_room = self.0.len() < MOST_IMAGES;
        if has_room {
            self.0.insert(image.clone(), Pull::UnderWay(listen()));
        }
        has_room
    }
}

impl Pull {
    /// Takes in what there is to hear.
    fn hear(&mut self, now: Mono) {
        let Self::UnderWay(news) = self else { return };
        let end = loop {
            match news.try_recv() {
                Ok(News::Progress(_)) => {}
                Ok(News::Done(Err(error @ (EngineError::Pull { .. } | EngineError::Forbidden { .. })))) => {
                    break Self::Failed { why: error.to_string(), at: now };
                }
                // It worked, or the Engine went away: either way the Engine is asked next.
                Ok(News::Done(_)) | Err(TryRecvError::Disconnected) => break Self::Over,
                Err(TryRecvError::Empty) => return,
            }
        };
        *self = end;
    }

    /// What it is to whoever asks for the image. None: nothing any more.
    fn standing(&self, now: Mono) -> Option<Result<(), String>> {
        match self {
            Self::UnderWay(_) => Some(Ok(())),
            Self::Failed { why, at } if now.since(*at) < TRY_AGAIN => Some(Err(why.clone())),
            Self::Failed { .. } | Self::Over => None,
        }
    }
}

fn present(image: &ImageRef) -> Response {
    let status = ImageStatus::Present;
    Response::json(200, &ImageReply { image: image.to_string(), status, detail: None })
}

fn pulling(image: &ImageRef, pulls: &Pulls) -> Response {
    let far = pulls.progress(image).map(|progress| format!("pulling {progress}"));
    let detail = Some(far.unwrap_or_else(|| format!("pulling {image}")));
    Response::json(202, &ImageReply { image: image.to_string(), status: ImageStatus::Pulling, detail })
}

fn failed(why: String) -> Problem {
    Problem::conflict("image_pull", why)
}

fn busy() -> Problem {
    Problem::unavailable("busy", "as many images as may be asked for at a time are asked for")
}

fn no_engine() -> Problem {
    Problem::unavailable("engine", "the container engine does not answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PullProgress;

    fn at(secs: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(secs))
    }

    fn image(number: usize) -> ImageRef {
        format!("a:{number}").parse().unwrap()
    }

    fn failure() -> News {
        News::Done(Err(EngineError::Pull { image: "a:0".to_owned(), why: "manifest unknown".to_owned() }))
    }

    #[test]
    fn a_pull_stands_until_it_is_over_and_a_failure_for_a_while() {
        let mut known = Known::default();
        let (tell, news) = bounded(4);
        assert!(known.begin(&image(0), at(1), || news));
        assert_eq!(known.look(&image(0), at(1)), Some(Ok(())));
        tell.send(News::Progress(PullProgress::default())).unwrap();
        assert_eq!(known.look(&image(0), at(2)), Some(Ok(())));
        tell.send(failure()).unwrap();
        let why = "pull a:0: manifest unknown".to_owned();
        assert_eq!(known.look(&image(0), at(60)), Some(Err(why.clone())), "it is told, however late");
        assert_eq!(known.look(&image(0), at(64)), Some(Err(why)));
        assert_eq!(known.look(&image(0), at(65)), None);
        let ends = [News::Done(Ok(())), News::Done(Err(EngineError::NotFound { subject: String::new() }))];
        for end in ends {
            let (tell, news) = bounded(4);
            assert!(known.begin(&image(0), at(66), || news));
            tell.send(end).unwrap();
            assert_eq!(known.look(&image(0), at(66)), None, "the engine is asked");
        }
        let (tell, news) = bounded(4);
        assert!(known.begin(&image(0), at(70), || news));
        tell.send(News::Done(Err(EngineError::Forbidden { why: "no".to_owned() }))).unwrap();
        assert_eq!(known.look(&image(0), at(70)), Some(Err("no".to_owned())), "nobody asks on and on");
        assert_eq!(known.look(&image(0), at(75)), None);
        assert!(known.0.is_empty());
    }

    #[test]
    fn so_many_are_remembered_and_those_that_are_over_make_room() {
        let mut known = Known::default();
        let (mut lines, next) = (Vec::new(), || bounded(4));
        for number in 0..MOST_IMAGES {
            let (tell, news) = next();
            lines.push(tell);
            assert!(known.begin(&image(number), at(1), || news));
        }
        assert!(!known.begin(&image(99), at(1), || unreachable!("there is no room")));
        assert!(known.begin(&image(3), at(1), || unreachable!("it is under way")));
        lines[0].send(failure()).unwrap();
        assert!(!known.begin(&image(99), at(1), || unreachable!("a failure is to be told")));
        lines[1].send(News::Done(Ok(()))).unwrap();
        assert!(known.begin(&image(99), at(1), || next().1));
        assert_eq!((known.0.len(), known.look(&image(1), at(1))), (MOST_IMAGES, None));
    }
}
