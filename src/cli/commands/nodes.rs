//! `podling nodes [NAME]`: the nodes, or one of them, with what their tasks take up.
//!
//! The list is read page by page to its end, and shown as it was asked for: see [`crate::cli::render::list`]. How a
//! node becomes a line is in `render/node.rs`; `-w` is in `watch.rs`. Deliberately absent: cordon, drain and their like, which belong to
//! `podling node`.

use super::watch::{Watched, watch};
use super::{Command, Session};
use crate::api::routes;
use crate::api::wire::node::NodeView;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::list::{Form, List};
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    node: Option<String>,
    form: Form,
    watch: bool,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let form = words.value(Flag::Both("-o", "--output"), Form::from_word)?.unwrap_or_default();
        let watch = words.switch(Flag::Both("-w", "--watch"));
        Ok(Self { node: words.at_most_one()?, form, watch })
    }
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        if self.watch {
            let all = || Watched::List(routes::NODES.to_owned());
            let watched = self.node.as_ref().map_or_else(all, |node| Watched::One(routes::node(node)));
            return watch::<NodeView>(&watched, routes::node, self.form, session);
        }
        let Session { remote, console, .. } = session;
        let mut list = List::new::<NodeView>(self.form, clock::wall());
        match &self.node {
            Some(node) => list.push::<NodeView>(&remote.get_raw(&routes::node(node))?, console)?,
            None => remote.pages(routes::NODES, |page| {
                page.iter().try_for_each(|node| list.push::<NodeView>(node, console))
            })?,
        }
        list.finish(console)?;
        if remote.is_insecure() {
            console
                .say("this master is insecure: it takes no tokens, and whoever reaches it may do everything");
        }
        Ok(exit::DONE)
    }
}
