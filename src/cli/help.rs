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
  --token-file FILE  the token is its first line [PODLING_TOKEN_FILE, else the token that a
                     master of this machine keeps in ~/.local/share/podling/master/admin.token]
  --ca FILE          the authority that an https:// master is known by [else ca.pem beside that
                     token, where the master is this machine's, else what this system trusts]
  --insecure         plain http to a host beyond this machine
  -h, --help         this text
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
    ("events", "show what happens", EVENTS),
    ("top", "show what nodes and tasks use", TOP),
    ("apply", "create what a file of tasks says and isn't there", APPLY),
    ("audit", "show who changed what", AUDIT),
    ("inspect", "show all that is known of a task or a node", INSPECT),
    ("token", "make, list and end tokens", TOKEN),
    ("completion", "print a completion script for a shell", COMPLETION),
    ("version", "print the version", VERSION),
    ("help", "explain a command", HELP),
];

const RUN: &str = "\
Usage: podling run NAME --image IMAGE [FLAGS] [-- COMMAND...]

Creates a task and prints its id. Everything after -- replaces the image's command.

  --image IMAGE                  what to run
  -e, --env K=V                  environment variable; K alone passes on this shell's. Again for more
  -l, --label K=V                label. Again for more
  -p, --publish HOST:CONTAINER[/udp]    publish a port on the node. Again for more
  --cpu N                        CPU limit: 500m, 1.5
  --memory SIZE                  memory limit: 256Mi, 1G
  --network bridge|none|node|host    [bridge]; host only where the policy allows it
  -v, --mount SOURCE:TARGET[:ro]     a folder or file of the node, if the policy allows it. Again for more
  --capability NAME              beyond what containers may anyway, if the policy allows it. Again for more
  --pull missing|always|never    [missing]
  -u, --user USER                user of the command: 1000, nobody:nogroup
  -w, --workdir DIR              folder that the command starts in
  --constraint K=V               only on nodes with this label. Again for more
  --restart never|on-failure[:N]|always    [never]
  --on-node-lost fail|reschedule [fail]
  --pending-timeout D            fail if no node takes it within: 30s, 5m, 0 for never
  --count N                      N tasks NAME-0, NAME-1 ...; each finds its number in PODLING_INDEX
  --secret NAME=FILE             not supported yet
  --detach                       don't wait (default)
  --wait                         wait for the end and exit with the task's exit code; of several 0 if
                                 all completed, else 1
  --follow                       show its log as it comes, then exit with the task's exit code. Ctrl-C
                                 stops the task; a second one leaves it to itself (exit 130)
  -q, --quiet                    print the id alone; with --count one a line
  -o, --output FORM              instead print the task as: table, wide, json, name; with --wait at its end

With --count all tasks are created, or none. A line `Batch created: ID` is printed first, then for each
`Task created: ID NAME-N`; with --wait at the end also a line for each as podling wait prints it.

Example:
  podling run web --image nginx:latest -p 8080:80 --memory 256Mi
";

const PS: &str = "\
Usage: podling ps [FLAGS]

Lists the tasks that are pending, scheduled or running, oldest first.

  --task TASK             one task in full, by id, name or the beginning of its id
  --all                   also those that have ended
  --status STATUS         only those in this status: pending, scheduled, running, completed, failed, stopped
  --node NODE             only those of this node
  -l, --label K=V         only those with this label. Again for more
  -q, --quiet             ids only
  -w, --watch             go on: on a terminal draw the list anew whenever something happens, elsewhere print
                          each row that has changed. With --task, that task's row
  -o, --output FORM       table, wide, json or name [table]

Example:
  podling ps --all --status failed
";

const NODES: &str = "\
Usage: podling nodes [NODE] [FLAGS]

Lists the nodes, or one of them, with what their tasks take up.

  -w, --watch             go on: on a terminal draw the list anew whenever something happens, elsewhere print
                          each row that has changed
  -o, --output FORM       table, wide, json or name [table]

Example:
  podling nodes -o wide
";

const NODE: &str = "\
Usage: podling node cordon|uncordon|drain|rm NODE [FLAGS]

cordon     the node gets nothing new
uncordon   it does again
drain      nothing new, and what runs there leaves: tasks with --on-node-lost reschedule move once a
           place on another node is kept for them and their image is there; all others are waited for.
           Nothing is killed. Each move is printed. Ends when the node is empty
rm         forgets a node that is offline and has no tasks

  --deadline D            give up draining after: 30s, 5m. What is left is named, the exit code is 1, and
                          the node stays closed
  --dry-run               say what draining would do, and do nothing

Example:
  podling node drain worker-1 --deadline 10m
";

const WHY: &str = "\
Usage: podling why TASK [FLAGS]

Says why a task is where it is: for one that waits, what each node lacks for it, and what would let it run.

  -o, --output FORM       table or json [table]

Example:
  podling why web
";

const LOGS: &str = "\
Usage: podling logs TASK [FLAGS]

Shows what a task wrote: its stdout on stdout, its stderr on stderr, byte for byte.

  -f, --follow    all attempts in order, to the task's end; it may come before the task starts
  --tail N        only the last N lines, of the last attempt
  --timestamps    each line's time before it
  --attempt N     only this attempt's
  --direct        straight from the worker, not by way of the master

Without -f it shows the last attempt that wrote something. With it, a line on stderr says where another
attempt begins. Exits with 1 where a part of the log can't be had, which stderr names.

Example:
  podling logs web -f --tail 100
";

const STOP: &str = "\
Usage: podling stop TASK... [-t D]

