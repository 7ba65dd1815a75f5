//! What is to be done about each task of a file, given what the master has of its name.
//!
//! | the newest live task of that name, else the newest | verdict |
//! | --- | --- |
//! | lives, with the settings of the file | as it should be |
//! | lives, with others | differs |
//! | lives, and was told to stop | differs: it will be created once it has ended and the file is applied again |
//! | completed, with the settings of the file, unless those say `restart = "always"` | as it should be: it is done |
//! | ended otherwise, or with other settings, or there is none | to be created |
//!
//! So a file may be applied again and again, by cron or by CI: what runs is left alone, what did its work isn't run
//! again, what failed or was stopped is tried again because somebody asks again, and a job whose image has changed
//! runs with the new one.
//!
//! The key under which the missing ones are created says what is created and what was there instead. Two who apply the
//! same file at the same time, or one who asks again because an answer got lost, have the same key: the master makes
//! the tasks once. Once they are there, what is there instead is another, and so is the key.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::compare::differences;
use super::parse::Wish;
use crate::api::wire::spec::TaskRequest;
use crate::api::wire::task::TaskView;
use crate::model::task::TaskStatus;

/// The newest live task of a name, else the newest, as the master shows it.
pub(crate) type Seen = Map<String, Value>;

/// What is to be done about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is to be created. Why, where there was one before.
    Create(Option<String>),
    /// It is as it should be: how.
    Fine(String),
    /// It isn't, and only its owner can change that: in what, and how.
    Differs(String),
}

/// What is done about a task, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row<'a> {
    name: &'a str,
    /// `create`, `none` or `differs`.
    action: &'static str,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
    /// The task that there is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a str>,
    /// Its line in the file.
    line: usize,
}

/// What is to be done about all tasks of a file.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    wishes: Vec<Wish>,
    verdicts: Vec<Verdict>,
    /// The id of what is there of each name.
    there: Vec<Option<String>>,
}

impl Plan {
    /// `seen`: for each wish what the master has of its name.
    pub(crate) fn new(wishes: Vec<Wish>, seen: &[Option<Seen>]) -> Self {
        let there = seen.iter().map(|seen| seen.as_ref().and_then(|seen| text(seen, "task_id"))).collect();
        let verdicts = wishes.iter().zip(seen).map(|(wish, seen)| judge(&wish.request, seen.as_ref()));
        let verdicts = verdicts.collect();
        Self { wishes, verdicts, there }
    }

    /// The wishes that are to be created, in the order of the file.
    pub(crate) fn missing(&self) -> Vec<&Wish> {
        let creates = self.wishes.iter().zip(&self.verdicts);
        creates.filter(|(_, verdict)| matches!(verdict, Verdict::Create(_))).map(|(wish, _)| wish).collect()
    }

