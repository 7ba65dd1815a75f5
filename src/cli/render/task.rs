//! Tasks: a line of a table each, or one in full.
//!
//! A status says more than its word where there is more to say: how long a task runs, how it failed, what it waits
//! for. Long ones are cut where the terminal is narrow; an id never is, because ids that were made together differ in
//! their last characters.

use std::fmt::Write as _;

use crate::api::wire::format_time;
use crate::api::wire::spec::{PortWire, RestartWire, SpecWire};
use crate::api::wire::task::TaskView;
use crate::cli::render::attempts;
use crate::cli::render::list::Shown;
use crate::cli::render::text::{age, visible};
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::task::{Reason, TaskStatus};
use crate::model::time::WallTime;

impl Shown for TaskView {
    const HEADER: &'static [&'static str] = &["ID", "NAME", "IMAGE", "STATUS", "NODE", "AGE"];
    const ELASTIC: Option<usize> = Some(3);
    const WIDE_HEADER: &'static [&'static str] =
        &["ID", "NAME", "IMAGE", "STATUS", "NODE", "AGE", "ATTEMPT", "COMMAND", "PORTS", "CONTAINER"];

    fn id(&self) -> &str {
        self.task_id.as_str()
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn cells(&self, now: WallTime, is_wide: bool) -> Vec<String> {
        let mut cells = vec![
            self.task_id.to_string(),
            self.name.to_string(),
            self.spec.image.clone(),
            status(self, now),
            self.node_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            age(now.since(self.created_at)),
        ];
        if is_wide {
            let ports: Vec<String> = self.spec.ports.iter().map(port).collect();
            let container = self.container_id.as_ref().map(ToString::to_string).unwrap_or_default();
            cells.extend([
                self.attempt.to_string(),
                command(&self.spec.command),
                ports.join(","),
                container.chars().take(12).collect(),
            ]);
        }
        cells
    }
}

/// A status with what a person wants to know of it: `running 5 m`, `failed (exit 7)`, `pending: no node fits`.
pub(crate) fn status(task: &TaskView, now: WallTime) -> String {
    let word = task.status.as_str();
    let stopping = if task.stop_requested_at.is_some() { ", stopping" } else { "" };
    match task.status {
        TaskStatus::Pending | TaskStatus::Scheduled => match &task.detail {
            Some(detail) => format!("{word}{stopping}: {detail}"),
            None => format!("{word}{stopping}"),
        },
        TaskStatus::Running => {
            let since = task.started_at.map_or_else(String::new, |at| format!(" {}", age(now.since(at))));
            format!("{word}{since}{stopping}")
        }
        TaskStatus::Completed => word.to_owned(),
        TaskStatus::Failed | TaskStatus::Stopped => match end(task) {
            Some(end) => format!("{word} ({end})"),
            None => word.to_owned(),
        },
    }
}

/// The end of a task that didn't complete, in a word or two.
fn end(task: &TaskView) -> Option<String> {
    match (task.reason, task.exit_code) {
        (Some(Reason::ExitCode | Reason::Stopped) | None, Some(code)) => Some(format!("exit {code}")),
        (Some(Reason::Start), Some(code)) => Some(format!("start, exit {code}")),
        (Some(Reason::Stopped) | None, None) => None,
        (Some(reason), _) => Some(reason.as_str().to_owned()),
    }
}

/// A command as one would type it.
fn command(words: &[String]) -> String {
    let quoted = |word: &String| {
        let is_plain =
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&b));
        if is_plain { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words: Vec<String> = words.iter().map(quoted).collect();
    words.join(" ")
}

/// As one would type it: `on-failure:2`.
fn restart(restart: &RestartWire) -> String {
    match restart.max {
        Some(max) => format!("{}:{max}", restart.policy),
        None => restart.policy.clone(),
    }
}

fn port(port: &PortWire) -> String {
    format!("{}:{}/{}", port.host, port.container, port.protocol)
}

/// One task in full: what it is, how it goes, what was asked for, what was tried before. A line for each thing that
/// there is.
pub(crate) fn details(task: &TaskView, now: WallTime) -> String {
    let mut sheet = Sheet(String::new());
    sheet.line("Task", task.task_id.as_str());
    sheet.line("Name", task.name.as_str());
    sheet.line("Status", &status(task, now));
    sheet.line("Attempt", &task.attempt.to_string());
    sheet.maybe("Node", task.node_id.as_ref());
    sheet.maybe("Container", task.container_id.as_ref());
    let moment = |at: WallTime| format!("{} ({} ago)", format_time(at), age(now.since(at)));
    sheet.line("Created", &moment(task.created_at));
    sheet.maybe("Scheduled", task.scheduled_at.map(moment));
    sheet.maybe("Started", task.started_at.map(moment));
    sheet.maybe("Stop asked", task.stop_requested_at.map(moment));
    sheet.maybe("Finished", task.finished_at.map(moment));
    sheet.maybe("Exit code", task.exit_code);
    sheet.maybe("Reason", task.reason.map(Reason::as_str));
    sheet.maybe("Error", task.error.as_ref());
    sheet.maybe("Detail", task.detail.as_ref());
    sheet.maybe("Moving to", task.moving_to.as_ref());
    sheet.maybe("Batch", task.batch_id.as_ref());
    sheet.maybe("Index", task.index);
    sheet.spec(&task.spec);
    if !task.attempts.is_empty() {
        // Writing to a String can't fail.
        let _ = write!(sheet.0, "\n{}", attempts::table(&task.attempts));
    }
    sheet.0
}

/// Lines of a label and a value.
struct Sheet(String);

