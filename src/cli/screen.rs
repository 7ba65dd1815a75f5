//! A terminal on which what was written is written over: for what is watched.
//!
//! Each frame begins at the upper left corner, each line wipes what stood in its place, and the last one wipes the
//! rest. A frame is cut to the terminal's size as it is then, because a line that runs on would push the others away.
//! Where there is no terminal, or one that says that it can't do this (`TERM=dumb`), there is no [`Screen`]. Colour
//! there is none, whatever `NO_COLOR` says.

use std::io::{self, IsTerminal, Write};

use crate::cli::render::text::shortened;
use crate::runtime::settings::Environment;

/// To the upper left corner.
const HOME: &str = "\u{1b}[H";
/// Wipes the whole screen.
const WIPE: &str = "\u{1b}[2J";
/// Wipes the rest of the line, and goes to the next.
const NEXT_LINE: &str = "\u{1b}[K\n";
/// Wipes all that is left below.
const WIPE_BELOW: &str = "\u{1b}[J";

/// Rows and columns.
type Size = (usize, usize);

/// A terminal that can be written over.
#[derive(Debug)]
pub struct Screen {
    size: fn() -> Option<Size>,
    is_used: bool,
}

impl Screen {
    /// Stdout, where it is such a terminal.
    pub fn of_stdout(environment: Environment) -> Option<Self> {
        let can_go_back = environment("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        (can_go_back && io::stdout().is_terminal()).then_some(Self { size: size_of_stdout, is_used: false })
    }

    /// Shows a text in place of the one before.
    pub(super) fn draw(&mut self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        let frame = frame(text, (self.size)());
        let wiped = if std::mem::replace(&mut self.is_used, true) { "" } else { WIPE };
        write!(out, "{wiped}{HOME}{frame}{WIPE_BELOW}")?;
        out.flush()
    }
}

fn size_of_stdout() -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some((size.ws_row.into(), size.ws_col.into())).filter(|(rows, columns)| *rows > 0 && *columns > 0)
}

/// The lines of a text as they fit. The last row is the cursor's. Without a size nothing is cut.
fn frame(text: &str, size: Option<Size>) -> String {
    let (rows, columns) = size.unwrap_or((usize::MAX, usize::MAX));
    let (count, room) = (text.lines().count(), rows.saturating_sub(1));
    let shown = if count > room { room.saturating_sub(1) } else { count };
    let mut lines: Vec<String> = text.lines().take(shown).map(|line| shortened(line, columns)).collect();
    if shown < count {
        lines.push(shortened(&format!("… and {} lines more", count - shown), columns));
    }
    lines.into_iter().map(|line| line + NEXT_LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits() {
        assert_eq!(frame("ab\nc\n", None), "ab\u{1b}[K\nc\u{1b}[K\n");
        assert_eq!(frame("abcd\nc\n", Some((3, 3))), "ab…\u{1b}[K\nc\u{1b}[K\n");
        assert_eq!(frame("a\nb\nc\n", Some((3, 40))), "a\u{1b}[K\n… and 2 lines more\u{1b}[K\n");
        assert_eq!(frame("a\nb\n", Some((1, 3))), "… …\u{1b}[K\n");
    }

    #[test]
    fn only_the_first_frame_wipes_what_others_wrote() {
        let (mut screen, mut out) = (Screen { size: || None, is_used: false }, Vec::new());
        screen.draw("a\n", &mut out).unwrap();
        screen.draw("b\n", &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "\u{1b}[2J\u{1b}[Ha\u{1b}[K\n\u{1b}[J\u{1b}[Hb\u{1b}[K\n\u{1b}[J");
    }
}
