//! A whole cluster in one thread, on virtual time: the real state, committer, scheduler and reaper of a master, and the
//! real `Desired`, `Walk`, `Membership`, `Pending` and `LeaseBook` of its workers, over hollow Engines. A seed decides
//! everything that chance does; the same seed gives the same run.

mod client;
mod crew;
mod ctx;
mod disk;
mod engine;
mod master;
mod net;
mod node;
mod plan;
mod process;
mod rng;
mod show;
mod time;
mod world;

pub(crate) use world::World;
