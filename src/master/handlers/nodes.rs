//! Nodes, as operators see them: list, look at, open and close, forget.

use super::audit::asked;
use super::tasks::{MAX_LIMIT, limit};
use super::{Answer, Api, json, store_full};
use crate::api::wire::Page;
use crate::api::wire::node::AvailabilityRequest;
use crate::http::{Problem, Request, Response};
use crate::master::access::Caller;
use crate::master::state::{AsOf, ForgetNodeError, StoreFull};
use crate::master::stats;
use crate::model::id::NodeId;
use crate::model::node::NodeStatus;
use crate::rest::query::Query;
use crate::rest::read;

impl Api {
    /// GET /nodes
    pub(super) fn list_nodes(&self, request: &Request) -> Result<Answer, Problem> {
        let mut query = Query::of(request)?;
        let most = query.take("limit", limit)?.unwrap_or(MAX_LIMIT);
        let after = query.take("after", str::parse::<NodeId>)?;
        query.finish()?;
        let found = self.state.nodes(after.as_ref(), most);
        let (items, next) = found.value;
        let next = next.map(|id| id.to_string());
        Ok(Answer::Reply(AsOf { value: json(200, &Page { items, next }), at: found.at }))
    }

    /// GET /nodes/:id
    pub(super) fn get_node(&self, id: &str) -> Result<Answer, Problem> {
        let found = id.parse().ok().and_then(|node| self.state.node(&node));
        let found = found.ok_or_else(|| node_not_found(id))?;
        Ok(Answer::Reply(AsOf { value: json(200, &found.value), at: found.at }))
    }

    /// GET /nodes/:id/stats
    pub(super) fn node_stats(&self, id: &str) -> Result<Answer, Problem> {
        let found = id.parse().ok().and_then(|node| self.state.node(&node));
        let node = found.ok_or_else(|| node_not_found(id))?.value;
        if node.status == NodeStatus::Offline {
            return Err(stats::unreachable(&node.node_id, "it is offline"));
        }
        let reach = self.state.reach_of(&node.node_id).ok_or_else(|| node_not_found(id))?;
        Ok(Answer::Stats(node.node_id, reach))
    }

    /// POST /nodes/:id/availability
    pub(super) fn set_availability(
        &self,
        id: &str,
        request: &Request,
        caller: &Caller,
    ) -> Result<Answer, Problem> {
        let wanted: AvailabilityRequest = read(request)?;
        let node: NodeId = id.parse().map_err(|_| node_not_found(id))?;
        let set = self.state.set_availability(&node, wanted.availability, asked(request, caller));
        let set = set.map_err(|StoreFull| store_full())?.ok_or_else(|| node_not_found(id))?;
        log::info!("availability set node={id} availability={}", wanted.availability.as_str());
        Ok(Answer::Reply(AsOf { value: json(200, &set.value), at: set.at }))
    }

    /// DELETE /nodes/:id
    pub(super) fn delete_node(
        &self,
        id: &str,
        request: &Request,
        caller: &Caller,
    ) -> Result<Answer, Problem> {
        let node: NodeId = id.parse().map_err(|_| node_not_found(id))?;
        let forgotten =
            self.state.forget_node(&node, asked(request, caller)).map_err(|error| match error {
                ForgetNodeError::InUse(why) => Problem::conflict("node_in_use", why),
                ForgetNodeError::StoreFull => store_full(),
            })?;
        let forgotten = forgotten.ok_or_else(|| node_not_found(id))?;
        log::info!("node removed node={id}");
        Ok(Answer::Reply(AsOf { value: Response::empty(204), at: forgotten.at }))
    }
}

pub(super) fn node_not_found(id: &str) -> Problem {
    Problem::not_found("node_not_found", format!("there is no node {id:?}"))
}

pub(super) fn node_id_in_use(node: &NodeId) -> Problem {
    Problem::conflict("node_id_in_use", format!("another worker beats as {node}"))
}
