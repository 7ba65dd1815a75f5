//! The gate (being built).

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crate::http::backend::Backend;
use crate::runtime::supervise::Stop;

mod limits;

pub use limits::{BodyLimit, Caps, Deadlines, Limits};

/// What the gate needs to know.
#[derive(Clone, Debug)]
pub(crate) struct GateSettings {
    pub(crate) limits: Limits,
    pub(crate) deadlines: Deadlines,
    pub(crate) caps: Caps,
    pub(crate) body_limit: BodyLimit,
}

/// The gate.
pub(crate) struct Gate {
    _listener: TcpListener,
    _settings: GateSettings,
    _backend: Arc<Backend>,
}

impl Gate {
    pub(crate) fn new(
        listener: TcpListener,
        settings: GateSettings,
        backend: Arc<Backend>,
    ) -> io::Result<Self> {
        Ok(Self { _listener: listener, _settings: settings, _backend: backend })
    }

    pub(crate) fn run(&mut self, stop: &Stop) {
        while !stop.wait(Duration::from_secs(1)) {}
    }
}
