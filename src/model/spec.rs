//! What a user may ask for: the specification of a task, checked field by field as it is built.
//!
//! A [`TaskSpec`] says how a container is to be made and nothing about where or when. Tasks of one batch share
//! one. Every rule about a single value is a constructor here; what names the offending field is the caller, who
//! knows what it is called on the wire.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::mount::{Capabilities, Mounts};
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::restart::Restart;

/// Longest `stop_grace` and longest `pending_timeout` that a user may ask for: a year.
pub const LONGEST_WAIT: Duration = Duration::from_secs(365 * 86_400);

/// How long a container may take to end after TERM where nobody said otherwise.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(10);

/// Label keys that begin so are Podling's own.
pub const RESERVED_LABEL_PREFIX: &str = "podling.";

/// Why a value can't be part of a spec. `Display` is a fragment that follows the field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError(String);

impl SpecError {
    pub(in crate::model) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpecError {}

/// How a task's container is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// The image to run.
    pub image: ImageRef,
    /// Replaces the image's command; empty keeps it.
    pub command: Vec<String>,
    /// Environment variables, besides the image's own.
    pub env: Variables,
    /// Labels, for people and filters.
    pub labels: Labels,
    /// Ports published on the node.
    pub ports: Ports,
    /// CPU limit. None: no limit.
    pub cpu: Option<CpuMillis>,
    /// Memory limit. None: no limit.
    pub memory: Option<MemoryBytes>,
    /// Which network the container gets.
    pub network: Network,
    /// What of the node is mounted in the container.
    pub mounts: Mounts,
    /// What the container may do beyond the Engine's own set of capabilities.
    pub capabilities: Capabilities,
    /// When the image is pulled.
    pub pull: PullPolicy,
    /// The user that the command runs as; None: the image's.
    pub user: Option<UserName>,
    /// The folder that the command starts in; None: the image's.
    pub workdir: Option<WorkDir>,
    /// Labels that its node must have.
    pub constraints: Labels,
    /// After which ends it is tried again.
    pub restart: Restart,
    /// How long the task may wait for a node. None: the master's setting. Zero: for ever.
    pub pending_timeout: Option<Duration>,
    /// What becomes of the task when its node is lost.
    pub on_node_lost: OnNodeLost,
    /// Between TERM and KILL when it is stopped.
    pub stop_grace: Duration,
}

impl TaskSpec {
    /// What an image alone stands for: its own command, nothing published, no limits, every default.
    pub fn of_image(image: ImageRef) -> Self {
        Self {
            image,
            command: Vec::new(),
            env: Variables::default(),
            labels: Labels::default(),
            ports: Ports::default(),
            cpu: None,
            memory: None,
            network: Network::default(),
            mounts: Mounts::default(),
            capabilities: Capabilities::default(),
            pull: PullPolicy::default(),
            user: None,
            workdir: None,
            constraints: Labels::default(),
            restart: Restart::NEVER,
            pending_timeout: None,
            on_node_lost: OnNodeLost::default(),
            stop_grace: DEFAULT_STOP_GRACE,
        }
    }
}

/// An image's name with an optional tag and digest, as the Engine reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef(String);

