//! How people write the fields of a task, on the command line and in a file: `8080:80/udp`, `on-failure:3`, `5m`.
//!
//! Each function takes a text and gives what the API takes, or says what the text should have been: a fragment that
//! follows the name of the flag or the key. [`contradiction`] is about fields that are each right and don't go
//! together. Nothing here asks the master; what it alone can know, it alone refuses.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::api::wire::millis;
use crate::api::wire::spec::{MAX_COUNT, MountWire, PortWire, RestartWire, TaskRequest};
use crate::model::id::TaskName;
use crate::model::mount::{self, CleanPath, Mount, Mounts};
use crate::model::spec::{LONGEST_WAIT, Labels, PortMapping, Ports, Protocol, Variables};
use crate::model::time::parse_duration;

/// A text that the model takes.
///
/// # Errors
/// As the model.
pub(crate) fn checked<T: FromStr>(text: &str) -> Result<String, T::Err> {
    text.parse::<T>().map(|_| text.to_owned())
}

/// `KEY=VALUE`.
///
/// # Errors
/// There is no `=`, or nothing before it.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| format!("{text:?} must be KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Environment variables.
///
/// # Errors
/// Names the one that no process can have.
pub(crate) fn env(variables: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    Variables::new(variables).map(|checked| checked.as_map().clone()).map_err(|error| error.to_string())
}

/// Labels.
///
/// # Errors
/// Names the one that is reserved, too long, or no text.
pub(crate) fn labels(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    Labels::new(labels).map(|checked| checked.as_map().clone()).map_err(|error| error.to_string())
}

