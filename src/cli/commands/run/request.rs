//! The flags of `podling run`, as the request that they stand for.
//!
//! What can be checked without the master is checked here, so that a mistake names the flag and not a field. What
//! isn't built yet is sent all the same: the master says so, and knows better than an older command line. `--secret`
//! alone is refused here, because no request says yet what it would hold.

use std::collections::BTreeMap;

use crate::api::wire::spec::TaskRequest;
use crate::cli::args::{Flag, Words};
use crate::cli::fields::{self, Clash, checked, pair};
use crate::model::mount::Capability;
use crate::model::resources::{parse_cpu, parse_memory};
use crate::model::spec::{ImageRef, PullPolicy, UserName, WorkDir};
use crate::runtime::settings::{Environment, SettingsError};

const ENV: Flag = Flag::Both("-e", "--env");
const LABEL: Flag = Flag::Both("-l", "--label");
const PUBLISH: Flag = Flag::Both("-p", "--publish");
const MOUNT: Flag = Flag::Both("-v", "--mount");
const CONSTRAINT: Flag = Flag::Long("--constraint");
const COUNT: Flag = Flag::Long("--count");

/// Takes the flags that are about the task. Without its name and command; an image that is missing is empty.
///
/// # Errors
/// Names the flag that is wrong.
pub(super) fn flags(words: &mut Words, environment: Environment) -> Result<TaskRequest, SettingsError> {
    let image = words.value(Flag::Long("--image"), checked::<ImageRef>)?.unwrap_or_default();
    let env = words.values(ENV, |text| variable(text, environment))?.into_iter().flatten().collect();
    let labels = words.values(LABEL, pair)?.into_iter().collect();
    let ports = words.values(PUBLISH, fields::port)?;
    let mounts = words.values(MOUNT, fields::mount)?;
    let capabilities = words.values(Flag::Long("--capability"), checked::<Capability>)?;
    let constraints = words.values(CONSTRAINT, pair)?;
    words.values(Flag::Long("--secret"), |_| Err::<(), _>("not supported yet")).map(drop)?;
    let ports = of(PUBLISH, fields::ports(ports))?;
    let mounts = of(MOUNT, fields::mounts(mounts))?;
    let constraints = some(of(CONSTRAINT, fields::constraints(constraints))?);
    Ok(TaskRequest {
        image,
        env: some(of(ENV, fields::env(env))?),
        labels: some(of(LABEL, fields::labels(labels))?),
        ports: (!ports.is_empty()).then_some(ports),
        cpu_millis: words.value(Flag::Long("--cpu"), parse_cpu)?.map(|cpu| cpu.0),
        memory_bytes: words.value(Flag::Long("--memory"), parse_memory)?.map(|memory| memory.0),
        mounts: (!mounts.is_empty()).then_some(mounts),
        capabilities: (!capabilities.is_empty()).then_some(capabilities),
        network: words.value(Flag::Long("--network"), fields::network)?,
        pull: words.value(Flag::Long("--pull"), checked::<PullPolicy>)?,
        user: words.value(Flag::Both("-u", "--user"), checked::<UserName>)?,
        workdir: words.value(Flag::Both("-w", "--workdir"), checked::<WorkDir>)?,
        constraints,
        restart: words.value(Flag::Long("--restart"), fields::restart)?,
        on_node_lost: words.value(Flag::Long("--on-node-lost"), fields::on_node_lost)?,
        pending_timeout_ms: words.value(Flag::Long("--pending-timeout"), fields::wait_ms)?,
        count: words.value(COUNT, fields::count)?,
        ..TaskRequest::default()
    })
}

/// Refuses flags that are each right and don't go together.
///
/// # Errors
/// Names the flag, and what it clashes with.
pub(super) fn check(request: &TaskRequest) -> Result<(), SettingsError> {
    fields::contradiction(request).map_or(Ok(()), |(clash, why)| {
        let flag = match clash {
            Clash::Ports => PUBLISH,
            Clash::Count => COUNT,
        };
        of(flag, Err(why))
    })
}

/// Names the flag whose values, taken together, are wrong.
fn of<T>(flag: Flag, result: Result<T, String>) -> Result<T, SettingsError> {
    result.map_err(|why| SettingsError::of(flag.name(), why))
}

fn some(pairs: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    if pairs.is_empty() { None } else { Some(pairs) }
}

/// `K=V`; or `K` alone for this process's own value, nothing where it has none. As with `docker run`.
fn variable(text: &str, environment: Environment) -> Result<Option<(String, String)>, String> {
    match text.split_once('=') {
        None if !text.is_empty() => Ok(environment(text).map(|value| (text.to_owned(), value))),
        None | Some(("", _)) => Err(format!("{text:?} must be KEY=VALUE or KEY")),
        Some((key, value)) => Ok(Some((key.to_owned(), value.to_owned()))),
    }
}
