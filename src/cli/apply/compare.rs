//! Whether a task has the settings that a file asks for.
//!
//! Request and task are compared as the JSON that travels: whatever field the API has, a default that was left out is
//! the same as the default that the master shows. What was asked for and can't be seen is a difference.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::api::wire::millis;
use crate::api::wire::spec::TaskRequest;
use crate::api::wire::task::HIDDEN;
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::spec::DEFAULT_STOP_GRACE;

/// The fields of the API that a file can set, and what a file calls them.
const FIELDS: &[(&str, &str)] = &[
    ("image", "image"),
    ("command", "command"),
    ("env", "env"),
    ("labels", "labels"),
    ("ports", "ports"),
    ("cpu_millis", "cpu"),
    ("memory_bytes", "memory"),
    ("network", "network"),
    ("mounts", "mounts"),
    ("capabilities", "capabilities"),
    ("pull", "pull"),
    ("user", "user"),
    ("workdir", "workdir"),
    ("constraints", "constraints"),
    ("restart", "restart"),
    ("on_node_lost", "on_node_lost"),
    ("pending_timeout_ms", "pending_timeout"),
    ("stop_grace_ms", "stop_grace"),
];

/// The settings in which a task is not as it was asked for: `image nginx:1 → nginx:2`. Empty: it is.
pub(crate) fn differences(wanted: &TaskRequest, task: &Map<String, Value>) -> Vec<String> {
    let Ok(Value::Object(wanted)) = serde_json::to_value(wanted) else { return Vec::new() };
    let differs = |(field, called): &(&str, &str)| {
        let (is, should_be) = (settled(field, task.get(*field)), settled(field, wanted.get(*field)));
        (is != should_be).then(|| told(field, called, &is, &should_be))
    };
    FIELDS.iter().filter_map(differs).collect()
}

/// A field's value, or its default, in one form.
fn settled(field: &str, value: Option<&Value>) -> Value {
    let default = || match field {
        "network" => json!("bridge"),
        "pull" => json!("missing"),
        "on_node_lost" => json!("fail"),
        "restart" => json!({"policy": "never"}),
        "stop_grace_ms" => json!(millis(DEFAULT_STOP_GRACE)),
        "command" | "ports" | "mounts" | "capabilities" => json!([]),
        "env" | "labels" | "constraints" => json!({}),
        _ => Value::Null,
    };
    let mut value = value.cloned().unwrap_or_else(default);
    let has_no_order = matches!(field, "ports" | "mounts" | "capabilities");
    if let Some(items) = value.as_array_mut().filter(|_| has_no_order) {
        items.sort_by_key(ToString::to_string);
        items.dedup();
    }
    value
}

/// A difference in words. Of the environment only names: its values may be nobody's business. Where this token may not
/// see them, nobody can say whether they differ.
fn told(field: &str, called: &str, is: &Value, should_be: &Value) -> String {
    if field == "env" {
        let unequal = unequal_keys(is, should_be);
        let is_hidden = |key: &String| is.get(key) == Some(&json!(HIDDEN)) && should_be.get(key).is_some();
        let unknown = unequal.iter().all(is_hidden);
        let why = if unknown { " can't be compared, because this token may not see the values:" } else { "" };
        return format!("env{why} {}", unequal.join(", "));
    }
    format!("{called} {} → {}", shown(field, is), shown(field, should_be))
}

fn unequal_keys(one: &Value, other: &Value) -> Vec<String> {
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<BTreeSet<_>>());
    let (mine, theirs) = (keys(one).unwrap_or_default(), keys(other).unwrap_or_default());
    mine.union(&theirs).filter(|key| one.get(key) != other.get(key)).cloned().collect()
}

