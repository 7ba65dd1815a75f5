//! The node's own word on what tasks may ask for: an engine that asks another one only what the policy allows.
//!
//! Main type: [`Policed`], an [`Engine`] around the worker's real one. The master has checked each task by a policy of
//! its own, as text. Here everything is asked again, by this node's policy, and paths are resolved first: whoever has
//! got hold of a master, or of a token, gets no more of this node than its operator's file says.
//!
//! Invariant: no image is fetched and no container made that the policy doesn't allow, because there is no other way
//! to the real engine. What was made before, under another policy, is watched, stopped and removed as ever.
//! Sources are looked at before the container is made and again right before it starts, which is when Docker follows
//! the path. Deliberately absent: a lock on the file system. Between the last look and the start whoever may write to
//! the folders above a source can still change where it leads (`docs/SECURITY.md`).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::{
    ContainerRequest, Description, Engine, EngineError, Listed, LogRecords, LogRequest, Observed, Owner,
    PullProgress, Usage,
};
use crate::model::id::ContainerId;
use crate::model::mount::{CleanPath, Mount, Mounts};
use crate::model::policy::{Policy, Refusal};
use crate::model::spec::ImageRef;

/// An engine under a policy.
pub(super) struct Policed {
    engine: Arc<dyn Engine>,
    policy: Policy,
    /// What no task may have, hold or be in: the worker's own folder, the Engine's socket. Resolved.
    own: Vec<PathBuf>,
    /// What was allowed to containers that did not start yet, of those with mounts.
    allowed: Mutex<HashMap<ContainerId, Mounts>>,
}

impl Policed {
    /// Around an engine. Of `own`, which no task ever gets, what isn't there counts for nothing.
    pub(super) fn new(engine: Arc<dyn Engine>, policy: Policy, own: &[PathBuf]) -> Self {
        let own = own.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        Self { engine, policy, own, allowed: Mutex::default() }
    }

    /// The mounts with their sources as they are on the disk.
    fn resolve(&self, mounts: &Mounts) -> Result<Mounts, Refusal> {
        let one = |(index, mount): (usize, &Mount)| {
            let source = self.resolve_source(index, &mount.source)?;
            Ok(Mount { source, ..mount.clone() })
        };
        let mounts = mounts.as_slice().iter().enumerate().map(one).collect::<Result<Vec<_>, Refusal>>()?;
        Mounts::new(mounts).map_err(|error| Refusal { field: "mounts".to_owned(), why: error.to_string() })
    }

    /// Where a source leads. Blocks on the disk.
    fn resolve_source(&self, index: usize, source: &CleanPath) -> Result<CleanPath, Refusal> {
        let refuse = |why: String| Refusal {
            field: format!("mounts[{index}].source"),
            why: format!("this node's policy refuses {:?}: {why}", source.as_str()),
        };
        let real = fs::canonicalize(source.as_str()).map_err(|error| refuse(unresolved(&error)))?;
        let kind = fs::metadata(&real).map_err(|error| refuse(unresolved(&error)))?.file_type();
        let text = real.to_str().and_then(|text| text.parse::<CleanPath>().ok());
        let resolved =
            text.ok_or_else(|| refuse("it leads to a path that can't be written down".to_owned()))?;
        self.policy.allows_source(index, &resolved).map_err(|refusal| {
            if resolved == *source { refusal } else { refuse(format!("it leads elsewhere: {}", refusal.why)) }
        })?;
        if !kind.is_dir() && !kind.is_file() {
            return Err(refuse("it is neither a folder nor a file".to_owned()));
        }
        if self.own.iter().any(|own| own.starts_with(&real) || real.starts_with(own)) {
            return Err(refuse("it is, holds or is in what is the worker's own".to_owned()));
        }
        Ok(resolved)
    }

    /// Whether what was allowed to a container is still where it was. One that an earlier process made isn't known.
    fn still_allowed(&self, id: &ContainerId) -> Result<(), Refusal> {
        let Some(mounts) = self.allowed.lock().get(id).cloned() else { return Ok(()) };
        let now = self.resolve(&mounts)?;
        let moved = now.as_slice().iter().zip(mounts.as_slice()).position(|(now, then)| now != then);
        moved.map_or(Ok(()), |index| {
            let why = "it leads elsewhere than when it was allowed".to_owned();
            Err(Refusal { field: format!("mounts[{index}].source"), why })
        })
    }

    /// What is asked of the real engine.
    fn allowed(&self, request: &ContainerRequest) -> Result<ContainerRequest, Refusal> {
        self.policy.check(&request.spec)?;
        let mounts = self.resolve(&request.spec.mounts)?;
        let mut request = request.clone();
        if mounts != request.spec.mounts {
            Arc::make_mut(&mut request.spec).mounts = mounts;
        }
        Ok(request)
    }
}

