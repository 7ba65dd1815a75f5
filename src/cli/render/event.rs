//! Events: a line each, without a header, in columns that grow with what comes.

use crate::api::wire::event::{Event, NodeNews, Subject, TaskNews};
use crate::api::wire::format_time;
use crate::cli::render::table::{Columns, shown};
use crate::cli::render::text::shortened;
use crate::model::id::Attempt;
use crate::model::node::Availability;
use crate::model::task::Reason;

/// How much of a detail or an error there is room for.
const WORDS_WIDTH: usize = 60;

/// What most lines fit in: time, kind, id, name, status, node.
const WIDTHS: [usize; 6] = [24, 4, 26, 8, 9, 8];

/// What stands where a status would, when there is nothing left that could have one.
const REMOVED: &str = "removed";

/// Lines for events, one after another.
#[derive(Debug)]
pub(crate) struct EventLines(Columns);

impl EventLines {
    /// Before the first.
    pub(crate) fn new() -> Self {
        Self(Columns::of(&WIDTHS))
    }

    /// The line for the next event.
    pub(crate) fn line(&mut self, event: &Event) -> String {
        let mut cells = vec![format_time(event.time), event.subject.kind().to_owned()];
        cells.extend(match &event.subject {
            Subject::Task(task) => task_cells(task),
            Subject::Node(node) => node_cells(node),
        });
        let cells = shown(cells);
        self.0.make_room(&cells);
        self.0.line(&cells)
    }
}

fn task_cells(task: &TaskNews) -> [String; 5] {
    let status = if task.removed { REMOVED } else { task.status.as_str() };
    let node = task.node_id.as_ref().map(ToString::to_string).unwrap_or_default();
    [task.task_id.to_string(), task.name.to_string(), status.to_owned(), node, words(task)]
}

fn node_cells(node: &NodeNews) -> [String; 5] {
    let status = if node.removed { REMOVED } else { node.status.as_str() };
    let availability = match node.availability {
        Availability::Active => "",
        Availability::Cordoned | Availability::Draining => node.availability.as_str(),
    };
    [node.node_id.to_string(), String::new(), status.to_owned(), String::new(), availability.to_owned()]
}

/// What else is to be said of a task: `attempt 2`, `stopping`, `exit 7`, and its own words.
fn words(task: &TaskNews) -> String {
    let is_stopping = task.stop_requested_at.is_some() && !task.status.is_terminal();
    // These say no more than status and exit code do.
    let reason = task.reason.filter(|reason| !matches!(reason, Reason::ExitCode | Reason::Stopped));
    let said = task.error.as_ref().or(task.detail.as_ref());
    let parts = [
        (task.attempt > Attempt::FIRST).then(|| format!("attempt {}", task.attempt)),
        is_stopping.then(|| "stopping".to_owned()),
        reason.map(|reason| reason.as_str().to_owned()),
        task.exit_code.map(|code| format!("exit {code}")),
        said.map(|text| shortened(text, WORDS_WIDTH)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(documents: &[&str]) -> String {
        let mut lines = EventLines::new();
        let line = |document: &&str| lines.line(&serde_json::from_str(document).unwrap()) + "\n";
        documents.iter().map(line).collect()
    }

    #[test]
    fn a_line_says_what_people_want_to_know() {
        const AT: &str = r#""id":"7-1","time":"2026-02-02T02:40:00.123Z""#;
        const WEB: &str = r#""type":"task","task_id":"01JD0000000000000000000001","name":"web""#;
        let shown = lines(&[
            &format!(r#"{{{AT},{WEB},"status":"pending","attempt":1}}"#),
            &format!(
                r#"{{{AT},{WEB},"status":"scheduled","attempt":1,"node_id":"worker-1","detail":"pulling"}}"#
            ),
            &format!(
                r#"{{{AT},{WEB},"status":"running","attempt":2,"node_id":"worker-1","stop_requested_at":"2026-02-02T02:40:00.123Z"}}"#
            ),
            &format!(
                r#"{{{AT},{WEB},"status":"failed","attempt":1,"node_id":"worker-1","reason":"exit_code","exit_code":7}}"#
            ),
            &format!(
                r#"{{{AT},{WEB},"status":"failed","attempt":1,"reason":"oom_killed","exit_code":137,"error":"\u001b[31m"}}"#
            ),
            &format!(r#"{{{AT},{WEB},"status":"completed","attempt":1,"exit_code":0,"removed":true}}"#),
            &format!(r#"{{{AT},"type":"node","node_id":"w2","status":"online","availability":"draining"}}"#),
        ]);
        assert_eq!(
            shown,
            "\
2026-02-02T02:40:00.123Z   task   01JD0000000000000000000001   web        pending     -          -
2026-02-02T02:40:00.123Z   task   01JD0000000000000000000001   web        scheduled   worker-1   pulling
2026-02-02T02:40:00.123Z   task   01JD0000000000000000000001   web        running     worker-1   attempt 2, stopping
2026-02-02T02:40:00.123Z   task   01JD0000000000000000000001   web        failed      worker-1   exit 7
2026-02-02T02:40:00.123Z   task   01JD0000000000000000000001   web        failed      -          oom_killed, exit 137, \\u{1b}[31m
2026-02-02T02:40:00.123Z   task   01JD0000000000000000000001   web        removed     -          exit 0
2026-02-02T02:40:00.123Z   node   w2                           -          online      -          draining
"
        );
    }
}
