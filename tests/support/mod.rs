//! What several tests need. Each test binary uses a part of it.

#![allow(dead_code, reason = "no single test uses all of it")]

pub mod cluster;
