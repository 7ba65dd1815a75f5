//! `podling run NAME --image IMAGE`: creates a task, or a batch of equals, and may wait for the end.
//!
//! The request is sent under a key of its own: asking again after a broken connection makes nothing twice. With
//! `--follow`, stdout is the container's: what Podling has to say goes to stderr. Once the task is created, the exit
//! code is the task's: a log that can't be had, or a master that is gone for good (125), doesn't pass for the task's
//! own failure.

mod request;

use super::{Command, Session, logs, wait};
use crate::api::wire::spec::TaskRequest;
use crate::api::wire::task::{BatchCreated, BatchItem, TaskView};
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::fields::numbered;
use crate::cli::interrupt::Interrupts;
use crate::cli::render::list::Form;
use crate::cli::render::{task::status, text::visible};
use crate::cli::waiting::many::{self, Fate, Roll};
use crate::cli::{exit, waiting};
use crate::model::id::{TaskId, TaskName};
use crate::model::task::TaskStatus;
use crate::runtime::clock;
use crate::runtime::settings::{Environment, SettingsError};

/// What to do once the task is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing more.
    Detach,
    /// Wait for the end.
    Wait,
    /// Show the log, and wait for the end.
    Follow,
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    request: TaskRequest,
    then: Then,
    /// None: lines for people.
    form: Option<Form>,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words, environment: Environment) -> Result<Self, SettingsError> {
        let mut request = request::flags(words, environment)?;
        let form = words.value(Flag::Both("-o", "--output"), Form::from_word)?;
        let quiet = words.switch(Flag::Both("-q", "--quiet"));
        let then = then(words)?;
        request.command = words.after()?.filter(|command| !command.is_empty());
        request.name = words.one("NAME")?;
        request.name.parse::<TaskName>().map_err(|error| SettingsError::of("NAME", error))?;
        if request.image.is_empty() {
            return Err(SettingsError::of("--image", "is missing"));
        }
        request::check(&request)?;
        if then == Then::Follow && request.count.is_some() {
            return Err(SettingsError::of("--follow", "not together with --count"));
        }
        if quiet && form.is_some() {
            return Err(SettingsError::of("-q", "not together with -o"));
        }
        if then == Then::Follow && (quiet || form.is_some()) {
            return Err(SettingsError::of(
                "--follow",
                "not together with -o or -q: stdout is the container's",
            ));
        }
        Ok(Self { request, then, form: if quiet { Some(Form::Id) } else { form } })
    }
}

fn then(words: &mut Words) -> Result<Then, SettingsError> {
    let given = [("--detach", Then::Detach), ("--wait", Then::Wait), ("--follow", Then::Follow)]
        .map(|(flag, then)| (words.switch(Flag::Long(flag)), then));
    let mut given = given.into_iter().filter(|(is_given, _)| *is_given);
    match (given.next(), given.next()) {
        (None, _) => Ok(Then::Detach),
        (Some((_, then)), None) => Ok(then),
        (Some(_), Some(_)) => Err(SettingsError::new("only one of --detach, --wait and --follow")),
    }
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        if self.request.count.is_some() {
            return self.run_batch(session);
        }
        let task: TaskView = session.remote.create(&self.request)?;
        self.tell(&format!("Task created: {}", task.task_id), session)?;
        self.tell(&status_line(&task), session)?;
        self.show(std::slice::from_ref(&task.task_id), Then::Detach, session)?;
        session.console.out.flush().map_err(CliError::Output)?;
        match self.then {
            Then::Detach => return Ok(exit::DONE),
            Then::Wait => {}
            Then::Follow => return self.follow(task, session),
        }
        self.wait(task, session)
    }
}

impl Asked {
    /// One line for people: of data, or beside stdout where that is the container's. None where a form was asked for.
    fn tell(&self, line: &str, session: &mut Session<'_, '_>) -> Result<(), CliError> {
        match (self.then, self.form) {
            (Then::Detach | Then::Wait, None) => session.console.line(line),
            (Then::Follow, _) => {
                session.console.note(line);
                Ok(())
            }
            (Then::Detach | Then::Wait, Some(_)) => Ok(()),
        }
    }

    /// The tasks in the form that was asked for, once it is time: ids as soon as there are some, all else when there
    /// is nothing left to wait for.
    fn show(&self, tasks: &[TaskId], now: Then, session: &mut Session<'_, '_>) -> Result<(), CliError> {
        match self.form {
            None => Ok(()),
            Some(Form::Id) if now == Then::Detach => {
                tasks.iter().try_for_each(|task| session.console.line(task.as_str()))
            }
            Some(form) if now == self.then && form != Form::Id => wait::list(tasks, form, session),
            Some(_) => Ok(()),
        }
    }

    /// Shows the log, to the task's end. Ctrl-C stops the task.
    fn follow(&self, task: TaskView, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let interrupts = Interrupts::stop(&session.remote, &task.task_id, &task.name);
        if let Err(error) = &interrupts {
            session.console.say(format_args!("Ctrl-C will not stop {}: {error}", task.name));
        }
        follow(&task, session)?;
        self.wait(task, session)
    }

