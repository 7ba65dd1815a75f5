//! Fetching images: each image once at a time, whoever waits for it, two images at a time.
//!
//! The threads `pull-1` and `pull-2` belong to [`Pulls`]. A monitor asks for an image and gets a channel on which it
//! hears how far the pull has come and how it ended. It may stop listening (its task is to stop): the pull goes on,
//! because the image will be wanted again, and nobody is told.
//!
//! Invariant: an image is being pulled at most once. The threads are not waited for when the process ends: a pull can
//! only be ended by the Engine.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::engine::{Engine, EngineError, PullProgress};
use crate::model::spec::ImageRef;
use crate::runtime::supervise;

/// How many images are pulled at a time.
const THREADS: usize = 2;

/// Images that may wait for their turn.
const MOST_IMAGES: usize = 4096;

/// News that may wait for one listener: the newest progress, and the end.
const MOST_NEWS: usize = 2;

/// What a listener hears.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// Bytes moved.
    Progress(PullProgress),
    /// It is over.
    Done(Result<(), EngineError>),
}

/// The pulls under way.
pub(super) struct Pulls {
    engine: Arc<dyn Engine>,
    under_way: Mutex<HashMap<ImageRef, Pull>>,
    turns: Sender<ImageRef>,
}

/// One of them.
#[derive(Default)]
struct Pull {
    listeners: Vec<Sender<News>>,
    /// None: nothing has come yet.
    progress: Option<PullProgress>,
}

impl Pulls {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(super) fn start(engine: Arc<dyn Engine>) -> std::io::Result<Arc<Self>> {
        let (turns, next) = bounded(MOST_IMAGES);
        let pulls = Arc::new(Self { engine, under_way: Mutex::default(), turns });
        for number in 1..=THREADS {
            let (next, pulls) = (next.clone(), Arc::downgrade(&pulls));
            supervise::spawn(format!("pull-{number}"), move || {
                while let Some((image, pulls)) = next.recv().ok().zip(pulls.upgrade()) {
                    pulls.pull(&image);
                }
            })?;
        }
        Ok(pulls)
    }

    /// Joins the pull of an image, or begins one. Never blocks.
    pub(super) fn listen(&self, image: &ImageRef) -> Receiver<News> {
        let (tell, hear) = bounded(MOST_NEWS);
        let mut under_way = self.under_way.lock();
        if let Some(pull) = under_way.get_mut(image) {
            pull.listeners.push(tell);
        } else if self.turns.try_send(image.clone()).is_ok() {
            under_way.insert(image.clone(), Pull { listeners: vec![tell], progress: None });
        } else {
            let why = "too many images wait to be pulled".to_owned();
            let refused = EngineError::Pull { image: image.to_string(), why };
            let _ = tell.try_send(News::Done(Err(refused)));
        }
        hear
    }

    /// How far the pull of an image has come. None: nothing has come yet, or nobody pulls it.
    pub(super) fn progress(&self, image: &ImageRef) -> Option<PullProgress> {
        self.under_way.lock().get(image).and_then(|pull| pull.progress)
    }

    fn pull(&self, image: &ImageRef) {
        log::info!("pulling image={image}");
        let mut progress = |progress| self.tell(image, progress);
        let done = self.engine.pull(image, &mut progress);
        match &done {
            Ok(()) => log::info!("pulled image={image}"),
            Err(error) => log::warn!("pull failed image={image} because={error}"),
        }
        // Race: whoever comes after this begins another pull, which finds the image there.
        let pull = self.under_way.lock().remove(image).unwrap_or_default();
        for listener in pull.listeners {
            // At most one progress waits there, so there is room.
            let _ = listener.try_send(News::Done(done.clone()));
        }
    }

    /// Tells progress to who has room for it: the last place is kept for the end.
    fn tell(&self, image: &ImageRef, progress: PullProgress) {
        let mut under_way = self.under_way.lock();
        let Some(pull) = under_way.get_mut(image) else { return };
        pull.progress = Some(progress);
        for listener in &pull.listeners {
            if listener.len() + 1 < MOST_NEWS {
                let _ = listener.try_send(News::Progress(progress));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::hollow::HollowEngine;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn end(news: &Receiver<News>) -> Result<(), EngineError> {
        loop {
            if let News::Done(done) = news.recv_timeout(PATIENCE).unwrap() {
                return done;
            }
        }
    }

    #[test]
    fn all_who_wait_for_an_image_hear_of_it_and_a_failure_too() {
        let pulls = Pulls::start(Arc::new(HollowEngine::new())).unwrap();
        let image: ImageRef = "remote/pull-50/app".parse().unwrap();
        let news: Vec<_> = (0..20).map(|_| pulls.listen(&image)).collect();
        assert!(news.iter().all(|news| end(news) == Ok(())));
        let missing: ImageRef = "missing/app".parse().unwrap();
        let error = end(&pulls.listen(&missing)).unwrap_err();
        assert!(error.to_string().contains("manifest unknown"), "{error}");
        assert!(pulls.under_way.lock().is_empty());
    }
}
