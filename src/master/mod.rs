//! The master: it holds the state, schedules, and watches over the nodes.
//!
//! Each file is one thread or one job. [`state`] is the two maps and every change to them; [`journal`] makes changes
//! durable and lets replies go; [`scheduler`] places what waits; [`reaper`] judges what is silent or waited too
//! long; [`dispatch`] pushes assignments to workers; [`handlers`] answers requests; [`logs`] passes logs on.

pub mod dispatch;
pub mod handlers;
pub mod ids;
pub mod journal;
mod locks;
pub mod logs;
pub mod reaper;
mod record;
pub mod scheduler;
pub mod settings;
pub mod state;
