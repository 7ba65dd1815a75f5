//! `podling apply FILE [--dry-run] [-o FORM]`: creates the tasks of a file that aren't there, all or none.
//!
//! The file is read and checked whole before the master is asked anything. Then each name is looked up, the plan is
//! printed (see [`crate::cli::apply`]), and what is missing is created by one request, under a key that is made of
//! what is created and of what was there instead: asking again makes nothing twice.
//!
//! Names are looked up one after the other, and somebody may create some of them meanwhile: then what was seen never
//! was. So before anything is created, all are looked up again until two looks saw the same. That was so at the moment
//! between the two, and whoever else saw that moment has the same key.
//!
//! A key is remembered for a day. Whoever removes the tasks that were made under one, and applies the file again,
//! would ask with the same key; the master says that what it made is gone, and the next *generation* of the key is
//! used. Everybody who applies the file then finds the same generation. After a hundred in one day there is a key of
//! its own, under which two at the same time could make tasks twice.

use std::fs::File;
use std::io::Read as _;

use ulid::Ulid;

use super::{Command, Session};
use crate::api::routes;
use crate::api::wire::Page;
use crate::api::wire::spec::TaskRequest;
use crate::api::wire::task::TaskView;
use crate::cli::Console;
use crate::cli::apply::parse::{self, Wish};
use crate::cli::apply::plan::{Plan, Seen};
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::progress::Progress;
use crate::cli::remote::Remote;
use crate::cli::render::list::Form;
use crate::cli::render::text::{self, visible};
use crate::model::task::TaskStatus;
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

/// The longest file that is read, in bytes.
const LONGEST_FILE: u64 = 8 << 20;

/// How often all names are looked up before what was seen must have been so.
const LOOKS: usize = 10;

/// How many generations of a key are tried.
const GENERATIONS: u32 = 100;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    file: String,
    wishes: Vec<Wish>,
    is_dry_run: bool,
    form: Form,
}

impl Asked {
    /// Reads the command line and the file.
    ///
    /// # Errors
    /// Names what is wrong, in the file with its line and column.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let is_dry_run = words.switch(Flag::Long("--dry-run"));
        let form = words.value(Flag::Both("-o", "--output"), Form::from_word)?.unwrap_or_default();
        let file = words.one("FILE")?;
        let text = text_of(&file).map_err(|why| SettingsError::of(&file, why))?;
        let wishes = parse::parse(&text).map_err(|why| SettingsError::new(format!("{file}:{why}")))?;
        Ok(Self { file, wishes, is_dry_run, form })
    }
}

