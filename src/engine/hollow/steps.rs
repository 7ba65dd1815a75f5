//! What never blocks: the beginnings of a stop and of a pull, when a container ends, and what befalls an engine.

use super::{CODE_KILL, CODE_TERM, Container, HollowEngine, Life, behaviour};
use crate::engine::{EngineError, Observed};
use crate::model::id::ContainerId;
use crate::model::spec::ImageRef;
use crate::model::time::Mono;

use std::time::Duration;

impl HollowEngine {
    /// Sends TERM, and has KILL follow after `grace`; KILL at once where that is zero. Gives when the container will
    /// have ended, by what is known now; the present moment where it doesn't run.
    ///
    /// # Errors
    /// The container is unknown, or the engine is set down.
    pub fn begin_stop(&self, id: &ContainerId, grace: Duration) -> Result<Mono, EngineError> {
        let mut world = self.shared.world("stop")?;
        let now = self.shared.mono();
        let container = world.find(id, now)?;
        let obeys = !container.behaviour.ignores_term && !grace.is_zero();
        if let Life::Started(run) = &mut container.life {
            if obeys { run.cut(now, CODE_TERM) } else { run.cut(now + grace, CODE_KILL) }
        }
        let ends = container.ends_at(now).unwrap_or(now);
        drop(world);
        self.shared.changed.notify_all();
        Ok(ends)
    }

    /// When a container that runs will end, by what is known now. None: it doesn't run, any more or yet.
    ///
    /// # Errors
    /// The container is unknown, or the engine is set down.
    pub fn ends_at(&self, id: &ContainerId) -> Result<Option<Mono>, EngineError> {
        let now = self.shared.mono();
        self.shared.world("wait")?.find(id, now).map(|container| container.ends_at(now))
    }

    /// Begins to fetch an image. Gives when it will be there.
    ///
    /// # Errors
    /// The engine is set down.
    pub fn begin_pull(&self, image: &ImageRef) -> Result<Mono, EngineError> {
        drop(self.shared.world("pull")?);
        Ok(self.shared.mono() + behaviour::pull_time(image))
    }

    /// The time for an image has passed: it is there, or it turns out not to be had.
    ///
    /// # Errors
    /// It isn't to be had, or the engine is set down.
    pub fn end_pull(&self, image: &ImageRef) -> Result<(), EngineError> {
        let mut world = self.shared.world("pull")?;
        if behaviour::has_component(image, "missing") {
            return Err(EngineError::Pull { image: image.to_string(), why: "manifest unknown".to_owned() });
        }
        world.pulled.insert(image.clone());
        Ok(())
    }

    /// The engine is killed and started again: what runs ends now with 137; what ended keeps its code. Also where it
    /// is set down.
    pub fn restart(&self) {
        let now = self.shared.mono();
        for container in self.shared.world.lock().containers.values_mut() {
            if let Life::Started(run) = &mut container.life {
                run.cut(now, CODE_KILL);
            }
        }
        self.shared.changed.notify_all();
    }

    /// Every container that is there, whoever owns it, by id. Also where the engine is set down.
    pub fn containers(&self) -> Vec<Observed> {
        let now = self.shared.mono();
        let world = self.shared.world.lock();
        let there = world.containers.iter().filter(|(_, container)| !container.is_gone(now));
        let observed = |(id, container): (&ContainerId, &Container)| container.observed(id, now);
        let mut containers: Vec<Observed> = there.map(observed).collect();
        drop(world);
        containers.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        containers
    }
}