/// A value as a file would have it.
fn shown(field: &str, value: &Value) -> String {
    let texts = |pairs: &Map<String, Value>| {
        let pairs = pairs.iter().map(|(key, value)| format!("{key}={}", plain(value)));
        pairs.collect::<Vec<_>>().join(",")
    };
    let text = match (field, value) {
        ("cpu_millis", Value::Number(number)) => CpuMillis(number.as_u64().unwrap_or(0)).to_string(),
        ("memory_bytes", Value::Number(number)) => MemoryBytes(number.as_u64().unwrap_or(0)).to_string(),
        ("pending_timeout_ms" | "stop_grace_ms", Value::Number(number)) => {
            humantime::format_duration(Duration::from_millis(number.as_u64().unwrap_or(0))).to_string()
        }
        ("restart", Value::Object(restart)) => {
            let max = restart.get("max").map_or_else(String::new, |max| format!(":{max}"));
            format!("{}{max}", restart.get("policy").map(plain).unwrap_or_default())
        }
        ("ports", Value::Array(ports)) => {
            let port = |port: &Value| {
                let part = |name: &str| port.get(name).map(plain).unwrap_or_default();
                format!("{}:{}/{}", part("host"), part("container"), part("protocol"))
            };
            ports.iter().map(port).collect::<Vec<_>>().join(",")
        }
        ("mounts", Value::Array(mounts)) => {
            let mount = |mount: &Value| {
                let part = |name: &str| mount.get(name).map(plain).unwrap_or_default();
                let end = if mount.get("read_only") == Some(&Value::Bool(true)) { ":ro" } else { "" };
                format!("{}:{}{end}", part("source"), part("target"))
            };
            mounts.iter().map(mount).collect::<Vec<_>>().join(",")
        }
        (_, Value::Object(pairs)) => texts(pairs),
        (_, Value::Array(words)) => words.iter().map(plain).collect::<Vec<_>>().join(" "),
        (_, Value::Null) => String::new(),
        (_, other) => plain(other),
    };
    if text.is_empty() { "none".to_owned() } else { text }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::apply::parse::parse;

    fn wanted(lines: &str) -> TaskRequest {
        let text = format!("[[task]]\nname = \"web\"\nimage = \"nginx:1\"\n{lines}\n");
        parse(&text).unwrap().remove(0).request
    }

    fn task(fields: Value) -> Map<String, Value> {
        let mut task = json!({"name": "web", "image": "nginx:1", "status": "running", "network": "bridge",
            "pull": "missing", "on_node_lost": "fail", "stop_grace_ms": 10_000});
        let (Value::Object(all), Value::Object(more)) = (&mut task, fields) else { panic!("no objects") };
        all.extend(more);
        all.clone()
    }

    #[test]
    fn a_default_that_was_left_out_is_the_default() {
        assert_eq!(differences(&wanted(""), &task(json!({}))), [""; 0]);
        let spelled = "network = \"bridge\"\npull = \"missing\"\nrestart = \"never\"\nstop_grace = \"10s\"\n\
                       on_node_lost = \"fail\"\nenv = {}\nports = []\ncommand = []\nconstraints = {}";
        assert_eq!(differences(&wanted(spelled), &task(json!({}))), [""; 0]);
        assert_eq!(differences(&wanted(""), &task(json!({"restart": {"policy": "never"}}))), [""; 0]);
    }

    #[test]
    fn ports_have_no_order_and_words_have() {
        let ports = json!({"ports": [{"host": 2, "container": 2, "protocol": "tcp"},
                                     {"host": 1, "container": 1, "protocol": "udp"}]});
        assert_eq!(differences(&wanted("ports = [\"1:1/udp\", \"2:2\"]"), &task(ports)), [""; 0]);
        let mounts = json!({"mounts": [{"source": "/a", "target": "/b"},
                                       {"source": "/c", "target": "/d", "read_only": true}],
                            "capabilities": ["KILL", "NET_ADMIN"]});
        let asked = "mounts = [\"/c:/d:ro\", \"/a:/b\"]\ncapabilities = [\"NET_ADMIN\", \"KILL\", \"KILL\"]";
        assert_eq!(differences(&wanted(asked), &task(mounts)), [""; 0]);
        let command = json!({"command": ["a", "b"]});
        assert_eq!(differences(&wanted("command = [\"b\", \"a\"]"), &task(command)), ["command a b → b a"]);
    }

    #[test]
    fn each_difference_is_told_as_a_file_has_it() {
        for (lines, fields, says) in [
            ("", json!({"image": "nginx:0"}), "image nginx:0 → nginx:1"),
            ("cpu = \"1.5\"", json!({"cpu_millis": 500}), "cpu 0.5 → 1.5"),
            ("memory = \"1Gi\"", json!({}), "memory none → 1 GiB"),
            ("", json!({"memory_bytes": 1024}), "memory 1 KiB → none"),
            ("labels = { a = \"1\" }", json!({"labels": {"a": "2"}}), "labels a=2 → a=1"),
            ("restart = \"on-failure:3\"", json!({}), "restart never → on-failure:3"),
            ("stop_grace = \"1.5s\"", json!({}), "stop_grace 10s → 1s 500ms"),
            ("pending_timeout = \"0\"", json!({}), "pending_timeout none → 0s"),
            ("ports = [\"80:80\"]", json!({}), "ports none → 80:80/tcp"),
            ("constraints = { disk = \"ssd\" }", json!({}), "constraints none → disk=ssd"),
            ("env = { A = \"1\", B = \"2\" }", json!({"env": {"B": "secret", "C": "3"}}), "env A, B, C"),
            (
                "env = { A = \"1\" }",
                json!({"env": {"A": "***"}}),
                "env can't be compared, because this token may not see the values: A",
            ),
            ("network = \"none\"", json!({}), "network bridge → none"),
            ("mounts = [\"/srv/x:/x:ro\"]", json!({}), "mounts none → /srv/x:/x:ro"),
            (
                "mounts = [\"/srv/x:/x\"]",
                json!({"mounts": [{"source": "/srv/x", "target": "/x", "read_only": true}]}),
                "mounts /srv/x:/x:ro → /srv/x:/x",
            ),
            ("", json!({"capabilities": ["KILL"]}), "capabilities KILL → none"),
        ] {
            assert_eq!(differences(&wanted(lines), &task(fields)), [says], "{lines}");
        }
    }
}
