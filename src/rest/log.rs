//! What of a log is asked for: the query that master and worker read alike, and that the master passes on.

use std::fmt::Write as _;

use super::query::{Query, flag};
use crate::api::routes;
use crate::http::{Problem, Request};
use crate::model::id::{Attempt, TaskId};

/// What of a log is asked for.
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// Whether to go on to the task's end.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Whether each line begins with its time.
    pub timestamps: bool,
    /// `stdout`, `stderr` or `both`.
    pub stream: String,
    /// Only this attempt's.
    pub attempt: Option<Attempt>,
    /// Whether as ndjson.
    pub as_lines: bool,
}

impl LogQuery {
    /// Reads a request's query and `Accept`.
    ///
    /// # Errors
    /// A problem that names the parameter that is wrong.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        let mut query = Query::of(request)?;
        let asked = Self {
            follow: query.take("follow", flag)?.unwrap_or(false),
            tail: query.take("tail", str::parse)?,
            timestamps: query.take("timestamps", flag)?.unwrap_or(false),
            stream: query.take("stream", stream)?.unwrap_or_else(|| "both".to_owned()),
            attempt: query.take("attempt", attempt)?,
            as_lines: request
                .headers
                .get("accept")
                .is_some_and(|accept| accept.contains("application/x-ndjson")),
        };
        query.finish()?;
        Ok(asked)
    }

    /// The same question about one attempt, put to a worker.
    pub fn path(&self, task: &TaskId, attempt: Attempt, tail: Option<u64>) -> String {
        let mut path = routes::task_logs(task.as_str());
        let (follow, timestamps, stream) = (self.follow, self.timestamps, &self.stream);
        // Writing to a String can't fail.
        let _ = write!(path, "?follow={follow}&timestamps={timestamps}&stream={stream}&attempt={attempt}");
        if let Some(tail) = tail {
            let _ = write!(path, "&tail={tail}");
        }
        path
    }

    /// The media type of the answer.
    pub const fn media_type(&self) -> &'static str {
        if self.as_lines { "application/x-ndjson" } else { "text/plain; charset=utf-8" }
    }
}

fn stream(text: &str) -> Result<String, String> {
    match text {
        "stdout" | "stderr" | "both" => Ok(text.to_owned()),
        other => Err(format!("{other:?} must be stdout, stderr or both")),
    }
}

/// The number of an attempt.
///
/// # Errors
/// It is none.
pub fn attempt(text: &str) -> Result<Attempt, String> {
    let number = text.parse::<u32>().ok().filter(|number| *number > 0);
    number.map(Attempt).ok_or_else(|| format!("{text:?} must be a number from 1"))
}