    /// Whether something is otherwise than the file says, and stays so.
    pub(crate) fn differs(&self) -> bool {
        self.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Differs(_)))
    }

    /// Whether another look came to the same: the same tasks are there, and the same are to be created.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let creates = |plan: &Self| {
            let verdicts = plan.verdicts.iter();
            verdicts.map(|verdict| matches!(verdict, Verdict::Create(_))).collect::<Vec<bool>>()
        };
        self.there == other.there && creates(self) == creates(other)
    }

    /// A line for each task; equals that fare alike share one.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut first = 0;
        for last in 0..self.wishes.len() {
            let goes_on = last + 1 < self.wishes.len() && self.is_alike(first, last + 1);
            if !goes_on {
                lines.push(self.line(first, last));
                first = last + 1;
            }
        }
        lines
    }

    /// What is done about each task, in the order of the file. `created`: what was created, in that order.
    pub(crate) fn rows<'a>(&'a self, created: &'a [TaskView]) -> Vec<Row<'a>> {
        let mut created = created.iter().map(|task| task.task_id.as_str());
        let all = self.wishes.iter().zip(&self.verdicts).zip(&self.there);
        let row = |((wish, verdict), there): ((&'a Wish, &'a Verdict), &'a Option<String>)| {
            let (action, because) = match verdict {
                Verdict::Create(why) => ("create", why.as_deref()),
                Verdict::Fine(how) => ("none", Some(how.as_str())),
                Verdict::Differs(how) => ("differs", Some(how.as_str())),
            };
            let task_id = if action == "create" { created.next() } else { there.as_deref() };
            Row { name: &wish.request.name, action, because, task_id, line: wish.line }
        };
        all.map(row).collect()
    }

    fn is_alike(&self, one: usize, other: usize) -> bool {
        let is_of_one_entry = self.wishes[one].line == self.wishes[other].line;
        let is_same = match (&self.verdicts[one], &self.verdicts[other]) {
            (Verdict::Create(one), Verdict::Create(other)) => one == other,
            (Verdict::Fine(_), Verdict::Fine(_)) => true,
            (Verdict::Differs(one), Verdict::Differs(other)) => one == other,
            (Verdict::Create(_) | Verdict::Fine(_) | Verdict::Differs(_), _) => false,
        };
        is_of_one_entry && is_same
    }

    fn line(&self, first: usize, last: usize) -> String {
        let name = &self.wishes[first].request.name;
        let names = match last - first {
            0 => name.clone(),
            more => format!("{name} … {} ({} tasks)", self.wishes[last].request.name, more + 1),
        };
        match &self.verdicts[first] {
            Verdict::Create(None) => format!("+ create {names}"),
            Verdict::Create(Some(why)) => format!("+ create {names} ({why})"),
            Verdict::Fine(how) if first == last => format!("= {names} is as it should be ({how})"),
            Verdict::Fine(_) => format!("= {names} are as they should be"),
            Verdict::Differs(how) => format!("! {names} {how}"),
        }
    }

    /// The key under which the missing ones are created: `body` is the request. `generation`: see
    /// `commands/apply.rs`.
    pub(crate) fn key(&self, body: &[u8], generation: u32) -> String {
        let mut hash = Sha256::new();
        hash.update(body);
        for ((wish, verdict), there) in self.wishes.iter().zip(&self.verdicts).zip(&self.there) {
            if matches!(verdict, Verdict::Create(_)) {
                let line = format!("\n{} {}", wish.request.name, there.as_deref().unwrap_or("-"));
                hash.update(line.as_bytes());
            }
        }
        let hex = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        format!("apply-{hex}-{generation}")
    }
}

/// What is to be done about one task.
fn judge(wanted: &TaskRequest, seen: Option<&Seen>) -> Verdict {
    let Some(seen) = seen else { return Verdict::Create(None) };
    let status = text(seen, "status").and_then(|word| TaskStatus::from_word(&word));
    let differences = differences(wanted, seen);
    match status {
        Some(TaskStatus::Completed) if differences.is_empty() && !is_to_run_always(wanted) => {
            Verdict::Fine("completed".to_owned())
        }
        Some(TaskStatus::Completed) if differences.is_empty() => ended(seen, "the last one completed"),
        Some(TaskStatus::Completed) => {
            let how = differences.join("; ");
            Verdict::Create(Some(format!("the last one completed with other settings: {how}")))
        }
        Some(TaskStatus::Failed) => ended(seen, "the last one failed"),
        Some(TaskStatus::Stopped) => ended(seen, "the last one was stopped"),
        Some(TaskStatus::Pending | TaskStatus::Scheduled | TaskStatus::Running) | None => {
            let (name, status) = (&wanted.name, text(seen, "status").unwrap_or_default());
            if seen.contains_key("stop_requested_at") {
                return Verdict::Differs("is being stopped: apply again once it has ended".to_owned());
            }
            if differences.is_empty() {
                let node = text(seen, "node_id").map_or_else(String::new, |node| format!(" on {node}"));
                return Verdict::Fine(format!("{status}{node}"));
            }
            let how = differences.join("; ");
            Verdict::Differs(format!("differs: {how}; podling stop {name}, then apply again"))
        }
    }
}

fn ended(seen: &Seen, how: &str) -> Verdict {
    let code = seen.get("exit_code").map_or_else(String::new, |code| format!(" with exit code {code}"));
    Verdict::Create(Some(format!("{how}{code}")))
}

fn is_to_run_always(wanted: &TaskRequest) -> bool {
    wanted.restart.as_ref().is_some_and(|restart| restart.policy == "always")
}