impl ImageRef {
    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImageRef {
    type Err = SpecError;

    /// The grammar of the Docker Engine: `[host[:port]/]path[:tag][@digest]`, lower-case path.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let refuse = |why: &str| Err(SpecError::new(format!("{text:?} is not an image reference: {why}")));
        if text.is_empty() {
            return Err(SpecError::new("must not be empty"));
        }
        if text.len() > 512 {
            return Err(SpecError::new("must not be longer than 512 bytes"));
        }
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return refuse("the digest must look like sha256:<hex>");
        }
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match rest[name_start..].find(':') {
            Some(colon) => (&rest[..name_start + colon], Some(&rest[name_start + colon + 1..])),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return refuse("the tag may hold letters, digits, '_', '.' and '-'");
        }
        let mut components: Vec<&str> = repository.split('/').collect();
        if components.len() > 1 && is_registry_host(components[0]) {
            components.remove(0);
        }
        if components.iter().all(|component| is_path_component(component)) {
            Ok(Self(text.to_owned()))
        } else {
            refuse("its path may hold lower-case letters and digits, with '.', '_' and '-' between them")
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm.bytes().all(|b| b.is_ascii_alphanumeric())
            && hex.len() >= 32
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A first component with a dot or a port, or `localhost`, is a registry's host and not part of the path.
fn is_registry_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let host_is_sound = !host.is_empty()
        && !host.starts_with(['-', '.'])
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    // A sign is read as part of a number, and is none of a port.
    let port_is_sound = port.is_none_or(|port| !port.starts_with('+') && port.parse::<u16>().is_ok());
    host_is_sound && port_is_sound && (port.is_some() || host.contains('.') || host == "localhost")
}

fn is_path_component(text: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (first, last) = (text.bytes().next(), text.bytes().last());
    first.is_some_and(edge)
        && last.is_some_and(edge)
        && text.bytes().all(|b| edge(b) || matches!(b, b'.' | b'_' | b'-'))
}

/// Environment variables, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Checks every name and value.
    ///
    /// # Errors
    /// Names the variable that is empty, or holds `=` or NUL.
    pub fn new(variables: BTreeMap<String, String>) -> Result<Self, SpecError> {
        for (key, value) in &variables {
            if key.is_empty() {
                return Err(SpecError::new("a variable's name must not be empty"));
            }
            if key.contains(['=', '\0']) {
                return Err(SpecError::new(format!("the name {key:?} must not hold '=' or NUL")));
            }
            if value.contains('\0') {
                return Err(SpecError::new(format!("the value of {key:?} must not hold NUL")));
            }
        }
        Ok(Self(variables))
    }

    /// The variables by name.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// Labels, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Checks every key and value.
    ///
    /// # Errors
    /// Names the label that is empty, too long, reserved, or holds control characters.
    pub fn new(labels: BTreeMap<String, String>) -> Result<Self, SpecError> {
        for (key, value) in &labels {
            if key.is_empty() || key.len() > 255 || key.contains('=') {
                return Err(SpecError::new(format!("the key {key:?} must be 1 to 255 bytes without '='")));
            }
            if key.starts_with(RESERVED_LABEL_PREFIX) {
                return Err(SpecError::new(format!(
                    "{key:?}: keys beginning {RESERVED_LABEL_PREFIX} are reserved"
                )));
            }
            if value.len() > 4096 || key.chars().chain(value.chars()).any(char::is_control) {
                return Err(SpecError::new(format!("{key:?} must be text of at most 4096 bytes")));
            }
        }
        Ok(Self(labels))
    }

    /// The labels by key.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether a label is there with that value.
    pub fn has(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_some_and(|held| held == value)
    }
}

/// The transport of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The word for it, as on the wire and at the Engine.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl FromStr for Protocol {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            other => Err(SpecError::new(format!("{other:?} must be tcp or udp"))),
        }
    }
}

/// A port of the container, published on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortMapping {
    /// The node's port, 1 to 65535.
    pub host: u16,
    /// The container's port, 1 to 65535.
    pub container: u16,
    /// The transport.
    pub protocol: Protocol,
}

/// Published ports: no port is zero, none is taken twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<PortMapping>);

impl Ports {
    /// Checks the whole list.
    ///
    /// # Errors
    /// Names the port that is zero or asked for twice.
    pub fn new(ports: Vec<PortMapping>) -> Result<Self, SpecError> {
        let mut taken = HashSet::new();
        for port in &ports {
            if port.host == 0 || port.container == 0 {
                return Err(SpecError::new("a port must be 1 to 65535"));
            }
            if !taken.insert((port.host, port.protocol)) {
                let (host, protocol) = (port.host, port.protocol.as_str());
                return Err(SpecError::new(format!("host port {host}/{protocol} is asked for twice")));
            }
        }
        Ok(Self(ports))
    }

