//! What happens, to those who follow it.

use super::{Answer, Api};
use crate::http::{Problem, Request};
use crate::master::events::{EventStream, Start};
use crate::rest::query::{Query, flag};

/// What a browser sends when it opens a broken stream again.
const LAST_EVENT_ID: &str = "Last-Event-ID";

impl Api {
    /// GET /events
    ///
    /// Begins after the event in `Last-Event-ID`, else after that in `?after=` (`0`: with the oldest that is kept), else
    /// with what happens from now on. The header wins: whoever opens the same URL again sends it. `?follow=false` ends
    /// the answer when all that is known has been told.
    pub(super) fn events(&self, request: &Request) -> Result<Answer, Problem> {
        let mut query = Query::of(request)?;
        let after = query.take("after", str::parse::<Start>)?;
        let follow = query.take("follow", flag)?.unwrap_or(true);
        query.finish()?;
        let start = last_event_id(request)?.or(after).unwrap_or(Start::Now);
        Ok(Answer::Events(EventStream::new(self.state.events(), start, follow)))
    }
}

fn last_event_id(request: &Request) -> Result<Option<Start>, Problem> {
    let mut given = request.headers.all(LAST_EVENT_ID);
    let Some(text) = given.next() else { return Ok(None) };
    let refuse = |why: String| {
        Err(Problem::malformed("invalid_event_id", format!("{LAST_EVENT_ID}: {why}"))
            .with("field", LAST_EVENT_ID))
    };
    match text.parse() {
        _ if given.next().is_some() => refuse("given more than once".to_owned()),
        Ok(start) => Ok(Some(start)),
        Err(why) => refuse(why),
    }
}
