//! The flags of `podling run`, as the request that they stand for.
//!
//! What can be checked without the master is checked here, so that a mistake names the flag and not a field. What
//! isn't built yet is sent all the same: the master says so, and knows better than an older command line. `--secret`
//! alone is refused here, because no request says yet what it would hold.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::api::wire::millis;
use crate::api::wire::spec::{MAX_COUNT, PortWire, RestartWire, TaskRequest};
use crate::cli::args::{Flag, Words};
use crate::model::resources::{parse_cpu, parse_memory};
use crate::model::spec::{ImageRef, LONGEST_WAIT, Protocol, PullPolicy, UserName, WorkDir};
use crate::model::time::parse_duration;
use crate::runtime::settings::{Environment, SettingsError};

/// Takes the flags that are about the task. Without its name and command; an image that is missing is empty.
///
/// # Errors
/// Names the flag that is wrong.
pub(super) fn flags(words: &mut Words, environment: Environment) -> Result<TaskRequest, SettingsError> {
    let image = words.value(Flag::Long("--image"), checked::<ImageRef>)?.unwrap_or_default();
    let env = words.values(Flag::Both("-e", "--env"), |text| variable(text, environment))?;
    let labels = pairs(words, Flag::Both("-l", "--label"))?;
    let ports = words.values(Flag::Both("-p", "--publish"), port)?;
    let constraints = pairs(words, Flag::Long("--constraint"))?;
    words.values(Flag::Long("--secret"), |_| Err::<(), _>("not supported yet")).map(drop)?;
    Ok(TaskRequest {
        image,
        env: some(env.into_iter().flatten().collect()),
        labels: some(labels),
        ports: (!ports.is_empty()).then_some(ports),
        cpu_millis: words.value(Flag::Long("--cpu"), parse_cpu)?.map(|cpu| cpu.0),
        memory_bytes: words.value(Flag::Long("--memory"), parse_memory)?.map(|memory| memory.0),
        network: words.value(Flag::Long("--network"), network)?,
        pull: words.value(Flag::Long("--pull"), checked::<PullPolicy>)?,
        user: words.value(Flag::Both("-u", "--user"), checked::<UserName>)?,
        workdir: words.value(Flag::Both("-w", "--workdir"), checked::<WorkDir>)?,
        constraints: some(constraints),
        restart: words.value(Flag::Long("--restart"), restart)?,
        on_node_lost: words.value(Flag::Long("--on-node-lost"), on_node_lost)?,
        pending_timeout_ms: words.value(Flag::Long("--pending-timeout"), pending_timeout)?,
        count: words.value(Flag::Long("--count"), count)?,
        ..TaskRequest::default()
    })
}

fn some(pairs: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    if pairs.is_empty() { None } else { Some(pairs) }
}

/// A text that the model takes.
fn checked<T: FromStr>(text: &str) -> Result<String, T::Err> {
    text.parse::<T>().map(|_| text.to_owned())
}

fn pairs(words: &mut Words, flag: Flag) -> Result<BTreeMap<String, String>, SettingsError> {
    words.values(flag, pair).map(|pairs| pairs.into_iter().collect())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| format!("{text:?} must be KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `K=V`; or `K` alone for this process's own value, nothing where it has none. As with `docker run`.
fn variable(text: &str, environment: Environment) -> Result<Option<(String, String)>, String> {
    match text.split_once('=') {
        None if !text.is_empty() => Ok(environment(text).map(|value| (text.to_owned(), value))),
        None | Some(("", _)) => Err(format!("{text:?} must be KEY=VALUE or KEY")),
        Some((key, value)) => Ok(Some((key.to_owned(), value.to_owned()))),
    }
}

fn port(text: &str) -> Result<PortWire, String> {
    let refuse = || format!("{text:?} must be HOST:CONTAINER or HOST:CONTAINER/udp");
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol: Protocol = protocol.parse().map_err(|error| format!("{error}"))?;
    let (host, container) = ports.split_once(':').ok_or_else(refuse)?;
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(refuse);
    Ok(PortWire {
        host: number(host)?,
        container: number(container)?,
        protocol: protocol.as_str().to_owned(),
    })
}

fn network(text: &str) -> Result<String, String> {
    match text {
        // `host` is the policy's to refuse.
        "bridge" | "none" | "node" | "host" => Ok(text.to_owned()),
        other => Err(format!("{other:?} must be bridge, none or node")),
    }
}

fn restart(text: &str) -> Result<RestartWire, String> {
    let refuse = || format!("{text:?} must be never, on-failure[:N] or always");
    let (policy, max) = match text.split_once(':') {
        Some(("on-failure", max)) => ("on-failure", Some(max.parse().map_err(|_| refuse())?)),
        Some(_) => return Err(refuse()),
        None => (text, None),
    };
    match policy {
        "never" | "on-failure" | "always" => Ok(RestartWire { policy: policy.to_owned(), max }),
        _ => Err(refuse()),
    }
}

fn on_node_lost(text: &str) -> Result<String, String> {
    match text {
        "fail" | "reschedule" => Ok(text.to_owned()),
        other => Err(format!("{other:?} must be fail or reschedule")),
    }
}

fn pending_timeout(text: &str) -> Result<u64, String> {
    let timeout = parse_duration(text).map_err(|error| error.to_string())?;
    if timeout > LONGEST_WAIT { Err("must be a year at most".to_owned()) } else { Ok(millis(timeout)) }
}

fn count(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| (1..=MAX_COUNT).contains(count));
    count.ok_or_else(|| format!("{text:?} must be 1 to {MAX_COUNT}"))
}
