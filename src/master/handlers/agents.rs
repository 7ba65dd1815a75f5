//! Nodes, as they speak for themselves: register, beat, report.

use super::nodes::{node_id_in_use, node_not_found};
use super::{Answer, Api, json, store_full};
use crate::api::wire::agent::{
    HeartbeatRequest, RegisterReply, RegisterRequest, ReportsReply, ReportsRequest,
};
use crate::api::wire::millis;
use crate::control::lease;
use crate::http::{Problem, Request};
use crate::master::access::Caller;
use crate::master::state::{AsOf, BeatError, RegisterError, ReportError};
use crate::model::id::{AttemptKey, NodeId};
use crate::model::node::{NodeAddress, Registration};
use crate::model::time::Now;
use crate::rest::{problem_of, read};
use crate::runtime::clock;

/// How many attempts that are not known here one line of the log names.
const NAMED_UNKNOWN: usize = 20;

impl Api {
    /// POST /nodes
    pub(super) fn register(&self, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
        let asked: RegisterRequest = read(request)?;
        caller.check_node(&asked.node_id)?;
        let (sent, cluster) = (asked.incarnation, asked.cluster_id.clone());
        let registration = Registration::try_from(asked).map_err(|mistake| problem_of(&mistake))?;
        let (node, address) = (registration.node_id.clone(), registration.address.clone());
        let granted = self.state.register(registration, sent, cluster.as_ref(), clock::now());
        let granted = granted.map_err(|error| match error {
            RegisterError::ForeignCluster => {
                Problem::conflict("foreign_cluster", format!("{node} belongs to another cluster"))
            }
            RegisterError::NodeIdInUse => node_id_in_use(&node),
            RegisterError::StoreFull => store_full(),
        })?;
        log::info!("node registered node={node} address={address} incarnation={}", granted.value.incarnation);
        self.dispatcher.heard(&address);
        let settings = self.state.settings();
        let reply = RegisterReply {
            cluster_id: settings.cluster.clone(),
            epoch: settings.epoch,
            incarnation: granted.value.incarnation,
            node_timeout_ms: millis(settings.node_timeout),
            lease_ms: millis(lease::of_timeout(settings.node_timeout)),
        };
        let status = if granted.value.is_new { 201 } else { 200 };
        Ok(Answer::Reply(AsOf { value: json(status, &reply), at: granted.at }))
    }

    /// POST /heartbeat
    pub(super) fn heartbeat(&self, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
        let beat: HeartbeatRequest = read(request)?;
        let node = &beat.node_id;
        caller.check_node(node)?;
        // Silence counts from the moment the beat was taken off the wire.
        let now = Now { mono: request.received_at, wall: clock::wall() };
        let set = self.state.beat(&beat, now).map_err(|error| match error {
            BeatError::Unknown => node_not_found(node.as_str()),
            BeatError::Superseded => superseded(node),
        })?;
        if set.value.register && !self.state.journal().is_failing() {
            log::info!("node online again node={node}");
        }
        if let Some(unknown) = self.state.news_of_unknown(node) {
            let first: Vec<String> = unknown.iter().take(NAMED_UNKNOWN).map(AttemptKey::to_string).collect();
            let (count, first) = (unknown.len(), first.join(","));
            log::warn!(
                "in quarantine: attempts that are not known here node={node} count={count} first={first}"
            );
        }
        if let Some(shown) = self.state.node(node) {
            self.dispatcher.heard(&NodeAddress { host: shown.value.hostname, port: shown.value.port });
        }
        Ok(Answer::Reply(AsOf { value: json(200, &set.value), at: set.at }))
    }

    /// POST /nodes/:id/reports
    pub(super) fn reports(&self, id: &str, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
        let node: NodeId = id.parse().map_err(|_| node_not_found(id))?;
        caller.check_node(&node)?;
        let batch: ReportsRequest = read(request)?;
        let told = self.state.report(&node, batch, clock::now()).map_err(|error| match error {
            ReportError::Unknown => node_not_found(id),
            ReportError::Superseded => superseded(&node),
        })?;
        let reply = ReportsReply { verdicts: told.value };
        Ok(Answer::Reply(AsOf { value: json(200, &reply), at: told.at }))
    }
}

fn superseded(node: &NodeId) -> Problem {
    Problem::conflict("superseded", format!("a later worker has registered as {node}"))
}