fn text_of(file: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|error| error.to_string())?;
    opened.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(format!("is longer than {LONGEST_FILE} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

impl Command for Asked {
    /// 1 if something differs. What was created is printed with its id.
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let mut plan = self.look(session)?;
        if !self.is_dry_run && !plan.missing().is_empty() {
            plan = self.look_until_sure(plan, session)?;
        }
        if matches!(self.form, Form::Table | Form::Wide) {
            for line in plan.lines() {
                session.console.line(&visible(&line))?;
            }
            session.console.out.flush().map_err(CliError::Output)?;
        }
        let is_to_create = !self.is_dry_run && !plan.missing().is_empty();
        let created = if is_to_create { self.create(&plan, &session.remote)?.items } else { Vec::new() };
        self.tell(&plan, &created, session.console)?;
        Ok(if plan.differs() { exit::FAILED } else { exit::DONE })
    }
}

impl Asked {
    /// What was created; for programs what was done about every task.
    fn tell(&self, plan: &Plan, created: &[TaskView], console: &mut Console<'_>) -> Result<(), CliError> {
        match self.form {
            Form::Table | Form::Wide => created
                .iter()
                .try_for_each(|task| console.line(&format!("Task created: {} {}", task.task_id, task.name))),
            Form::Json => {
                let rows = plan.rows(created);
                let rows: Result<Vec<String>, _> = rows.iter().map(serde_json::to_string).collect();
                let rows =
                    rows.map_err(|error| CliError::Failed(format!("the answer can't be written: {error}")))?;
                console.line(&format!("[\n{}\n]", text::json(&rows.join(",\n"))))
            }
            Form::Name => {
                let mut missing = plan.missing().into_iter();
                missing.try_for_each(|wish| console.line(&visible(&wish.request.name)))
            }
            Form::Id => created.iter().try_for_each(|task| console.line(task.task_id.as_str())),
        }
    }

    fn look_until_sure(&self, first: Plan, session: &mut Session<'_, '_>) -> Result<Plan, CliError> {
        let mut last = first;
        for _ in 1..LOOKS {
            let plan = self.look(session)?;
            if plan.is_as(&last) {
                return Ok(plan);
            }
            last = plan;
        }
        let file = &self.file;
        Err(CliError::Failed(format!(
            "the tasks of {file} change all the time: nothing was created, try again"
        )))
    }

    /// What is to be done, given what the master has of each name.
    fn look(&self, session: &mut Session<'_, '_>) -> Result<Plan, CliError> {
        let mut progress = Progress::new(clock::mono());
        let mut seen = Vec::with_capacity(self.wishes.len());
        for wish in &self.wishes {
            let found = find(&session.remote, &wish.request.name);
            if seen.len() % 100 == 99 || found.is_err() {
                let text = format!("looked at {} of {}", seen.len() + 1, self.wishes.len());
                progress.show(&text, clock::mono(), session.console);
            }
            if found.is_err() {
                progress.clear(session.console);
            }
            seen.push(found?);
        }
        progress.clear(session.console);
        Ok(Plan::new(self.wishes.clone(), &seen))
    }

    /// Creates what is missing, all or none.
    fn create(&self, plan: &Plan, remote: &Remote) -> Result<Page<TaskView>, CliError> {
        let requests: Vec<&TaskRequest> = plan.missing().into_iter().map(|wish| &wish.request).collect();
        let body = serde_json::to_vec(&requests)
            .map_err(|error| CliError::Failed(format!("the request can't be written: {error}")))?;
        for generation in 0..GENERATIONS {
            match remote.create_under(&plan.key(&body, generation), body.clone()) {
                // What was made under this key is gone: it made what was there before, not what is missing now.
                Err(error) if error.problem_code() == Some("gone") => {}
                other => return other.map_err(|error| self.located(error, plan)),
            }
        }
        let key = Ulid::generate().to_string();
        remote.create_under(&key, body).map_err(|error| self.located(error, plan))
    }

    /// The master says which of the requests it refuses (`[3].image: …`): that is told as a line of the file.
    fn located(&self, error: CliError, plan: &Plan) -> CliError {
        let text = error.to_string();
        let place = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let found = place.and_then(|(index, rest)| Some((index.parse::<usize>().ok()?, rest)));
        let wish = found.and_then(|(index, rest)| Some((plan.missing().get(index).copied()?, rest)));
        wish.map_or(error, |(wish, rest)| {
            let (file, line, name) = (&self.file, wish.line, &wish.request.name);
            CliError::Failed(format!("{file}:{line}: {name}: {}", rest.trim_start_matches(['.', ':', ' '])))
        })
    }
}

/// The newest live task of a name, else the newest.
fn find(remote: &Remote, name: &str) -> Result<Option<Seen>, CliError> {
    let is_called = |task: &Seen| task.get("name").is_some_and(|called| called == name);
    match remote.get::<Seen>(&routes::task(name)) {
        Ok(task) if is_called(&task) => Ok(Some(task)),
        // The name is also an id, or the beginning of one, of another task.
        Ok(_) => find_in_list(remote, name),
        Err(error) if error.problem_code() == Some("ambiguous") => Ok(None),
        Err(error) if error.problem_code() == Some("task_not_found") => Ok(None),
        Err(error) => Err(error),
    }
}

fn find_in_list(remote: &Remote, name: &str) -> Result<Option<Seen>, CliError> {
    let mut newest: Option<Seen> = None;
    let is_live = |task: &Seen| {
        let status = task.get("status").and_then(|status| status.as_str()).and_then(TaskStatus::from_word);
        status.is_none_or(|status| !status.is_terminal())
    };
    remote.pages(&format!("{}?name={}", routes::TASKS, routes::escape(name)), |page| {
        for raw in page {
            let task: Seen = serde_json::from_str(raw.get())
                .map_err(|error| CliError::Failed(format!("the master's answer makes no sense: {error}")))?;
            if newest.as_ref().is_none_or(|newest| is_live(&task) || !is_live(newest)) {
                newest = Some(task);
            }
        }
        Ok(())
    })?;
    Ok(newest)
}
