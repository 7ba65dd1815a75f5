//! What a container may get of its node: folders and files mounted into it, and capabilities of the kernel.
//!
//! Main types: [`CleanPath`], [`Mounts`], [`Capabilities`]. All are checked as text alone: whether a path is there,
//! and where its symbolic links lead, only the node can say. Whether a task may have any of it is for
//! [`crate::model::policy`] to say.
//!
//! Invariant: a [`CleanPath`] is absolute and has one spelling: no `.`, no `..`, no empty part, no control character.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::model::spec::SpecError;

/// The longest path, as the kernel has it.
const LONGEST_PATH: usize = 4095;

/// The longest part of a path, as most file systems have it.
const LONGEST_PART: usize = 255;

/// The most mounts that a task may ask for.
pub const MOST_MOUNTS: usize = 32;

/// What nothing may be mounted on in a container: the kernel's own, and what secrets will be.
const TAKEN_TARGETS: &[&str] = &["/proc", "/sys", "/dev", "/run/secrets", "/var/run/secrets"];

/// An absolute path in its one clean spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CleanPath(String);

impl CleanPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that folder, or lies in it. Compares whole parts: `/srv/database` isn't in `/srv/data`.
    ///
    /// ```
    /// use podling::model::mount::CleanPath;
    ///
    /// let path: CleanPath = "/srv/data/x".parse().unwrap();
    /// assert!(path.is_within("/srv/data"));
    /// assert!(!path.is_within("/srv/dat"));
    /// ```
    pub fn is_within(&self, folder: &str) -> bool {
        let rest = self.0.strip_prefix(folder);
        folder == "/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for CleanPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CleanPath {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if text.len() > LONGEST_PATH {
            return Err(SpecError::new(format!("must not be longer than {LONGEST_PATH} bytes")));
        }
        let refuse = |why: &str| Err(SpecError::new(format!("{text:?} {why}")));
        let Some(parts) = text.strip_prefix('/') else { return refuse("must be an absolute path") };
        if text.chars().any(char::is_control) {
            return refuse("must not hold control characters");
        }
        if parts.is_empty() {
            return Ok(Self(text.to_owned()));
        }
        for part in parts.split('/') {
            match part {
                "" => return refuse("must not hold // or end in /"),
                "." | ".." => return refuse("must not hold . or .. as a part"),
                part if part.len() > LONGEST_PART => {
                    return refuse(&format!("must not hold a part longer than {LONGEST_PART} bytes"));
                }
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

/// Where in a container something is mounted.
///
/// # Errors
/// It is no clean path, or one that isn't a task's to cover.
pub fn target(text: &str) -> Result<CleanPath, SpecError> {
    let path: CleanPath = text.parse()?;
    if path.as_str() == "/" {
        return Err(SpecError::new("must not be /"));
    }
    match TAKEN_TARGETS.iter().find(|taken| path.is_within(taken)) {
        Some(taken) => Err(SpecError::new(format!("{text:?} must not be {taken}, nor in it"))),
        None => Ok(path),
    }
}

/// A folder or file of the node, as a container sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mount {
    /// The folder or file of the node. It must be there; nobody makes it.
    pub source: CleanPath,
    /// Where the container finds it.
    pub target: CleanPath,
    /// Whether the container may not write to it.
    pub read_only: bool,
}

/// Mounts: not too many, and none hides another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Checks the whole list.
    ///
    /// # Errors
    /// Names the target that is asked for twice; or there are too many.
    pub fn new(mounts: Vec<Mount>) -> Result<Self, SpecError> {
        if mounts.len() > MOST_MOUNTS {
            return Err(SpecError::new(format!("must be {MOST_MOUNTS} at most")));
        }
        let mut taken = BTreeSet::new();
        if let Some(twice) = mounts.iter().find(|mount| !taken.insert(&mount.target)) {
            return Err(SpecError::new(format!("the target {:?} is asked for twice", twice.target.as_str())));
        }
        Ok(Self(mounts))
    }

    /// The mounts, in the user's order.
    pub fn as_slice(&self) -> &[Mount] {
        &self.0
    }
}