    /// The mappings, in the user's order.
    pub fn as_slice(&self) -> &[PortMapping] {
        &self.0
    }
}

/// Which network a container gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// The Engine's bridge.
    #[default]
    Bridge,
    /// Loopback alone.
    None,
    /// The node's own: every address and port of it.
    Host,
}

impl Network {
    /// The word for it, as on the wire and at the Engine.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PullPolicy {
    /// Only where the node doesn't have it.
    #[default]
    Missing,
    /// Before every attempt.
    Always,
    /// Never: a missing image fails the attempt.
    Never,
}

impl PullPolicy {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl FromStr for PullPolicy {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "missing" => Ok(Self::Missing),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => Err(SpecError::new(format!("{other:?} must be missing, always or never"))),
        }
    }
}

/// What becomes of a task when its node is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnNodeLost {
    /// It has failed, and never runs a second time.
    #[default]
    Fail,
    /// It is tried again elsewhere. Its container runs under a lease, which ends it before another one is started.
    Reschedule,
}

impl OnNodeLost {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Reschedule => "reschedule",
        }
    }

    /// Whether the task's container runs under its node's lease.
    pub const fn is_leased(self) -> bool {
        matches!(self, Self::Reschedule)
    }
}

impl FromStr for OnNodeLost {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "fail" => Ok(Self::Fail),
            "reschedule" => Ok(Self::Reschedule),
            other => Err(SpecError::new(format!("{other:?} must be fail or reschedule"))),
        }
    }
}

/// A user, or user and group, by name or number: `1000`, `nobody`, `1000:1000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

impl UserName {
    /// The user as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let sound = |part: &str| {
            (1..=64).contains(&part.len())
                && !part.starts_with('-')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if text.splitn(2, ':').all(sound) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SpecError::new(format!("{text:?} must be USER or USER:GROUP")))
        }
    }
}

/// An absolute path inside the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkDir(String);

impl WorkDir {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkDir {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if text.starts_with('/') && text.len() <= 4096 && !text.contains('\0') {
            Ok(Self(text.to_owned()))
        } else {
            Err(SpecError::new(format!("{text:?} must be an absolute path")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_are_the_engines() {
        let digest = format!("busybox@sha256:{}", "a".repeat(64));
        for good in
            ["busybox", "podling/busybox:latest", "127.0.0.1:5055/a/b:1", "localhost/x", "r.io/a__b", &digest]
        {
            assert!(good.parse::<ImageRef>().is_ok(), "{good}");
        }
        for bad in
            ["", " busybox", "-v", "a b", "Busybox", "a//b", "a:", "a:b c", "a@sha256:x", "../x", "a\0", "a/"]
        {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variables_and_labels_refuse_what_would_change_their_meaning() {
        let map = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
        assert!(Variables::new(map("A", "b=c\nd")).is_ok());
        for (key, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
            assert!(Variables::new(map(key, value)).is_err(), "{key:?}={value:?}");
        }
        assert!(Labels::new(map("team", "a b")).is_ok());
        for (key, value) in [("", "x"), ("podling.task", "x"), ("a=b", "x"), ("a", "x\n")] {
            assert!(Labels::new(map(key, value)).is_err(), "{key:?}={value:?}");
        }
    }

    #[test]
    fn a_host_port_is_taken_once_per_protocol() {
        let port = |host, protocol| PortMapping { host, container: 80, protocol };
        assert!(Ports::new(vec![port(80, Protocol::Tcp), port(80, Protocol::Udp)]).is_ok());
        assert!(Ports::new(vec![port(80, Protocol::Tcp), port(80, Protocol::Tcp)]).is_err());
        assert!(Ports::new(vec![port(0, Protocol::Tcp)]).is_err());
    }

    #[test]
    fn users_and_folders() {
        for good in ["0", "nobody", "1000:1000", "www-data"] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", ":", "a:", "-x", "a b", "a:b:c"] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
        assert!("/srv/app".parse::<WorkDir>().is_ok());
        assert!("srv".parse::<WorkDir>().is_err());
    }
}