fn text(seen: &Seen, field: &str) -> Option<String> {
    seen.get(field).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::apply::parse::parse;

    /// A plan for a file whose image is nginx:1, with more lines in its one entry.
    fn plan(lines: &str, seen: &[Value]) -> Plan {
        let text = format!("[[task]]\nname = \"web\"\nimage = \"nginx:1\"\n{lines}\n");
        let seen: Vec<Option<Seen>> = seen.iter().map(|value| value.as_object().cloned()).collect();
        Plan::new(parse(&text).unwrap(), &seen)
    }

    fn seen(status: &str, more: Value) -> Value {
        let mut task = json!({"task_id": "01JD0000000000000000000001", "image": "nginx:1", "status": status});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        task
    }

    #[test]
    fn each_state_has_its_verdict() {
        let other = json!({"image": "nginx:0"});
        let running = json!({"node_id": "worker-1"});
        let stopping = json!({"stop_requested_at": "2026-01-31T12:00:00.000Z"});
        let code = json!({"exit_code": 7});
        for (lines, seen, says, creates, differs) in [
            ("", Value::Null, "+ create web", true, false),
            ("", seen("pending", json!({})), "= web is as it should be (pending)", false, false),
            ("", seen("running", running), "= web is as it should be (running on worker-1)", false, false),
            (
                "",
                seen("running", other.clone()),
                "! web differs: image nginx:0 → nginx:1; podling stop web, then apply again",
                false,
                true,
            ),
            (
                "",
                seen("running", stopping),
                "! web is being stopped: apply again once it has ended",
                false,
                true,
            ),
            ("", seen("completed", json!({})), "= web is as it should be (completed)", false, false),
            (
                "",
                seen("completed", other),
                "+ create web (the last one completed with other settings: image nginx:0 → nginx:1)",
                true,
                false,
            ),
            (
                "restart = \"always\"",
                seen("completed", json!({"restart": {"policy": "always"}})),
                "+ create web (the last one completed)",
                true,
                false,
            ),
            ("", seen("failed", code), "+ create web (the last one failed with exit code 7)", true, false),
            ("", seen("stopped", json!({})), "+ create web (the last one was stopped)", true, false),
        ] {
            let plan = plan(lines, std::slice::from_ref(&seen));
            assert_eq!(plan.lines(), [says], "{seen}");
            assert_eq!((!plan.missing().is_empty(), plan.differs()), (creates, differs), "{seen}");
        }
    }

    #[test]
    fn equals_that_fare_alike_share_a_line() {
        let index = |index: u32| json!({"env": {"PODLING_INDEX": index.to_string()}, "node_id": "worker-1"});
        let all =
            [Value::Null, Value::Null, seen("running", index(2)), seen("completed", index(3)), Value::Null];
        let plan = plan("count = 5", &all);
        assert_eq!(
            plan.lines(),
            [
                "+ create web-0 … web-1 (2 tasks)",
                "= web-2 … web-3 (2 tasks) are as they should be",
                "+ create web-4"
            ]
        );
        let names: Vec<&str> = plan.missing().iter().map(|wish| wish.request.name.as_str()).collect();
        assert_eq!(names, ["web-0", "web-1", "web-4"]);
    }

    #[test]
    fn two_looks_agree_where_they_saw_the_same_tasks() {
        let look = |first: Value, second: Value| plan("count = 2", &[first, second]);
        let index =
            |status: &str, index: u32| seen(status, json!({"env": {"PODLING_INDEX": index.to_string()}}));
        let half = look(Value::Null, index("running", 1));
        assert!(half.is_as(&look(Value::Null, index("completed", 1))), "both are as they should be");
        assert!(!half.is_as(&look(Value::Null, index("failed", 1))), "that one is to be created now");
        assert!(!half.is_as(&look(index("running", 0), index("running", 1))));
    }

    #[test]
    fn the_key_says_what_is_created_and_what_was_there_instead() {
        let none = plan("", &[Value::Null]);
        let failed = plan("", &[seen("failed", json!({}))]);
        let key = |plan: &Plan, body: &str| plan.key(body.as_bytes(), 0);
        assert_eq!(key(&none, "a"), key(&plan("", &[Value::Null]), "a"), "who asks again");
        assert_ne!(key(&none, "a"), key(&none, "b"));
        assert_ne!(key(&none, "a"), key(&failed, "a"), "a later one");
        assert_ne!(none.key(b"a", 0), none.key(b"a", 1));
        let key = key(&none, "a");
        assert!(key.len() <= 255 && key.bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
    }
}
