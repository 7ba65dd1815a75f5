//! What this node got when it joined: a token, with which it speaks for itself, and the key by which it knows the master.
//!
//! Both are kept in the data folder, each in a file of its own that is the owner's alone. What a node joins with, a join
//! word or somebody's token, is read from its file when it is needed, and is not kept.
//!
//! Order: the key is written before the token. Where only one of them is there, the node joins again.

use std::path::{Path, PathBuf};

use crate::model::token::{NodeKey, Shown};
use crate::runtime::data_dir::{DataDir, DataDirError};
use crate::runtime::token_file;

const TOKEN_FILE: &str = "node.token";
const KEY_FILE: &str = "node.key";

/// What this node got when it joined.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// A secret.
    pub(super) token: String,
    /// A secret, too.
    pub(super) key: NodeKey,
}

impl Credentials {
    /// Reads what an earlier start kept. None: the node never joined.
    ///
    /// # Errors
    /// A file can't be read, others may read it, or it makes no sense.
    pub(super) fn read(folder: &DataDir) -> Result<Option<Self>, DataDirError> {
        let (token, key) = (folder.read_secret(TOKEN_FILE)?, folder.read_secret(KEY_FILE)?);
        let Some((token, key)) = token.zip(key) else { return Ok(None) };
        let key = key
            .parse()
            .map_err(|why| DataDirError::Damaged { path: folder.file(KEY_FILE), why: format!("{why}") })?;
        Ok(Some(Self { token, key }))
    }

    /// Keeps them. Blocks on the disk.
    ///
    /// # Errors
    /// A file can't be written.
    pub(super) fn keep(&self, folder: &DataDir) -> Result<(), DataDirError> {
        folder.replace_secret(KEY_FILE, &self.key.to_text())?;
        folder.replace_secret(TOKEN_FILE, &self.token)
    }
}

/// The file that holds what this node joins with.
#[derive(Clone, Debug)]
pub(super) struct Ticket(PathBuf);

impl Ticket {
    /// In this file.
    pub(super) fn in_file(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// What is to be sent. Blocks on the disk.
    ///
    /// # Errors
    /// Says what is wrong, and names the file.
    pub(super) fn read(&self) -> Result<String, String> {
        self.read_whole().map(|(secret, _)| secret)
    }

    /// What is to be sent, and of a join word by what the cluster's CA is known. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Ticket::read`].
    pub(super) fn read_whole(&self) -> Result<(String, Option<String>), String> {
        let text = token_file::read(&self.0)?;
        let shown =
            Shown::read(&text).map(|shown| (shown.secret.to_owned(), shown.fingerprint.map(str::to_owned)));
        shown
            .ok_or_else(|| format!("{}: its first line is neither a token nor a join word", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_half_of_it_is_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataDir::open(&outer.path().join("w")).unwrap();
        assert!(Credentials::read(&folder).unwrap().is_none());
        let got = Credentials { token: "pdl_x".to_owned(), key: NodeKey::new([7; 32]) };
        got.keep(&folder).unwrap();
        assert!(Credentials::read(&folder).unwrap().is_some_and(|read| read == got));
        folder.replace_secret(KEY_FILE, "short").unwrap();
        assert!(matches!(Credentials::read(&folder), Err(DataDirError::Damaged { .. })));
        folder.remove(KEY_FILE).unwrap();
        assert!(Credentials::read(&folder).unwrap().is_none());
    }

    #[test]
    fn of_a_join_word_only_the_secret_is_sent() {
        let outer = tempfile::tempdir().unwrap();
        let file = outer.path().join("word");
        let secret = format!("pdlj_01JD0000000000000000000000_{}", "ab".repeat(32));
        std::fs::write(&file, format!("{secret}_c0ffee\n")).unwrap();
        assert_eq!(Ticket::in_file(&file).read(), Ok(secret));
        std::fs::write(&file, "something\n").unwrap();
        let why = Ticket::in_file(&file).read().unwrap_err();
        assert!(why.ends_with("is neither a token nor a join word") && !why.contains("something"), "{why}");
    }
}
