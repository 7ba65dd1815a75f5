//! What tasks may ask for of a node's own: which images, folders, capabilities, and its network.
//!
//! Main type: [`Policy`]. The built-in one denies by default: any image, nothing of the node. An operator's file
//! allows more, on the master and on each worker by itself. The master refuses a task by it before the task exists; a
//! worker refuses the container, because it takes nobody's word for what a master has allowed.
//!
//! Pure: paths are compared as text. The worker resolves them first, and asks again with what they are
//! ([`Policy::allows_source`]). Deliberately absent: who asks. A policy is the same for every token.

use std::fmt;
use std::str::FromStr;

use crate::model::mount::{Capabilities, CleanPath};
use crate::model::spec::{ImageRef, Network, SpecError, TaskSpec};

/// What is never a task's, whatever a file says: the kernel's folders, and those of the Docker Engine and its socket.
const NEVER: &[&str] =
    &["/proc", "/sys", "/dev", "/run", "/var/run", "/var/lib/docker", "/var/lib/containerd"];

/// What tasks may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How the name of an image must begin. None: any image.
    pub images: Option<Vec<ImagePrefix>>,
    /// In which folders of the node that which is mounted must lie.
    pub mounts: Vec<Root>,
    /// Whether a task may have the network of the node.
    pub host_network: bool,
    /// Which capabilities a task may have beyond the Engine's own set.
    pub capabilities: Capabilities,
}

/// What a policy doesn't allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field of the task, as a path: `mounts[0].source`.
    pub field: String,
    /// What is refused, and by which rule: a fragment that follows the field's name.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

impl std::error::Error for Refusal {}

impl Policy {
    /// Whether a task may be as it asks to be.
    ///
    /// # Errors
    /// The first of its fields that the policy doesn't allow.
    pub fn check(&self, spec: &TaskSpec) -> Result<(), Refusal> {
        self.allows_image(&spec.image)?;
        if spec.network == Network::Host && !self.host_network {
            return Err(refuse("network", "host", "host_network", "it isn't allowed"));
        }
        for (index, mount) in spec.mounts.as_slice().iter().enumerate() {
            self.allows_source(index, &mount.source)?;
        }
        let denied = spec.capabilities.iter().enumerate().find(|(_, one)| !self.capabilities.has(*one));
        match denied {
            Some((index, one)) => {
                let field = format!("capabilities[{index}]");
                Err(refuse(field, one.as_str(), "capabilities", "it isn't among those that are allowed"))
            }
            None => Ok(()),
        }
    }