/// Constraints: labels that a node must have, so what can't be a label can't be one.
///
/// # Errors
/// Names the one that no node can meet: its key can be no label's, or it is asked for with two values.
pub(crate) fn constraints(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, String> {
    let mut wanted = BTreeMap::new();
    for (key, value) in pairs {
        if let Some(other) = wanted.insert(key.clone(), value.clone()).filter(|other| *other != value) {
            return Err(format!("no node has both {key}={other} and {key}={value}"));
        }
    }
    labels(wanted)
}

/// `HOST:CONTAINER`, `HOST:CONTAINER/udp`.
///
/// # Errors
/// It is neither.
pub(crate) fn port(text: &str) -> Result<PortWire, String> {
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

/// All published ports of a task.
///
/// # Errors
/// Names the node's port that is asked for twice.
pub(crate) fn ports(ports: Vec<PortWire>) -> Result<Vec<PortWire>, String> {
    let mapping = |port: &PortWire| {
        let protocol = port.protocol.parse()?;
        Ok(PortMapping { host: port.host, container: port.container, protocol })
    };
    let mappings = ports.iter().map(mapping).collect::<Result<Vec<_>, _>>();
    mappings.and_then(Ports::new).map_err(|error| error.to_string())?;
    Ok(ports)
}

/// `SOURCE:TARGET`, `SOURCE:TARGET:ro`. A path with a colon in it can only be said to the API.
///
/// # Errors
/// It is neither, or one of the paths can't be.
pub(crate) fn mount(text: &str) -> Result<MountWire, String> {
    let refuse = || format!("{text:?} must be SOURCE:TARGET or SOURCE:TARGET:ro");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, read_only) = match parts[..] {
        [source, target] | [source, target, "rw"] => (source, target, false),
        [source, target, "ro"] => (source, target, true),
        _ => return Err(refuse()),
    };
    source.parse::<CleanPath>().map_err(|error| format!("the source {error}"))?;
    mount::target(target).map_err(|error| format!("the target {error}"))?;
    Ok(MountWire { source: source.to_owned(), target: target.to_owned(), read_only })
}

/// All mounts of a task.
///
/// # Errors
/// Names the target that is asked for twice; or there are too many.
pub(crate) fn mounts(mounts: Vec<MountWire>) -> Result<Vec<MountWire>, String> {
    let checked = |one: &MountWire| {
        let (source, target) = (one.source.parse()?, mount::target(&one.target)?);
        Ok(Mount { source, target, read_only: one.read_only })
    };
    let all = mounts.iter().map(checked).collect::<Result<Vec<_>, _>>();
    all.and_then(Mounts::new).map_err(|error| error.to_string())?;
    Ok(mounts)
}

/// A network's name.
///
/// # Errors
/// There is no such network.
pub(crate) fn network(text: &str) -> Result<String, String> {
    match text {
        // `host` is the policy's to refuse.
        "bridge" | "none" | "node" | "host" => Ok(text.to_owned()),
        other => Err(format!("{other:?} must be bridge, none, node or host")),
    }
}

/// `never`, `on-failure`, `on-failure:3`, `always`.
///
/// # Errors
/// It is none of them, or has a number where none belongs.
pub(crate) fn restart(text: &str) -> Result<RestartWire, String> {
    let refuse = || format!("{text:?} must be never, on-failure[:N] or always");
    let (policy, max) = text.split_once(':').map_or((text, None), |(policy, max)| (policy, Some(max)));
    if !matches!(policy, "never" | "on-failure" | "always") {
        return Err(refuse());
    }
    let max = match (policy, max) {
        (_, None) => None,
        ("on-failure", Some(max)) => match max.parse::<u32>() {
            Ok(0) => return Err(format!("{text:?} would never try again: that is never")),
            Ok(max) => Some(max),
            Err(_) => return Err(refuse()),
        },
        (policy, Some(_)) => {
            return Err(format!("{text:?}: {policy} takes no number, on-failure:N alone does"));
        }
    };
    Ok(RestartWire { policy: policy.to_owned(), max })
}

/// What becomes of a task whose node is lost.
///
/// # Errors
/// It is neither of the two.
pub(crate) fn on_node_lost(text: &str) -> Result<String, String> {
    match text {
        "fail" | "reschedule" => Ok(text.to_owned()),
        other => Err(format!("{other:?} must be fail or reschedule")),
    }
}

/// A length of time that a task may be given, in milliseconds.
///
/// # Errors
/// It is none, or longer than a year.
pub(crate) fn wait_ms(text: &str) -> Result<u64, String> {
    let wait = parse_duration(text).map_err(|error| error.to_string())?;
    if wait > LONGEST_WAIT { Err("must be a year at most".to_owned()) } else { Ok(millis(wait)) }
}

/// How many equals.
///
/// # Errors
/// It is no number from 1 to the largest.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| (1..=MAX_COUNT).contains(count));
    count.ok_or_else(|| format!("{text:?} must be 1 to {MAX_COUNT}"))
}

/// `NAME-3`: the name of one of several equals.
pub(crate) fn numbered(name: &str, index: u32) -> String {
    format!("{name}-{index}")
}

/// A field that doesn't go with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clash {
    /// Published ports, and a network that has none.
    Ports,
    /// So many equals that the last one's name is too long.
    Count,
}