/// A capability of the kernel, by its name without `CAP_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(&'static str);

/// All that there are (capabilities(7)).
const CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

impl Capability {
    /// The name, as the Engine has it.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for Capability {
    type Err = SpecError;

    /// One by its name alone. There is no word for all of them.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let known = CAPABILITIES.iter().find(|name| **name == text);
        known.map(|name| Self(name)).ok_or_else(|| {
            SpecError::new(format!("{text:?} is no capability: they are called as NET_ADMIN, without CAP_"))
        })
    }
}

/// Capabilities, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(BTreeSet<Capability>);

impl Capabilities {
    /// All of these.
    pub fn new(names: impl IntoIterator<Item = Capability>) -> Self {
        Self(names.into_iter().collect())
    }

    /// By name, in order.
    pub fn iter(&self) -> impl Iterator<Item = Capability> {
        self.0.iter().copied()
    }

    /// Whether one is among them.
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(&capability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> CleanPath {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_has_one_spelling() {
        let part = |length: usize| format!("/{}", "a".repeat(length));
        let long = part(255).repeat(16);
        assert_eq!(long.len(), 4096);
        for good in ["/", "/srv", "/srv/data/x y", "/a/..b/.c", "/ä", &part(255), &long[..4095]] {
            assert!(good.parse::<CleanPath>().is_ok(), "{good}");
        }
        for bad in [
            "", "srv", "//", "/srv/", "//srv", "/a//b", "/.", "/a/..", "/../a", "/a/./b", "/a\0", "/a\nb",
            "/\x7f",
        ] {
            assert!(bad.parse::<CleanPath>().is_err(), "{bad:?}");
        }
        assert!(part(256).parse::<CleanPath>().is_err());
        assert!(long.parse::<CleanPath>().is_err());
    }

    #[test]
    fn a_path_lies_in_a_folder_by_whole_parts() {
        for (inner, outer, lies) in [
            ("/srv/data", "/srv/data", true),
            ("/srv/data/x", "/srv/data", true),
            ("/srv/database", "/srv/data", false),
            ("/srv", "/srv/data", false),
            ("/srv", "/", true),
        ] {
            assert_eq!(path(inner).is_within(outer), lies, "{inner} in {outer}");
        }
    }

    #[test]
    fn what_is_the_kernels_is_no_target() {
        for good in ["/data", "/run", "/devices", "/procs/x", "/run/secrets2", "/etc/passwd"] {
            assert!(target(good).is_ok(), "{good}");
        }
        for bad in ["/", "/proc", "/proc/1", "/sys/fs", "/dev", "/dev/sda", "/run/secrets", "/run/secrets/x"]
        {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_taken_once_and_there_are_not_too_many() {
        let mount = |number: usize| Mount {
            source: path("/srv"),
            target: path(&format!("/t{number}")),
            read_only: false,
        };
        assert!(Mounts::new((0..MOST_MOUNTS).map(mount).collect()).is_ok());
        assert!(Mounts::new((0..=MOST_MOUNTS).map(mount).collect()).is_err());
        let twice = Mounts::new(vec![mount(1), mount(1)]).unwrap_err().to_string();
        assert_eq!(twice, "the target \"/t1\" is asked for twice");
    }

    #[test]
    fn capabilities_have_one_name() {
        assert!("NET_BIND_SERVICE".parse::<Capability>().is_ok());
        for bad in ["", "ALL", "all", "net_admin", "CAP_NET_ADMIN", "NET_ADMIN ", "NET_ADMIN\0", "ROOT"] {
            assert!(bad.parse::<Capability>().is_err(), "{bad:?}");
        }
        assert!(CAPABILITIES.is_sorted());
    }
}