    fn wait(&self, task: TaskView, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let Some(task) = waiting::until_known(&session.remote, task, None, session.console)? else {
            return Ok(exit::NO_CODE);
        };
        self.tell(&status_line(&task), session)?;
        self.show(std::slice::from_ref(&task.task_id), Then::Wait, session)?;
        complain(task.name.as_str(), task.error.as_deref().filter(|_| !has_completed(&task)), session);
        Ok(exit::of_task(&task))
    }

    /// With `--count`: 0 if all completed, and a line for each as `podling wait` writes it.
    fn run_batch(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let batch: BatchCreated = session.remote.create(&self.request)?;
        self.tell(&format!("Batch created: {}", batch.batch_id), session)?;
        for item in &batch.items {
            let name = numbered(&self.request.name, item.index);
            self.tell(&format!("Task created: {} {name}", item.task_id), session)?;
        }
        let ids: Vec<TaskId> = batch.items.iter().map(|item| item.task_id.clone()).collect();
        self.show(&ids, Then::Detach, session)?;
        session.console.out.flush().map_err(CliError::Output)?;
        if self.then == Then::Detach {
            return Ok(exit::DONE);
        }
        let named = |item: BatchItem| (item.task_id, numbered(&self.request.name, item.index));
        let mut roll = Roll::of_batch(batch.batch_id, batch.items.into_iter().map(named));
        many::until_all(&session.remote, &mut roll, None, session.console);
        match self.form {
            None => wait::print(&ids, &roll, None, session)?,
            Some(_) => self.show(&ids, Then::Wait, session)?,
        }
        complain_of_many(&ids, &roll, session);
        Ok(if roll.is_over() && roll.failures() == 0 { exit::DONE } else { exit::FAILED })
    }
}

/// Shows the log. What goes wrong with it is said, and is no reason not to wait for the task.
fn follow(task: &TaskView, session: &mut Session<'_, '_>) -> Result<(), CliError> {
    match logs::follow(task.task_id.as_str(), session) {
        Ok(()) => Ok(()),
        Err(CliError::Output(error)) => Err(CliError::Output(error)),
        Err(error @ (CliError::Usage(_) | CliError::Call { .. } | CliError::Failed(_))) => {
            session.console.say(error);
            Ok(())
        }
    }
}

fn status_line(task: &TaskView) -> String {
    format!("Status: {}", visible(&status(task, clock::wall())))
}

fn has_completed(task: &TaskView) -> bool {
    task.status == TaskStatus::Completed
}

/// Says what the master has to say about an end that isn't completion.
fn complain(name: &str, error: Option<&str>, session: &mut Session<'_, '_>) {
    if let Some(error) = error {
        session.console.say(format_args!("{name}: {error}"));
    }
}

