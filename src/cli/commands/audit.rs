//! `podling audit [--verify]`: who changed what, a line of JSON for each deed, as the master keeps them.
//!
//! With `--verify` each line is held against the one before it, and what came of that is said on stderr. The first line
//! that is kept is taken at its word: those before it are gone. Whoever wants to know that the end isn't missing compares
//! the last hash with one that was noted elsewhere.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use super::{Command, Session};
use crate::api::routes;
use crate::api::wire::audit::Chain;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::text;
use crate::runtime::settings::SettingsError;

/// How long the line may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    is_to_verify: bool,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let is_to_verify = words.switch(Flag::Long("--verify"));
        super::nothing_more(&words.rest()?)?;
        Ok(Self { is_to_verify })
    }
}

impl Command for Asked {
    /// 1 if a line doesn't follow the one before it. All that came before is printed then.
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let stream = session.remote.log(routes::AUDIT, SILENCE)?;
        let mut reader = BufReader::new(stream);
        let (mut line, mut chain, mut count) = (String::new(), None, 0_u64);
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(session.remote.lost(error.to_string())),
            }
            if self.is_to_verify {
                follow(&mut chain, &line)
                    .map_err(|why| CliError::Failed(format!("the audit is broken: {why}")))?;
            }
            count += 1;
            session.console.line(&text::json(line.trim_end()))?;
        }
        session.console.out.flush().map_err(CliError::Output)?;
        if self.is_to_verify {
            session.console.say(format_args!("{count} lines, each follows the one before"));
        }
        Ok(exit::DONE)
    }
}

/// Holds a line against the one before it; the first one is taken at its word.
fn follow(chain: &mut Option<Chain>, line: &str) -> Result<(), String> {
    let line = line.as_bytes();
    if chain.is_none() {
        *chain = Some(Chain::before(line).map_err(|error| error.to_string())?);
    }
    chain.as_mut().map_or(Ok(()), |chain| chain.check(line)).map_err(|broken| broken.to_string())
}
