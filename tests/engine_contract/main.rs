//! What every engine does alike, and what only Docker can get wrong.
//!
//! [`life`], [`logs`] and [`stats`] are one suite that runs against each engine. [`docker`] holds what only real containers
//! have, [`registry`] pulls from a real registry, [`faults`] are Engines that aren't there, hang or break off,
//! and [`hollow`] is what the hollow engine has for tests. Without Docker this fails; it doesn't skip.
#![expect(clippy::unwrap_used, reason = "in tests a panic is how a failure is told")]

#[path = "../support/engine.rs"]
mod support;

mod docker;
mod faults;
mod hollow;
mod life;
mod logs;
mod registry;
mod stats;

/// Makes each case a test on every engine.
macro_rules! on_every_engine {
    ($($case:ident),+ $(,)?) => {
        mod on_docker {
            $(#[test] fn $case() { super::$case(&crate::support::Rig::docker()); })+
        }
        mod on_hollow {
            $(#[test] fn $case() { super::$case(&crate::support::Rig::hollow()); })+
        }
    };
}
use on_every_engine;
