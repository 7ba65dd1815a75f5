//! The operator's file that says what tasks may ask for: `--policy FILE`, on the master and on each worker.
//!
//! ```toml
//! images = ["registry.local/team/", "podling/"]   # absent: any image
//! mounts = ["/srv/data"]
//! host_network = true
//! capabilities = ["NET_ADMIN"]
//! ```
//!
//! It is read once, when the server starts. What is wrong with it keeps the server from starting: a policy that is
//! half understood is none. An empty file is the built-in policy.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeValue;

use crate::model::mount::{Capabilities, Capability};
use crate::model::policy::{Policy, Root};
use crate::runtime::toml_text::{FileError, TomlText, in_order};

/// What a file may say.
const KEYS: &str = "images, mounts, host_network and capabilities are what there is";

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Reads the file of that name. Blocks on the disk.
///
/// # Errors
/// `FILE: why`, or `FILE:LINE:COLUMN: why`.
pub fn read(file: &str) -> Result<Policy, String> {
    let unreadable = |error: std::io::Error| format!("{file}: {error}");
    if fs::metadata(file).map_err(unreadable)?.len() > LARGEST {
        return Err(format!("{file}: is larger than {LARGEST} bytes"));
    }
    let text = fs::read_to_string(file).map_err(unreadable)?;
    parse(&text).map_err(|error| format!("{file}:{error}"))
}

/// Reads the file's text. Looks at the roots on the disk, where they are there.
///
/// # Errors
/// Says what is wrong, and where.
pub fn parse(text: &str) -> Result<Policy, FileError> {
    let file = TomlText::new(text);
    let document = file.parse()?;
    let mut policy = Policy::default();
    for (key, value) in in_order(document.get_ref()) {
        let rule = Rule { file, name: key.get_ref(), value };
        match rule.name {
            "images" => policy.images = Some(rule.texts(str::parse)?),
            "mounts" => policy.mounts = rule.texts(root)?,
            "host_network" => policy.host_network = rule.switch()?,
            "capabilities" => policy.capabilities = Capabilities::new(rule.texts(str::parse::<Capability>)?),
            name => return Err(file.refuse(&key.span(), format!("unknown key {name:?}: {KEYS}"))),
        }
    }
    Ok(policy)
}

/// A root must be what it is called: through a symbolic link nothing would ever lie in it.
fn root(text: &str) -> Result<Root, String> {
    let root = Root::from_str(text).map_err(|error| error.to_string())?;
    match fs::canonicalize(text) {
        Ok(real) if real != Path::new(text) => {
            Err(format!("{text:?} is a way to {}: name that instead", real.display()))
        }
        // One that isn't there may come later, or be another machine's.
        Ok(_) | Err(_) => Ok(root),
    }
}

/// A key and its value.
struct Rule<'a, 't, 'i> {
    file: TomlText<'t>,
    name: &'a str,
    value: &'a Spanned<DeValue<'i>>,
}

impl Rule<'_, '_, '_> {
    fn refuse(&self, at: &Spanned<DeValue<'_>>, why: impl fmt::Display) -> FileError {
        self.file.refuse(&at.span(), format!("{}: {why}", self.name))
    }

    fn texts<T, E: fmt::Display>(&self, read: impl Fn(&str) -> Result<T, E>) -> Result<Vec<T>, FileError> {
        let list = self.file.list(self.value, &format!("{}: must be a list: [\"…\"]", self.name))?;
        let one = |value: &Spanned<DeValue<'_>>| {
            let kind = value.get_ref().type_str();
            let text = value.get_ref().as_str();
            let text =
                text.ok_or_else(|| self.refuse(value, format!("must hold texts in quotes, no {kind}")))?;
            read(text).map_err(|why| self.refuse(value, why))
        };
        list.iter().map(one).collect()
    }

    fn switch(&self) -> Result<bool, FileError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.refuse(self.value, "must be true or false"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_built_in_policy() {
        assert_eq!(parse(""), Ok(Policy::default()));
        assert_eq!(parse("mounts = []\ncapabilities = []\nhost_network = false\n"), Ok(Policy::default()));
    }

    #[test]
    fn every_rule_is_read() {
        let policy = parse(
            "images = [\"r.io/team/\", \"podling/\"]\nmounts = [\"/srv/no-such-folder\"]\nhost_network = true\n\
             capabilities = [\"NET_ADMIN\"]\n",
        );
        let policy = policy.unwrap();
        let images: Vec<String> = policy.images.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(images, ["r.io/team/", "podling/"]);
        assert_eq!(policy.mounts[0].path().as_str(), "/srv/no-such-folder");
        assert!(policy.host_network && policy.capabilities.has("NET_ADMIN".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let linked = format!("\nmounts = [\"{}\"]", link.display());
        let linked_says = format!("2:11: mounts: {:?} is a way to", link.display().to_string());
        for (text, says) in [
            ("privileged = true", "1:1: unknown key \"privileged\": images, mounts"),
            ("\n[mounts]\nx = 1", "2:1: mounts: must be a list"),
            ("host_network = \"yes\"", "1:16: host_network: must be true or false"),
            ("host_network = true\nhost_network = true", "2:1: "),
            ("mounts = [\"/srv\", \"data\"]", "1:19: mounts: \"data\" must be an absolute path"),
            ("mounts = [\"/\"]", "1:11: mounts: must not be /"),
            (
                "mounts = [\n  \"/var/run\",\n]",
                "2:3: mounts: \"/var/run\" must not be, hold or be in /var/run",
            ),
            ("mounts = [\"/run\"]", "1:11: mounts: \"/run\" must not be"),
            ("mounts = [1]", "1:11: mounts: must hold texts in quotes, no integer"),
            ("capabilities = [\"ALL\"]", "1:17: capabilities: \"ALL\" is no capability"),
            ("images = [\"\"]", "1:11: images: \"\" is the beginning of no image's name"),
            ("images = \"podling/\"", "1:10: images: must be a list"),
            ("images", "1:7: "),
            (&linked, &linked_says),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_is_named_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        let name = path.display().to_string();
        assert!(read(&name).unwrap_err().starts_with(&format!("{name}: No such file")));
        fs::write(&path, "# ours\nmount = []\n").unwrap();
        assert!(read(&name).unwrap_err().starts_with(&format!("{name}:2:1: unknown key \"mount\"")));
        fs::write(&path, [0xff]).unwrap();
        assert!(read(&name).is_err());
    }
}