/// Does that for the first few of many, and counts the others.
fn complain_of_many(tasks: &[TaskId], roll: &Roll, session: &mut Session<'_, '_>) {
    const MOST: usize = 5;
    let fates = tasks.iter().filter_map(|task| roll.fate(task));
    let failed: Vec<&Fate> = fates.filter(|fate| fate.status != Some(TaskStatus::Completed)).collect();
    for fate in failed.iter().take(MOST) {
        complain(&fate.name, fate.error.as_deref(), session);
    }
    if failed.len() > MOST {
        session.console.say(format_args!("{}; podling ps --all --status failed lists them", roll.summary()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        let mut words = Words::new(line.split_whitespace().map(Into::into).collect());
        let environment: Environment = |name| (name == "SHELL").then(|| "/bin/sh".to_owned());
        Asked::read(&mut words, environment).map_err(|error| error.to_string())
    }

    fn body(line: &str) -> String {
        serde_json::to_string(&asked(line).unwrap().request).unwrap()
    }

    #[test]
    fn name_and_image_are_enough() {
        let asked = asked("web --image nginx").unwrap();
        assert_eq!(asked.then, Then::Detach);
        assert_eq!(serde_json::to_string(&asked.request).unwrap(), r#"{"name":"web","image":"nginx"}"#);
    }

    #[test]
    fn every_flag_has_its_field() {
        let line = "web --image nginx -e K=V -e E= -e SHELL -e NOWHERE -l team=a -p 8080:80 -p 53:53/udp --cpu 500m \
                    --memory 256Mi --network bridge -v /srv/x:/x --mount=/y:/y:ro --capability NET_ADMIN --pull never -u 1000 -w /srv --constraint disk=ssd \
                    --restart on-failure:2 --on-node-lost reschedule --pending-timeout 1.5s --count 3";
        assert_eq!(
            body(line),
            r#"{"name":"web","image":"nginx","env":{"E":"","K":"V","SHELL":"/bin/sh"},"labels":{"team":"a"},"ports":[{"host":8080,"container":80,"protocol":"tcp"},{"host":53,"container":53,"protocol":"udp"}],"cpu_millis":500,"memory_bytes":268435456,"network":"bridge","pull":"never","user":"1000","workdir":"/srv","constraints":{"disk":"ssd"},"restart":{"policy":"on-failure","max":2},"on_node_lost":"reschedule","pending_timeout_ms":1500,"count":3,"mounts":[{"source":"/srv/x","target":"/x"},{"source":"/y","target":"/y","read_only":true}],"capabilities":["NET_ADMIN"]}"#
        );
    }

    #[test]
    fn the_command_is_untouched() {
        let asked = asked("--wait web --image x -- sh --wait -e K=V --image=y -- z").unwrap();
        assert_eq!(asked.then, Then::Wait);
        let command = ["sh", "--wait", "-e", "K=V", "--image=y", "--", "z"].map(str::to_owned).to_vec();
        assert_eq!(asked.request.command, Some(command));
        assert!(body("web --image x --").ends_with(r#""image":"x"}"#));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, says) in [
            ("", "NAME is missing"),
            ("web", "--image: is missing"),
            ("--image x", "NAME is missing"),
            ("web --image x y", "unexpected argument \"y\""),
            ("we/b --image x", "NAME: must match"),
            ("web --image -x", "--image: \"-x\" is not an image reference"),
            ("web --image x -e =V", "-e: \"=V\" must be KEY=VALUE or KEY"),
            ("web --image x -l K", "-l: \"K\" must be KEY=VALUE"),
            ("web --image x -p 80", "-p: \"80\" must be HOST:CONTAINER"),
            ("web --image x -p 0:80", "-p: \"0:80\" must be HOST:CONTAINER"),
            ("web --image x -p 1:2:3", "-p: \"1:2:3\" must be HOST:CONTAINER"),
            ("web --image x -p 1:2/sctp", "-p: \"sctp\" must be tcp or udp"),
            ("web --image x --cpu lots", "--cpu: \"lots\" is not an amount of CPU"),
            ("web --image x --memory 1Kb", "--memory: \"1Kb\" is not a size"),
            ("web --image x --network lan", "--network: \"lan\" must be bridge, none, node or host"),
            ("web --image x --pull maybe", "--pull: \"maybe\" must be missing, always or never"),
            ("web --image x --restart often", "--restart: \"often\" must be never, on-failure[:N] or always"),
            ("web --image x --restart always:3", "--restart: \"always:3\": always takes no number"),
            ("web --image x --restart never:3", "--restart: \"never:3\": never takes no number"),
            ("web --image x --restart on-failure:0", "--restart: \"on-failure:0\" would never try again"),
            ("web --image x --cpu -1", "--cpu: \"-1\" is not an amount of CPU"),
            ("web --image x --cpu=500mm", "--cpu: \"500mm\" is not an amount of CPU"),
            ("web --image x --memory -1", "--memory: \"-1\" is not a size"),
            ("web --image x --memory 1e9Gi", "--memory: \"1e9Gi\" is not a size"),
            ("web --image x -l podling.task=1", "-l: \"podling.task\": keys beginning podling. are reserved"),
            ("web --image x --constraint disk", "--constraint: \"disk\" must be KEY=VALUE"),
            ("web --image x --constraint d=a --constraint d=b", "--constraint: no node has both d=a and d=b"),
            ("web --image x -p 80:1 -p 80:2", "-p: host port 80/tcp is asked for twice"),
            ("web --image x -p 80:1 --network none", "-p: the network none has no ports to publish"),
            ("web --image x -v /srv/x", "-v: \"/srv/x\" must be SOURCE:TARGET or SOURCE:TARGET:ro"),
            ("web --image x -v /a:/t -v /b:/t", "-v: the target \"/t\" is asked for twice"),
            ("web --image x --capability ALL", "--capability: \"ALL\" is no capability"),
            ("web --image x -p 80:1 --network host", "-p: the network host has no ports to publish"),
            ("web --image x -p 80:1 --network node", "-p: the network node has no ports to publish"),
            (
                "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg --image x --count 2",
                "--count: the last one's name, \"aaaa",
            ),
            ("web --image x --on-node-lost cry", "--on-node-lost: \"cry\" must be fail or reschedule"),
            ("web --image x --pending-timeout soon", "--pending-timeout: \"soon\" is not a duration"),
            ("web --image x --count 0", "--count: \"0\" must be 1 to 100000"),
            ("web --image x --count 100001", "--count: \"100001\" must be 1 to 100000"),
            ("web --image x --secret K=f", "--secret: not supported yet"),
            ("web --image x --wait --follow", "only one of --detach, --wait and --follow"),
            ("web --image x -q -o json", "-q: not together with -o"),
            ("web --image x --follow -q", "--follow: not together with -o or -q"),
            ("web --image x --follow --count 2", "--follow: not together with --count"),
            ("web --imge x", "unknown flag --imge: did you mean --image?"),
            ("web --image x -e", "-e: needs a value"),
            ("web --image x -u a:b:c", "-u: \"a:b:c\" must be USER"),
            ("web --image x -w srv", "-w: \"srv\" must be an absolute path"),
        ] {
            let error = asked(line).expect_err(line);
            assert!(error.starts_with(says), "{line}: {error}");
        }
    }
}
