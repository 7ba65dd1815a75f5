//! The terminal that stdout is, if it is one.

use std::io::{self, IsTerminal};

/// How many characters a line of it holds. None: stdout is no terminal, or one that doesn't say, and nothing is cut.
pub(crate) fn width() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
