//! What the Engine says of its containers and of itself, turned into our own types.
//!
//! The API's JSON is read leniently: what is absent or null is empty, what is unknown is passed over, because
//! each version of the Engine leaves out and adds as it likes. What decides something (phase, exit code, labels)
//! is then parsed strictly.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use crate::engine::{
    ContainerKey, Description, EngineError, LABEL_ATTEMPT, LABEL_CLUSTER, LABEL_LEASE, LABEL_NODE,
    LABEL_TASK, Listed, Observed, Owner, Phase,
};
use crate::model::id::Attempt;
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::time::WallTime;

/// A container's labels; the API says null where there are none.
type Labels = Option<HashMap<String, String>>;

/// The answer of `GET /containers/{id}/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    id: String,
    state: State,
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: String,
    exit_code: i32,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    error: String,
    started_at: String,
    finished_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Labels,
}

impl Inspected {
    /// The container in our own terms.
    pub(super) fn observed(self) -> Result<Observed, EngineError> {
        let malformed = |why: String| EngineError::Malformed { operation: "inspect", why };
        let phase = phase(&self.state.status)
            .ok_or_else(|| malformed(format!("an unknown status: {:?}", self.state.status)))?;
        Ok(Observed {
            id: self.id.parse().map_err(|error| malformed(format!("the id {:?} {error}", self.id)))?,
            key: key(self.config.labels.as_ref()),
            phase,
            exit_code: self.state.exit_code,
            oom_killed: self.state.oom_killed,
            error: self.state.error,
            started_at: wall_time(&self.state.started_at),
            finished_at: wall_time(&self.state.finished_at),
        })
    }
}

/// A row of `GET /containers/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    id: String,
    labels: Labels,
    state: String,
}

impl Row {
    /// The row in our own terms; none where its labels name no attempt, or its state is unknown.
    pub(super) fn listed(&self) -> Option<Listed> {
        let key = key(self.labels.as_ref())?;
        let is_leased = self.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL_LEASE));
        Some(Listed { id: self.id.parse().ok()?, key, phase: phase(&self.state)?, is_leased })
    }
}

/// The answer of `GET /info`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Info {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    server_version: String,
    #[serde(rename = "NCPU")]
    cpus: u64,
    mem_total: u64,
}

impl Info {
    /// The Engine in our own terms. What follows a `+` in its version is its distributor's.
    pub(super) fn description(self) -> Description {
        let version = self.server_version.split('+').next().unwrap_or_default();
        Description {
            name: format!("docker {version}"),
            id: if self.id.is_empty() { self.name } else { self.id },
            cpu: CpuMillis(self.cpus.saturating_mul(1000)),
            memory: MemoryBytes(self.mem_total),
        }
    }
}

fn phase(status: &str) -> Option<Phase> {
    match status {
        "created" => Some(Phase::Created),
        "running" | "paused" | "restarting" => Some(Phase::Running),
        "exited" => Some(Phase::Exited),
        "dead" | "removing" => Some(Phase::Dead),
        _ => None,
    }
}

/// The attempt that labels name: all four, well formed, or none.
fn key(labels: Option<&HashMap<String, String>>) -> Option<ContainerKey> {
    let label = |name: &str| labels?.get(name);
    Some(ContainerKey {
        owner: Owner { cluster: label(LABEL_CLUSTER)?.parse().ok()?, node: label(LABEL_NODE)?.parse().ok()? },
        task: label(LABEL_TASK)?.parse().ok()?,
        attempt: Attempt(label(LABEL_ATTEMPT)?.parse().ok()?),
    })
}

/// The Engine's "never" is the year 1, which is before 1970 and so none.
fn wall_time(text: &str) -> Option<WallTime> {
    unix_nanos(text).map(|nanos| WallTime::from_unix_millis(nanos / 1_000_000))
}

/// Nanoseconds since 1970 of an RFC 3339 time. The Engine writes logs in its own time zone, so an offset may
/// stand where humantime wants a `Z`.
pub(super) fn unix_nanos(text: &str) -> Option<u64> {
    let (local, east_of_utc_secs) = match text.strip_suffix('Z') {
        Some(utc) => (utc, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, offset_secs(offset)?)
        }
    };
    let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let nanos = i128::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()?;
    u64::try_from(nanos - i128::from(east_of_utc_secs) * 1_000_000_000).ok()
}

/// `+02:00` in seconds.
fn offset_secs(text: &str) -> Option<i64> {
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let secs = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
    match text.as_bytes().first()? {
        b'+' => Some(secs),
        b'-' => Some(-secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond_or_are_none() {
        assert_eq!(unix_nanos("1970-01-01T00:00:01.000000002Z"), Some(1_000_000_002));
        assert_eq!(unix_nanos("1970-01-01T02:00:01.5+02:00"), Some(1_500_000_000));
        assert_eq!(unix_nanos("1970-01-01T00:00:00-00:30"), Some(1_800_000_000_000));
        for none in ["0001-01-01T00:00:00Z", "", "Z", "é", "+02:00", "1970-01-01T00:00:00", "yesterday"] {
            assert_eq!(unix_nanos(none), None, "{none}");
        }
    }

    #[test]
    fn a_container_is_read_where_the_engine_leaves_things_out() {
        let text = r#"{"Id":"c0ffee","State":{"Status":"created","ExitCode":127,"Error":"no such file",
            "StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"},
            "Config":{"Env":null,"Labels":null},"Mounts":[]}"#;
        let observed = serde_json::from_str::<Inspected>(text).unwrap().observed().unwrap();
        assert_eq!((observed.phase, observed.exit_code), (Phase::Created, 127));
        assert_eq!((observed.key, observed.started_at, observed.finished_at), (None, None, None));
        let killed = text.replace("\"ExitCode\":127", "\"ExitCode\":137,\"OOMKilled\":true");
        assert!(serde_json::from_str::<Inspected>(&killed).unwrap().observed().unwrap().oom_killed);
        let unknown = text.replace("created", "levitating");
        assert!(serde_json::from_str::<Inspected>(&unknown).unwrap().observed().is_err());
    }

    #[test]
    fn labels_name_an_attempt_wholly_or_not_at_all() {
        let whole = [
            (LABEL_CLUSTER, "01JD0000000000000000000000"),
            (LABEL_NODE, "worker-1"),
            (LABEL_TASK, "01JE0000000000000000000000"),
            (LABEL_ATTEMPT, "2"),
        ];
        let labels =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let key_of = |pairs: &[(&str, &str)]| key(Some(&labels(pairs)));
        assert_eq!(key_of(&whole).map(|key| key.attempt), Some(Attempt(2)));
        for missing in 0..whole.len() {
            let mut part = whole.to_vec();
            part.remove(missing);
            assert_eq!(key_of(&part), None);
        }
        assert_eq!(key_of(&[whole[0], whole[1], whole[2], (LABEL_ATTEMPT, "two")]), None);
        assert_eq!(key(None), None);
    }
}
