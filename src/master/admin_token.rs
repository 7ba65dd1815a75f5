//! The first token of all: the administrator's, which the master makes at its first start and keeps in its data folder.
//!
//! The command line of the same user finds it there. Its record is in the store like any other's. A file whose token
//! the store doesn't know is good again where the store was empty (it is `memory`, or was lost); where it was not, the
//! token was revoked, and another takes its place.

use crate::control::tokens::Unfit;
use crate::master::StartError;
use crate::master::access::hash;
use crate::master::state::State;
use crate::model::access::Scope;
use crate::model::id::TokenId;
use crate::model::time::{Now, WallTime};
use crate::model::token::{Shown, TokenKind, TokenRecord, token_text};
use crate::runtime::data_dir::{DataDir, DataDirError};
use crate::runtime::random;

/// The file in the data folder: one line.
const FILE: &str = "admin.token";

/// Makes sure that there is an administrator's token, in the folder and in the store. Blocks on the disk.
///
/// # Errors
/// The file can't be read or made, others may read it, or there are no random bytes.
pub(super) fn ensure(
    folder: &DataDir,
    state: &State,
    store_was_empty: bool,
    now: Now,
) -> Result<(), StartError> {
    let kept = folder.read_secret(FILE).map_err(StartError::DataDir)?;
    if let Some(text) = &kept {
        let Some(shown) = Shown::read(text) else {
            let why = "its first line is no token".to_owned();
            return Err(StartError::DataDir(DataDirError::Damaged { path: folder.file(FILE), why }));
        };
        match state.check_token(&shown.id, &hash(shown.secret), now.wall) {
            Ok(_) => return Ok(()),
            Err(Unfit::Unknown) if store_was_empty => {
                record(state, shown.id, shown.secret, now);
                return Ok(());
            }
            Err(Unfit::Unknown | Unfit::Expired) => {}
        }
    }
    let id = state.next_token_id(now.wall);
    let text = token_text(&id, &random::secret().map_err(StartError::Random)?);
    let written = match kept {
        None => folder.create_secret(FILE, &text),
        Some(_) => folder.replace_secret(FILE, &text),
    };
    written.map_err(StartError::DataDir)?;
    log::info!("admin token made token={id} file={}", folder.file(FILE).display());
    record(state, id, &text, now);
    Ok(())
}

fn record(state: &State, id: TokenId, text: &str, now: Now) {
    let kind = TokenKind::User { scope: Scope::Admin };
    let created_at: WallTime = now.wall;
    let label = Some("made at the master's start".to_owned());
    let record =
        TokenRecord { id, hash: hash(text), kind, label, created_at, expires_at: None, made_by: None };
    if let Err(error) = state.make_token(record, now) {
        log::error!("the admin token can't be kept because={error:?}");
    }
}
