//! What `podling help` prints: one text for each command, each with an example.
//!
//! The list of commands here is also the one that a mistyped command is compared with. A text is written by hand,
//! in the words of the contract; a test holds that each has a usage line, an example, and no line that a terminal
//! of 110 columns would break. Commands to come have no text.

use std::fmt::Write as _;

/// What goes below every text.
const SHARED: &str = "
Every command:
  --master URL       the master [PODLING_MASTER, else http://127.0.0.1:8080]
  --token-file F     the token is its first line [PODLING_TOKEN_FILE, else the token that a
                     master of this machine keeps in ~/.local/share/podling/master/admin.token]
  --ca F             the cluster's CA; accepted, not used yet
  --insecure         plain http to a host beyond this machine
  --help             this text
";

const OVERVIEW: &str = "\
podling: run containers on a cluster

Usage: podling COMMAND [FLAGS]

";

const OUTLOOK: &str = "
podling help COMMAND tells more. Data goes to stdout, messages to stderr. Exit codes: 0 done, 1 the cluster
said no or can't be reached, 2 the command line is wrong, 124 a --timeout ran out; where one task is waited
for, its own exit code, and 125 where there is none.

Example:
  podling run hello --image podling/busybox:latest --follow -- echo 'hello, cluster'
";

/// Each command, what it is for, and its text.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("run", "run a task", RUN),
    ("ps", "list tasks", PS),
    ("nodes", "list nodes", NODES),
    ("node", "open, close, empty or forget a node", NODE),
    ("logs", "show a task's log", LOGS),
    ("why", "say why a task is where it is", WHY),
    ("stop", "stop tasks", STOP),
    ("rm", "forget tasks that have ended", RM),
    ("wait", "wait for tasks to end", WAIT),
    ("inspect", "show all that is known of a task or a node", INSPECT),
    ("version", "print the version", VERSION),
    ("help", "explain a command", HELP),
];

const RUN: &str = "\
Usage: podling run NAME --image IMAGE [FLAGS] [-- COMMAND...]

Creates a task and prints its id. Everything after -- replaces the image's command.

  --image IMAGE                  what to run
  -e K=V                         environment variable; K alone passes on this shell's. Again for more
  -l K=V                         label. Again for more
  -p HOST:CONTAINER[/udp]        publish a port on the node. Again for more
  --cpu N                        CPU limit: 500m, 1.5
  --memory SIZE                  memory limit: 256Mi, 1G
  --network bridge|none|node     [bridge]
  --pull missing|always|never    [missing]
  -u USER                        user of the command: 1000, nobody:nogroup
  -w DIR                         folder that the command starts in
  --constraint K=V               only on nodes with this label. Again for more
  --restart never|on-failure[:N]|always    [never]
  --on-node-lost fail|reschedule [fail]
  --pending-timeout D            fail if no node takes it within: 30s, 5m, 0 for never
  --count N                      N tasks NAME-0, NAME-1 ...; each finds its number in PODLING_INDEX
  --detach                       don't wait (default)
  --wait                         wait for the end and exit with the task's exit code
  --follow                       show its log as it comes, then exit with the task's exit code

Example:
  podling run web --image nginx:latest -p 8080:80 --memory 256Mi
";

const PS: &str = "\
Usage: podling ps [FLAGS]

Lists the tasks that are pending, scheduled or running, oldest first.

  --task ID       one task in full, by id, name or the beginning of its id
  --all           also those that have ended
  --status S      only those in this status: pending, scheduled, running, completed, failed, stopped
  --node N        only those of this node
  -l K=V          only those with this label. Again for more
  -q              ids only
  -o FORM         table, wide, json or name [table]

Example:
  podling ps --all --status failed
";

const NODES: &str = "\
Usage: podling nodes [NAME] [FLAGS]

Lists the nodes, or one of them, with what their tasks take up.

  -o FORM         table, wide, json or name [table]

Example:
  podling nodes -o wide
";

const NODE: &str = "\
Usage: podling node cordon|uncordon|drain|rm NAME [FLAGS]

cordon     the node gets nothing new
uncordon   it does again
drain      nothing new, and what runs there leaves: tasks with --on-node-lost reschedule move once a
           place on another node is kept for them and their image is there; all others are waited for.
           Nothing is killed. Each move is printed. Ends when the node is empty
rm         forgets a node that is offline and has no tasks

  --deadline D    give up draining after: 30s, 5m. What is left is named, the exit code is 1, and the
                  node stays closed
  --dry-run       say what draining would do, and do nothing

Example:
  podling node drain worker-1 --deadline 10m
";

const WHY: &str = "\
Usage: podling why TASK [-o FORM]

Says why a task is where it is: for one that waits, what each node lacks for it, and what would let it run.

  -o FORM         table or json [table]

Example:
  podling why web
";

const LOGS: &str = "\
Usage: podling logs TASK [FLAGS]

Shows what a task wrote: its stdout on stdout, its stderr on stderr, byte for byte.

  -f              go on to the task's end
  --tail N        only the last N lines
  --timestamps    each line's time before it
  --attempt N     only this attempt's
  --direct        straight from the worker, not by way of the master

Exits with 1 where a part of the log can't be had.

Example:
  podling logs web -f --tail 100
";

const STOP: &str = "\
Usage: podling stop TASK... [-t D]

Stops tasks: TERM, after the grace KILL. Waits until they have ended.

  -t D            the grace: 10, 500ms, 1m [what the task was created with, else 10s]

Example:
  podling stop web -t 30s
";

const RM: &str = "\
Usage: podling rm TASK...

Forgets tasks that have ended, and their logs.

Example:
  podling rm $(podling ps --all --status completed -q)
";

const WAIT: &str = "\
Usage: podling wait TASK... [--timeout D]

Waits until tasks have ended and prints a line for each: id, name, status, exit code. Exits with the one
task's exit code; for several with 0 if all completed, else 1; with 124 if the timeout ran out.

  --timeout D     wait no longer than: 30s, 5m

Example:
  podling wait build --timeout 10m && podling logs build
";

const INSPECT: &str = "\
Usage: podling inspect TASK|NODE

Prints all that is known of a task, or of a node if no task is called so, as JSON.

Example:
  podling inspect web
";

const VERSION: &str = "\
Usage: podling version

Prints the version of this program.

Example:
  podling version
";

const HELP: &str = "\
Usage: podling help [COMMAND]

Explains a command, or lists them.

Example:
  podling help run
";

/// The text for a command. None: there is no such command.
pub(crate) fn of(command: &str) -> Option<String> {
    let (_, _, text) = COMMANDS.iter().find(|(name, _, _)| *name == command)?;
    Some(format!("{text}{SHARED}"))
}

/// The list of commands.
pub(crate) fn overview() -> String {
    let lines = COMMANDS.iter().fold(OVERVIEW.to_owned(), |mut lines, (name, purpose, _)| {
        // Writing to a String can't fail.
        let _ = writeln!(lines, "  {name:<10} {purpose}");
        lines
    });
    format!("{lines}{SHARED}{OUTLOOK}")
}

/// The commands that there are.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, _, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_usage_and_an_example() {
        for name in names() {
            let text = of(name).unwrap();
            assert!(text.starts_with(&format!("Usage: podling {name}")), "{name}");
            assert!(text.contains("\nExample:\n  podling "), "{name}");
            assert!(text.lines().all(|line| line.len() <= 110), "{name}");
        }
        assert!(of("nonsense").is_none());
        assert!(overview().contains("\n  inspect    show all"));
    }
}