    /// Whether an image may be had.
    ///
    /// # Errors
    /// Its name begins with none of the prefixes.
    pub fn allows_image(&self, image: &ImageRef) -> Result<(), Refusal> {
        match &self.images {
            Some(prefixes) if !prefixes.iter().any(|prefix| prefix.fits(image)) => {
                let why = format!("it begins with none of {}", list(prefixes));
                Err(refuse("image", image.as_str(), "images", &why))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether this may be the source of the mount of that number.
    ///
    /// # Errors
    /// It lies in none of the roots, or in what is never a task's.
    pub fn allows_source(&self, index: usize, source: &CleanPath) -> Result<(), Refusal> {
        let field = format!("mounts[{index}].source");
        let refuse = |why: &str| Err(refuse(field, source.as_str(), "mounts", why));
        if self.mounts.is_empty() {
            return refuse("no mount is allowed");
        }
        if let Some(never) = NEVER.iter().find(|never| overlaps(source, never)) {
            return refuse(&format!("{never} is never a task's"));
        }
        if self.mounts.iter().any(|root| source.is_within(root.0.as_str())) {
            Ok(())
        } else {
            refuse(&format!("it lies in none of {}", list(&self.mounts)))
        }
    }
}

/// Whether one of two paths holds the other.
fn overlaps(path: &CleanPath, other: &str) -> bool {
    let holds = other.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'));
    path.is_within(other) || path.as_str() == "/" || holds
}

fn refuse(field: impl Into<String>, what: &str, rule: &str, why: &str) -> Refusal {
    Refusal { field: field.into(), why: format!("the policy's rule {rule} refuses {what:?}: {why}") }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    if items.is_empty() { "no allowed ones".to_owned() } else { items.join(", ") }
}

/// A folder of the node in which that which is mounted must lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(CleanPath);

impl Root {
    /// The folder.
    pub const fn path(&self) -> &CleanPath {
        &self.0
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Root {
    type Err = SpecError;

    /// Any folder but those that give the node away: `/`, the kernel's, the Engine's, and what holds or is in one.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let path: CleanPath = text.parse()?;
        if path.as_str() == "/" {
            return Err(SpecError::new("must not be /: that is the whole node"));
        }
        match NEVER.iter().find(|never| overlaps(&path, never)) {
            Some(never) => {
                let why = format!("{text:?} must not be, hold or be in {never}: whoever has it has the node");
                Err(SpecError::new(why))
            }
            None => Ok(Self(path)),
        }
    }
}

/// How the name of an image begins. It ends where a part of the name does: `registry.local/team` is no beginning of
/// `registry.local/team2/x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePrefix(String);

impl ImagePrefix {
    /// Whether an image begins so. Names are compared as they are written: `nginx` isn't `docker.io/library/nginx`.
    pub fn fits(&self, image: &ImageRef) -> bool {
        let rest = image.as_str().strip_prefix(&self.0);
        rest.is_some_and(|rest| rest.is_empty() || self.0.ends_with('/') || rest.starts_with(['/', ':', '@']))
    }
}

impl fmt::Display for ImagePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImagePrefix {
    type Err = SpecError;

    /// An image's name, or what stands before a `/` in it, with that.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        // Whatever may follow is a name that makes an image of it.
        let whole = if text.ends_with('/') { format!("{text}x") } else { text.to_owned() };
        whole.parse::<ImageRef>().map(|_| Self(text.to_owned())).map_err(|_| {
            SpecError::new(format!(
                "{text:?} is the beginning of no image's name: podling/, nginx, r.io/team/"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mount::{Mount, Mounts, target};

    fn spec() -> TaskSpec {
        TaskSpec::of_image("podling/busybox:latest".parse().unwrap())
    }

    fn mounting(sources: &[&str]) -> TaskSpec {
        let mount = |(number, source): (usize, &&str)| Mount {
            source: source.parse().unwrap(),
            target: target(&format!("/t{number}")).unwrap(),
            read_only: true,
        };
        let mounts = Mounts::new(sources.iter().enumerate().map(mount).collect()).unwrap();
        TaskSpec { mounts, ..spec() }
    }

    fn capable(names: &[&str]) -> TaskSpec {
        let capabilities = Capabilities::new(names.iter().map(|name| name.parse().unwrap()));
        TaskSpec { capabilities, ..spec() }
    }

    fn of_image(image: &str) -> TaskSpec {
        TaskSpec::of_image(image.parse().unwrap())
    }

    #[track_caller]
    fn refused(policy: &Policy, spec: &TaskSpec) -> String {
        policy.check(spec).unwrap_err().to_string()
    }

    #[test]
    fn nothing_of_the_node_is_allowed_by_default() {
        let policy = Policy::default();
        assert_eq!(policy.check(&of_image("anybody.example/x:1")), Ok(()));
        for (spec, says) in [
            (
                TaskSpec { network: Network::Host, ..spec() },
                "network: the policy's rule host_network refuses \"host\"",
            ),
            (mounting(&["/srv"]), "mounts[0].source: the policy's rule mounts refuses \"/srv\""),
            (
                capable(&["NET_BIND_SERVICE"]),
                "capabilities[0]: the policy's rule capabilities refuses \"NET_BIND_SERVICE\"",
            ),
        ] {
            let text = refused(&policy, &spec);
            assert!(text.starts_with(says), "{text}");
        }
    }

    #[test]
    fn each_rule_allows_what_it_names_and_not_one_more() {
        let host = Policy { host_network: true, ..Policy::default() };
        assert_eq!(host.check(&TaskSpec { network: Network::Host, ..spec() }), Ok(()));
        assert!(host.check(&mounting(&["/srv"])).is_err());
        let capabilities = capable(&["NET_ADMIN"]).capabilities;
        let capable_policy = Policy { capabilities, ..Policy::default() };
        assert_eq!(capable_policy.check(&capable(&["NET_ADMIN"])), Ok(()));
        assert!(
            refused(&capable_policy, &capable(&["NET_ADMIN", "SYS_ADMIN"])).starts_with("capabilities[1]: ")
        );
        let roots = Policy { mounts: vec!["/srv/data".parse().unwrap()], ..Policy::default() };
        assert_eq!(roots.check(&mounting(&["/srv/data", "/srv/data/x"])), Ok(()));
        let outside = refused(&roots, &mounting(&["/srv/data/x", "/srv/database"]));
        assert!(outside.starts_with("mounts[1].source: "), "{outside}");
        assert!(outside.ends_with("it lies in none of /srv/data"), "{outside}");
        assert!(roots.check(&mounting(&["/srv"])).is_err());
        assert!(roots.check(&mounting(&["/"])).is_err());
    }

    #[test]
    fn images_begin_as_they_must_by_whole_parts() {
        let images = |prefixes: &[&str]| {
            let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
            Policy { images: Some(prefixes), ..Policy::default() }
        };
        for (prefix, image, fits) in [
            ("podling/", "podling/busybox:latest", true),
            ("podling/", "podling2/busybox", false),
            ("podling/", "evil.example/podling/busybox", false),
            ("r.io/team", "r.io/team/x", true),
            ("r.io/team", "r.io/team2/x", false),
            ("r.io", "r.io.evil.example/x", false),
            ("nginx", "nginx", true),
            ("nginx", "nginx:1", true),
            ("nginx", "nginx-evil", false),
            ("nginx:1", "nginx:1", true),
            ("nginx:1", "nginx:12", false),
            ("nginx", "docker.io/library/nginx", false),
        ] {
            let checked = images(&[prefix]).check(&of_image(image));
            assert_eq!(checked.is_ok(), fits, "{prefix} for {image}: {checked:?}");
        }
        assert_eq!(images(&["a/", "b/"]).check(&of_image("b/x")), Ok(()));
        assert!(images(&[]).check(&spec()).is_err(), "an empty list allows none");
        for bad in ["", "/", "a b", "A/", "-v", "a//", "a\0"] {
            assert!(bad.parse::<ImagePrefix>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_root_gives_the_node_away() {
        for good in ["/srv", "/srv/data", "/var/lib/podling", "/home/ada", "/runs", "/var/lib/dockers"] {
            assert!(good.parse::<Root>().is_ok(), "{good}");
        }
        for bad in [
            "/",
            "srv",
            "",
            "/srv/",
            "/srv/../etc",
            "/run",
            "/var/run",
            "/var/run/docker.sock",
            "/run/docker.sock",
            "/var",
            "/var/lib",
            "/var/lib/docker",
            "/var/lib/docker/volumes",
            "/proc",
            "/sys/fs",
            "/dev/shm",
        ] {
            assert!(bad.parse::<Root>().is_err(), "{bad}");
        }
    }
}