impl Sheet {
    fn line(&mut self, label: &str, value: &str) {
        let label = format!("{label}:");
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "{label:<12} {}", visible(value));
    }

    fn maybe(&mut self, label: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.line(label, &value.to_string());
        }
    }

    fn spec(&mut self, spec: &SpecWire) {
        self.line("Image", &spec.image);
        self.maybe("Pull", spec.pull.as_ref());
        self.maybe("Command", Some(command(&spec.command)).filter(|command| !command.is_empty()));
        self.maybe("User", spec.user.as_ref());
        self.maybe("Workdir", spec.workdir.as_ref());
        self.maybe("CPU", spec.cpu_millis.map(CpuMillis));
        self.maybe("Memory", spec.memory_bytes.map(MemoryBytes));
        self.maybe("Network", spec.network.as_ref());
        self.maybe("Restart", spec.restart.as_ref().map(restart));
        self.maybe("Node lost", spec.on_node_lost.as_ref().filter(|word| *word != "fail"));
        for mapping in &spec.ports {
            self.line("Port", &port(mapping));
        }
        for mount in &spec.mounts {
            let end = if mount.read_only { " (read only)" } else { "" };
            self.line("Mount", &format!("{} on {}{end}", mount.source, mount.target));
        }
        if !spec.capabilities.is_empty() {
            self.line("Capability", &spec.capabilities.join(", "));
        }
        for (key, value) in &spec.env {
            self.line("Env", &format!("{key}={value}"));
        }
        for (key, value) in &spec.labels {
            self.line("Label", &format!("{key}={value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::task::PastView;
    use crate::cli::render::sample::{at, task};
    use crate::model::id::Attempt;

    #[test]
    fn a_status_says_what_a_person_wants_to_know() {
        let shown = |change: fn(&mut TaskView)| {
            let mut task = task();
            change(&mut task);
            status(&task, at(300))
        };
        assert_eq!(shown(|_| {}), "pending");
        assert_eq!(
            shown(|task| task.detail = Some("no node is registered".to_owned())),
            "pending: no node is registered"
        );
        let backoff = "backoff 16s (exit 137, oom, try 4)";
        let mut waits = task();
        waits.detail = Some(backoff.to_owned());
        assert_eq!(status(&waits, at(300)), format!("pending: {backoff}"));
        assert_eq!(
            shown(|task| {
                (task.status, task.started_at) = (TaskStatus::Running, Some(at(0)));
                task.stop_requested_at = Some(at(299));
            }),
            "running 5 m, stopping"
        );
        assert_eq!(
            shown(|task| (task.status, task.exit_code) = (TaskStatus::Completed, Some(0))),
            "completed"
        );
        let failed = |task: &mut TaskView, reason, code| {
            (task.status, task.reason, task.exit_code) = (TaskStatus::Failed, Some(reason), code);
        };
        let mut ended = task();
        for (reason, code, says) in [
            (Reason::ExitCode, Some(7), "failed (exit 7)"),
            (Reason::OomKilled, Some(137), "failed (oom_killed)"),
            (Reason::Start, Some(127), "failed (start, exit 127)"),
            (Reason::Start, None, "failed (start)"),
            (Reason::NoNode, None, "failed (no_node)"),
        ] {
            failed(&mut ended, reason, code);
            assert_eq!(status(&ended, at(0)), says);
        }
        (ended.status, ended.reason, ended.exit_code) = (TaskStatus::Stopped, Some(Reason::Stopped), None);
        assert_eq!(status(&ended, at(0)), "stopped");
        ended.exit_code = Some(143);
        assert_eq!(status(&ended, at(0)), "stopped (exit 143)");
    }

    #[test]
    fn what_was_tried_before_stands_below() {
        let mut task = task();
        task.spec.restart = Some(RestartWire { policy: "on-failure".to_owned(), max: Some(2) });
        task.attempts = vec![PastView {
            attempt: Attempt(1),
            node_id: "worker-1".parse().unwrap(),
            container_id: None,
            scheduled_at: at(0),
            started_at: None,
            finished_at: at(1),
            exit_code: Some(7),
            reason: Some(Reason::ExitCode),
            error: None,
        }];
        let shown = details(&task, at(120));
        let (sheet, below) = shown.split_once("\n\n").unwrap();
        assert!(sheet.ends_with("Image:       nginx:1\nRestart:     on-failure:2"), "{sheet}");
        assert_eq!(below, attempts::table(&task.attempts));
    }

    #[test]
    fn one_task_in_full() {
        let mut task = task();
        (task.status, task.reason, task.exit_code) = (TaskStatus::Failed, Some(Reason::ExitCode), Some(7));
        task.error = Some("it said \u{1b}[31mno".to_owned());
        task.finished_at = Some(at(60));
        task.spec.command = ["sh", "-c", "exit '7'"].map(str::to_owned).to_vec();
        task.spec.ports = vec![PortWire { host: 8080, container: 80, protocol: "tcp".to_owned() }];
        (task.spec.cpu_millis, task.spec.memory_bytes) = (Some(500), Some(256 << 20));
        task.spec.env.insert("K".to_owned(), "V".to_owned());
        assert_eq!(
            details(&task, at(120)),
            "\
Task:        01JD0000000000000000000001
Name:        web
Status:      failed (exit 7)
Attempt:     1
Created:     2026-02-02T02:40:00.000Z (2 m ago)
Finished:    2026-02-02T02:41:00.000Z (1 m ago)
Exit code:   7
Reason:      exit_code
Error:       it said \\u{1b}[31mno
Image:       nginx:1
Command:     sh -c 'exit '\\''7'\\'''
CPU:         0.5
Memory:      256 MiB
Port:        8080:80/tcp
Env:         K=V
"
        );
    }
}
