//! A whole cluster in one thread, on virtual time: the real state, committer, scheduler, reaper and mover of a master, and
//! the real `Desired`, `Walk`, `Membership`, `Pending` and `LeaseBook` of its workers, over hollow Engines. A seed decides
//! everything that chance does; the same seed gives the same run.

mod client;
mod crew;
mod ctx;
mod disk;
mod engine;
mod images;
mod master;
mod moving;
mod net;
mod node;
mod operator;
mod plan;
mod process;
mod rng;
mod show;
mod time;
mod wants;
mod world;

pub(crate) use world::World;