/// Finds two fields that don't go together, and says why the first one can't be.
pub(crate) fn contradiction(request: &TaskRequest) -> Option<(Clash, String)> {
    let network = request.network.as_deref().filter(|network| matches!(*network, "none" | "node" | "host"));
    if let Some(network) = network.filter(|_| request.ports.is_some()) {
        return Some((Clash::Ports, format!("the network {network} has no ports to publish")));
    }
    let last = numbered(&request.name, request.count?.saturating_sub(1));
    let too_long = last.parse::<TaskName>().err()?;
    Some((Clash::Count, format!("the last one's name, {last:?}, {too_long}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies_mean_one_thing() {
        let read = |text: &str| restart(text).map(|wire| (wire.policy, wire.max));
        assert_eq!(read("never"), Ok(("never".to_owned(), None)));
        assert_eq!(read("on-failure"), Ok(("on-failure".to_owned(), None)));
        assert_eq!(read("on-failure:3"), Ok(("on-failure".to_owned(), Some(3))));
        assert_eq!(read("always"), Ok(("always".to_owned(), None)));
        for (bad, says) in [
            ("often", "\"often\" must be never, on-failure[:N] or always"),
            ("on-failure:", "\"on-failure:\" must be never, on-failure[:N] or always"),
            ("on-failure:-1", "\"on-failure:-1\" must be"),
            ("on-failure:0", "\"on-failure:0\" would never try again: that is never"),
            ("never:3", "\"never:3\": never takes no number"),
            ("always:3", "\"always:3\": always takes no number"),
        ] {
            let error = read(bad).expect_err(bad);
            assert!(error.starts_with(says), "{bad}: {error}");
        }
    }

    #[test]
    fn a_constraint_that_no_node_can_meet_is_refused() {
        let pairs = |texts: &[&str]| texts.iter().map(|text| pair(text).unwrap()).collect::<Vec<_>>();
        assert_eq!(constraints(pairs(&["disk=ssd", "disk=ssd", "zone="])).unwrap().len(), 2);
        let error = constraints(pairs(&["disk=ssd", "disk=hdd"])).expect_err("both");
        assert_eq!(error, "no node has both disk=ssd and disk=hdd");
        assert!(constraints(pairs(&["podling.node=a"])).is_err());
    }

    #[test]
    fn a_port_of_the_node_is_published_once() {
        let read = |texts: &[&str]| ports(texts.iter().map(|text| port(text).unwrap()).collect());
        assert!(read(&["53:53", "53:53/udp"]).is_ok());
        assert_eq!(read(&["80:80", "80:81"]), Err("host port 80/tcp is asked for twice".to_owned()));
    }

    #[test]
    fn a_mount_has_two_paths_and_may_be_read_only() {
        let read = |text: &str| mount(text).map(|one| (one.source, one.target, one.read_only));
        let is = |read_only| Ok(("/srv/x".to_owned(), "/data".to_owned(), read_only));
        assert_eq!(read("/srv/x:/data"), is(false));
        assert_eq!(read("/srv/x:/data:rw"), is(false));
        assert_eq!(read("/srv/x:/data:ro"), is(true));
        for (bad, says) in [
            ("/srv/x", "\"/srv/x\" must be SOURCE:TARGET"),
            ("/srv/x:/data:ro:z", "\"/srv/x:/data:ro:z\" must be"),
            ("/srv/x:/data:z", "\"/srv/x:/data:z\" must be"),
            ("data:/data", "the source \"data\" must be an absolute path"),
            ("/srv/../x:/data", "the source \"/srv/../x\" must not hold . or .."),
            ("/srv/x:/proc/1", "the target \"/proc/1\" must not be /proc"),
            ("/srv/x:/", "the target must not be /"),
        ] {
            let error = mount(bad).expect_err(bad);
            assert!(error.starts_with(says), "{bad}: {error}");
        }
        let twice = mounts(["/a:/t", "/b:/t"].map(|text| mount(text).unwrap()).to_vec());
        assert_eq!(twice, Err("the target \"/t\" is asked for twice".to_owned()));
    }

    #[test]
    fn fields_that_do_not_go_together() {
        let ports = Some(vec![port("80:80").unwrap()]);
        let request = |network: &str| TaskRequest {
            name: "web".to_owned(),
            network: Some(network.to_owned()),
            ports: ports.clone(),
            ..TaskRequest::default()
        };
        assert_eq!(contradiction(&request("bridge")), None);
        for network in ["none", "node", "host"] {
            assert_eq!(contradiction(&request(network)).unwrap().0, Clash::Ports);
        }
        let counted = |letters: usize, count| TaskRequest {
            name: "n".repeat(letters),
            count: Some(count),
            ..TaskRequest::default()
        };
        assert_eq!(contradiction(&counted(61, 10)), None);
        assert_eq!(contradiction(&counted(61, 11)).unwrap().0, Clash::Count);
    }
}