Stops tasks: TERM, after the grace KILL. Waits until they have ended.

  -t, --time D    the grace: 10, 500ms, 1m [what the task was created with, else 10s]

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
task's exit code; for several with 0 if all completed, else 1; with 124 if the timeout ran out. For several,
how many have ended is shown on stderr meanwhile.

  --timeout D             wait no longer than: 30s, 5m
  -o, --output FORM       instead list them as: table, wide, json or name

Example:
  podling wait build --timeout 10m && podling logs build
";

const EVENTS: &str = "\
Usage: podling events [FLAGS]

Prints what happened to tasks and nodes of late, oldest first, a line each: when, what, which, how it is
since. The master keeps the last 10,000 events of its present run.

  -f, --follow            what happens from now on, until stopped; a line that breaks is taken up where
                          it broke
  -o, --output FORM       table or json, the API's own objects [table]

Events that are lost are told of on stderr.

Example:
  podling events -f -o json
";

const TOP: &str = "\
Usage: podling top [FLAGS]

Shows what each node's tasks use of its places, processor and memory, and the tasks that use most. In a bar
# is used, - is reserved by tasks and not used, . is left. On a terminal it is drawn anew every two seconds,
until Ctrl-C; elsewhere it is printed once.

  --once                  once, on a terminal too
  -o, --output FORM       table or json [table]

Example:
  podling top --once
";

const APPLY: &str = "\
Usage: podling apply FILE [--dry-run] [-o FORM]

Creates the tasks of a TOML file that aren't there, all of them or none, and says what it does for each:

  + create web            it isn't there, or its last one failed or was stopped
  = web                   it is as it should be: it lives with these settings; or, unless restart is
                          \"always\", it completed with these settings and is still kept
  ! web                   it lives with other settings, or is being stopped

Nothing is ever stopped, replaced or removed: stop what differs and apply again. To have a job run again that
completed, remove it and apply again. Applying the same file twice, at the same time too, makes nothing twice.
Exits with 0 if all is as it should be, 1 if something differs or was refused, 2 if the file is wrong.

  --dry-run               say what it would do, and do nothing
  -o, --output FORM       table, wide, json or name: of what is created [table]

The file holds a table for each task. name and image must be there; all else is as with podling run:

  [[task]]
  name = \"web\"
  image = \"nginx:1\"
  command = [\"nginx\", \"-g\", \"daemon off;\"]
  env = { MODE = \"fast\" }
  labels = { team = \"a\" }
  ports = [\"8080:80\", \"53:53/udp\"]
  cpu = \"500m\"
  memory = \"256Mi\"
  network = \"bridge\"
  mounts = [\"/srv/data:/data:ro\"]
  capabilities = [\"NET_ADMIN\"]
  pull = \"missing\"
  user = \"nobody\"
  workdir = \"/srv\"
  constraints = { disk = \"ssd\" }
  restart = \"on-failure:3\"
  on_node_lost = \"reschedule\"
  pending_timeout = \"5m\"
  stop_grace = \"10s\"
  count = 3               three tasks: web-0, web-1, web-2

Example:
  podling apply cluster.toml --dry-run
";

const AUDIT: &str = "\
Usage: podling audit [--verify]

Prints who changed what, oldest first: a line of JSON for each deed, with its number, time, the id of the
token that was shown, where it came from, what was done to what, and whether it was allowed. Refused attempts
to change something are lines too. Each line holds the hash of the one before, so that a line that was taken
out or changed shows. The last 200,000 are kept. Needs a token with the scope admin.

  --verify                hold each line against the one before it, and say on stderr what came of that;
                          exit 1 where one doesn't follow

Example:
  podling audit --verify | tail -n 20
";

const INSPECT: &str = "\
Usage: podling inspect TASK|NODE

Prints all that is known of a task, or of a node if no task is called so, as JSON.

  -o, --output FORM       instead list it as: table, wide, name [json]

Example:
  podling inspect web
";

const TOKEN: &str = "\
Usage: podling token create [FLAGS]
       podling token list [-o FORM]
       podling token rm ID...

create     prints a token, which is shown this once: keep it in a file of your own (0600), for --token-file
list       the tokens that are good for something, without their text
rm         ends tokens, at once

  --scope SCOPE           what it may do; each includes those before it [read]
                            read     look at everything but the values of environments
                            submit   create tasks; stop, remove and see in full those that it created
                            operate  the same with everybody's; cordon and drain nodes
                            admin    add and remove nodes, make and end tokens
  --join                  instead print a word with which one worker joins, once: podling-worker --token-file
  --expires D             good for so long: 30s, 12h, 90d [for ever; a join word 1h]
  --label TEXT            what it is for
  -o, --output FORM       table, wide, json or name [table]

Example:
  podling token create --scope submit --expires 90d --label CI > ci.token
";

const COMPLETION: &str = "\
Usage: podling completion bash|zsh|fish

Prints a script that has the shell complete commands, flags, and the names of tasks and nodes, which it asks
the master for. Without a master, names are not completed.

  bash:  source <(podling completion bash)        in ~/.bashrc
  zsh:   source <(podling completion zsh)         in ~/.zshrc, after compinit
  fish:  podling completion fish | source         in ~/.config/fish/config.fish

Example:
  podling completion bash > /etc/bash_completion.d/podling
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

/// The text for a command, and what goes below every text: where a shell's completion finds the flags.
pub(crate) fn texts(command: &str) -> Option<[&'static str; 2]> {
    let (_, _, text) = COMMANDS.iter().find(|(name, _, _)| *name == command)?;
    Some([text, SHARED])
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
