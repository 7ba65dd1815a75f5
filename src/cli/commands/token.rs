//! `podling token create|list|rm`: tokens, for people, programs and nodes that join.
//!
//! `create` prints the token and nothing else on stdout, so that it can go straight into a file: it is shown this once.
//! What goes with it, its id and its end, goes to stderr.

use std::time::Duration;

use super::{Command, Session};
use crate::api::routes;
use crate::api::wire::millis;
use crate::api::wire::token::{TokenRequest, TokenView};
use crate::cli::args::{Flag, Words, nearest};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::list::{Form, List};
use crate::cli::render::text;
use crate::model::access::Scope;
use crate::model::time::parse_duration;
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

const DEEDS: [&str; 3] = ["create", "list", "rm"];

/// What was asked for.
#[derive(Debug)]
pub(super) enum Asked {
    Create(TokenRequest),
    List(Form),
    Remove(Vec<String>),
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let request = TokenRequest {
            join: words.switch(Flag::Long("--join")).then_some(true),
            scope: words.value(Flag::Long("--scope"), str::parse::<Scope>)?,
            expires_ms: words.value(Flag::Long("--expires"), expires)?,
            label: words.value(Flag::Long("--label"), |text| Ok::<_, String>(text.to_owned()))?,
        };
        let form = words.value(Flag::Both("-o", "--output"), Form::from_word)?;
        let mut rest = words.rest()?.into_iter();
        let deed =
            rest.next().ok_or_else(|| SettingsError::new(format!("{} is missing", DEEDS.join("|"))))?;
        let rest: Vec<String> = rest.collect();
        let unexpected = |word: &String| SettingsError::new(format!("unexpected argument {word:?}"));
        if !DEEDS.contains(&deed.as_str()) {
            return Err(unknown(&deed));
        }
        if deed != "create" && request != TokenRequest::default() {
            return Err(SettingsError::new("--join, --scope, --expires, --label: only with create"));
        }
        if deed != "list" && form.is_some() {
            return Err(SettingsError::of("--output", "only with list"));
        }
        match (deed.as_str(), rest.first()) {
            ("rm", None) => Err(SettingsError::new("ID is missing")),
            ("rm", Some(_)) => Ok(Self::Remove(rest)),
            (_, Some(word)) => Err(unexpected(word)),
            ("list", None) => Ok(Self::List(form.unwrap_or_default())),
            (_, None) if request.join.is_some() && request.scope.is_some() => {
                Err(SettingsError::of("--scope", "not with --join: a join word adds a node, and no more"))
            }
            (_, None) => Ok(Self::Create(request)),
        }
    }
}

fn expires(text: &str) -> Result<u64, String> {
    let lives: Duration = parse_duration(text).map_err(|error| error.to_string())?;
    if lives.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(millis(lives)) }
}

fn unknown(deed: &str) -> SettingsError {
    let guess = nearest(deed, DEEDS.into_iter());
    let guess = guess.map_or_else(String::new, |guess| format!(": did you mean {guess}?"));
    SettingsError::new(format!("{deed:?} must be {}{guess}", DEEDS.join(", ")))
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        match self {
            Self::Create(request) => create(request, session),
            Self::List(form) => list(*form, session),
            Self::Remove(ids) => remove(ids, session),
        }
    }
}

fn create(request: &TokenRequest, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
    let made = session.remote.make_token(request)?;
    session.console.line(&made.token.0)?;
    let what = match made.scope {
        Some(scope) => format!("the token {}, with the scope {scope}", made.token_id),
        None => format!("the join word {}, good for one node", made.token_id),
    };
    let until = made
        .expires_at
        .map_or_else(String::new, |end| format!(", until {}", crate::api::wire::format_time(end)));
    session.console.say(format!("{what}{until}; it is shown this once"));
    Ok(exit::DONE)
}

fn list(form: Form, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
    let Session { remote, console, .. } = session;
    let mut list = List::new::<TokenView>(form, clock::wall());
    remote.pages(routes::TOKENS, |page| {
        page.iter().try_for_each(|token| list.push::<TokenView>(token, console))
    })?;
    list.finish(console)?;
    Ok(exit::DONE)
}

/// Ends tokens. One that can't be ended doesn't spare the others: it is named on stderr.
fn remove(ids: &[String], session: &mut Session<'_, '_>) -> Result<u8, CliError> {
    let mut code = exit::DONE;
    for id in ids {
        match session.remote.end_token(id) {
            Ok(()) => session.console.line(&text::visible(id))?,
            Err(error) => {
                session.console.say(error);
                code = exit::FAILED;
            }
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        let mut words = Words::new(line.split_whitespace().map(Into::into).collect());
        Asked::read(&mut words).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, says) in [
            ("", "create|list|rm is missing"),
            ("crate", "\"crate\" must be create, list, rm: did you mean create?"),
            ("create ci", "unexpected argument \"ci\""),
            ("create --scope root", "--scope: \"root\" must be read, submit, operate or admin"),
            ("create --join --scope read", "--scope: not with --join"),
            ("create --expires 0", "--expires: must be more than nothing"),
            ("create --expires soon", "--expires: \"soon\""),
            ("create -o json", "--output: only with list"),
            ("list --scope read", "--join, --scope, --expires, --label: only with create"),
            ("rm", "ID is missing"),
        ] {
            let error = asked(line).expect_err(line);
            assert!(error.starts_with(says), "{line}: {error}");
        }
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let Asked::Create(request) = asked("create --scope submit --expires 30d --label CI").unwrap() else {
            panic!("it creates")
        };
        assert_eq!((request.scope, request.expires_ms), (Some(Scope::Submit), Some(30 * 86_400_000)));
        assert_eq!((request.label.as_deref(), request.join), (Some("CI"), None));
        assert!(matches!(asked("rm a b").unwrap(), Asked::Remove(ids) if ids == ["a", "b"]));
        assert!(matches!(asked("list -o json").unwrap(), Asked::List(Form::Json)));
    }
}