fn unresolved(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "it isn't there".to_owned();
    }
    format!("it can't be looked at: {error}")
}

fn forbidden(refusal: &Refusal) -> EngineError {
    EngineError::Forbidden { why: refusal.to_string() }
}

/// The folders and files that are the worker's own, on the side of the disk.
pub(super) fn own_paths(data_dir: &Path, docker_host: Option<&str>) -> Vec<PathBuf> {
    let socket = docker_host.and_then(|host| host.strip_prefix("unix://")).unwrap_or("/var/run/docker.sock");
    vec![data_dir.to_owned(), PathBuf::from(socket)]
}

impl Engine for Policed {
    fn describe(&self) -> Result<Description, EngineError> {
        self.engine.describe()
    }

    fn has_image(&self, image: &ImageRef) -> Result<bool, EngineError> {
        self.engine.has_image(image)
    }

    fn pull(&self, image: &ImageRef, progress: &mut dyn FnMut(PullProgress)) -> Result<(), EngineError> {
        self.policy.allows_image(image).map_err(|refusal| forbidden(&refusal))?;
        self.engine.pull(image, progress)
    }

    fn create(&self, request: &ContainerRequest) -> Result<ContainerId, EngineError> {
        let allowed = self.allowed(request).map_err(|refusal| forbidden(&refusal))?;
        let has_mounts = !allowed.spec.mounts.as_slice().is_empty();
        let created = self.engine.create(&allowed);
        let made = match &created {
            Ok(id) => Some(id.clone()),
            // An earlier try made it, whose answer was lost: before it starts it is looked at again all the same.
            Err(EngineError::NameTaken { name }) if has_mounts => Some(self.engine.inspect(name)?.id),
            Err(_) => None,
        };
        if let Some(id) = made.filter(|_| has_mounts) {
            self.allowed.lock().insert(id, allowed.spec.mounts.clone());
        }
        created
    }

    fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.still_allowed(id).map_err(|refusal| forbidden(&refusal))?;
        self.engine.start(id)?;
        self.allowed.lock().remove(id);
        Ok(())
    }

    fn wait(&self, id: &ContainerId, at_most: Duration) -> Result<bool, EngineError> {
        self.engine.wait(id, at_most)
    }

    fn inspect(&self, id_or_name: &str) -> Result<Observed, EngineError> {
        self.engine.inspect(id_or_name)
    }

    fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        self.engine.stop(id, grace)
    }

    fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.allowed.lock().remove(id);
        self.engine.remove(id)
    }

    fn list(&self, owner: &Owner) -> Result<Vec<Listed>, EngineError> {
        self.engine.list(owner)
    }

    fn logs(&self, id: &ContainerId, request: LogRequest) -> Result<LogRecords, EngineError> {
        self.engine.logs(id, request)
    }

    fn stats(&self, id: &ContainerId) -> Result<Usage, EngineError> {
        self.engine.stats(id)
    }

    fn close(&self) {
        self.engine.close();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::engine::ContainerKey;
    use crate::engine::hollow::HollowEngine;
    use crate::model::id::Attempt;
    use crate::model::mount::target;
    use crate::model::spec::{Network, TaskSpec};

    /// A root, a guard whose policy knows it, and the folder that both are in.
    struct Rig {
        outer: tempfile::TempDir,
        guard: Policed,
    }

    impl Rig {
        fn new() -> Self {
            let outer = tempfile::tempdir().unwrap();
            let root = outer.path().join("root");
            for folder in ["root/x", "root/worker/logs", "beside"] {
                fs::create_dir_all(outer.path().join(folder)).unwrap();
            }
            let policy =
                Policy { mounts: vec![root.to_str().unwrap().parse().unwrap()], ..Policy::default() };
            let guard = Policed::new(Arc::new(HollowEngine::new()), policy, &[root.join("worker")]);
            Self { outer, guard }
        }

        fn path(&self, name: &str) -> String {
            self.outer.path().join(name).to_str().unwrap().to_owned()
        }

        fn create(&self, spec: TaskSpec, task: char) -> Result<ContainerId, String> {
            let owner = Owner { cluster: "c".repeat(26).parse().unwrap(), node: "n1".parse().unwrap() };
            let task = task.to_string().repeat(26).parse().unwrap();
            let key = ContainerKey { owner, task, attempt: Attempt::FIRST };
            let request = ContainerRequest { key, spec: Arc::new(spec), index: None, log_max_bytes: 1 << 20 };
            self.guard.create(&request).map_err(|error| {
                assert!(matches!(error, EngineError::Forbidden { .. }), "{error:?}");
                error.to_string()
            })
        }

        fn resolve(&self, name: &str) -> Result<String, String> {
            let source = self.path(name).parse().unwrap();
            let resolved = self.guard.resolve_source(0, &source).map_err(|refusal| refusal.to_string())?;
            Ok(resolved.as_str().to_owned())
        }
    }

    #[test]
    fn a_source_is_what_it_leads_to() {
        let rig = Rig::new();
        fs::write(rig.path("root/file"), "x").unwrap();
        symlink("x", rig.path("root/inner")).unwrap();
        for (name, leads_to) in
            [("root", "root"), ("root/x", "root/x"), ("root/inner", "root/x"), ("root/file", "root/file")]
        {
            if name != "root" {
                assert_eq!(rig.resolve(name), Ok(rig.path(leads_to)), "{name}");
            }
        }
    }

    #[test]
    fn a_source_that_leads_out_or_nowhere_is_refused() {
        let rig = Rig::new();
        symlink(rig.path("beside"), rig.path("root/out")).unwrap();
        symlink("/", rig.path("root/all")).unwrap();
        symlink("/proc/self", rig.path("root/proc")).unwrap();
        symlink("nowhere", rig.path("root/dangling")).unwrap();
        symlink("loop", rig.path("root/loop")).unwrap();
        let _socket = UnixListener::bind(rig.path("root/socket")).unwrap();
        for (name, says) in [
            ("beside", "the policy's rule mounts refuses"),
            ("root/out", "it leads elsewhere"),
            ("root/all/etc", "it leads elsewhere"),
            ("root/proc", "it leads elsewhere"),
            ("root/none", "it isn't there"),
            ("root/dangling", "it isn't there"),
            ("root/loop", "it can't be looked at"),
            ("root/socket", "it is neither a folder nor a file"),
            ("root/worker", "what is the worker's own"),
            ("root/worker/logs", "what is the worker's own"),
            ("root", "what is the worker's own"),
        ] {
            let why = rig.resolve(name).expect_err(name);
            assert!(why.starts_with("mounts[0].source: ") && why.contains(says), "{name}: {why}");
        }
    }

    #[test]
    fn what_the_policy_does_not_allow_does_not_reach_the_engine() {
        let rig = Rig::new();
        let plain = TaskSpec::of_image("busybox".parse().unwrap());
        assert!(rig.create(plain.clone(), 'a').is_ok());
        let host = rig.create(TaskSpec { network: Network::Host, ..plain.clone() }, 'b').unwrap_err();
        assert!(host.starts_with("network: the policy's rule host_network"), "{host}");
        let mount = |name: &str| Mount {
            source: rig.path(name).parse().unwrap(),
            target: target("/data").unwrap(),
            read_only: false,
        };
        let mounting =
            |name: &str| TaskSpec { mounts: Mounts::new(vec![mount(name)]).unwrap(), ..plain.clone() };
        let made = rig.create(mounting("root/x"), 'd').unwrap();
        fs::rename(rig.path("root/x"), rig.path("root/y")).unwrap();
        symlink("/etc", rig.path("root/x")).unwrap();
        let moved = rig.guard.start(&made).unwrap_err().to_string();
        assert!(moved.contains("it leads elsewhere"), "{moved}");
        fs::remove_file(rig.path("root/x")).unwrap();
        symlink("y", rig.path("root/x")).unwrap();
        let moved = rig.guard.start(&made).unwrap_err().to_string();
        assert!(moved.contains("than when it was allowed"), "{moved}");
        fs::remove_file(rig.path("root/x")).unwrap();
        fs::rename(rig.path("root/y"), rig.path("root/x")).unwrap();
        assert_eq!(rig.guard.start(&made), Ok(()));
        assert!(rig.guard.allowed.lock().is_empty());
        assert!(rig.create(mounting("root/none"), 'e').unwrap_err().contains("it isn't there"));
        let owner = Owner { cluster: "c".repeat(26).parse().unwrap(), node: "n1".parse().unwrap() };
        assert_eq!(rig.guard.list(&owner).unwrap().len(), 2, "two were allowed");
    }

    #[test]
    fn an_image_that_is_not_allowed_is_not_fetched() {
        let policy = Policy { images: Some(vec!["podling/".parse().unwrap()]), ..Policy::default() };
        let guard = Policed::new(Arc::new(HollowEngine::new()), policy, &[]);
        assert_eq!(guard.pull(&"podling/x".parse().unwrap(), &mut |_| {}), Ok(()));
        let refused = guard.pull(&"evil/x".parse().unwrap(), &mut |_| {});
        assert!(matches!(refused, Err(EngineError::Forbidden { .. })), "{refused:?}");
    }
}
