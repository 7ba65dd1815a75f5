//! How far something is that takes a while: `212 of 500 ended, 3 failed`.
//!
//! On a terminal it is one line on stderr that is drawn again and again, and gone once there is something else to
//! say. Elsewhere it is a line now and then, where it has changed, so that the log of a CI job tells that things move
//! and isn't filled with it.

use std::io::{self, IsTerminal};
use std::time::Duration;

use crate::cli::Console;
use crate::model::time::Mono;

/// Between two lines where nothing can be drawn again.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Back to the beginning of the line, which is wiped.
const WIPE: &str = "\r\u{1b}[K";

/// A progress that is shown.
#[derive(Debug)]
pub(crate) struct Progress {
    can_redraw: bool,
    is_drawn: bool,
    told: String,
    told_at: Mono,
}

impl Progress {
    /// Nothing is shown yet. Lines begin ten seconds from `now` at the earliest.
    pub(crate) fn new(now: Mono) -> Self {
        // Both: who sends stdout to a file wants no dance on the screen, and a file wants none in it.
        let can_redraw = io::stdout().is_terminal() && io::stderr().is_terminal();
        Self { can_redraw, is_drawn: false, told: String::new(), told_at: now }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, text: &str, now: Mono, console: &mut Console<'_>) {
        if self.can_redraw {
            let _ = console.out.flush();
            let _ = write!(console.err, "{WIPE}{text}");
            let _ = console.err.flush();
            self.is_drawn = true;
        } else if now.since(self.told_at) >= BETWEEN_LINES && self.told != text {
            console.say(text);
            self.told_at = now;
            text.clone_into(&mut self.told);
        }
    }

    /// Makes room for something else. To be called before anything else is written.
    pub(crate) fn clear(&mut self, console: &mut Console<'_>) {
        if std::mem::take(&mut self.is_drawn) {
            let _ = write!(console.err, "{WIPE}");
            let _ = console.err.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(can_redraw: bool, shown: &[(u64, &str)]) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err };
        let at = |secs| Mono::from_boot(Duration::from_secs(secs));
        let mut progress = Progress { can_redraw, ..Progress::new(at(0)) };
        for (secs, text) in shown {
            progress.show(text, at(*secs), &mut console);
        }
        progress.clear(&mut console);
        progress.clear(&mut console);
        String::from_utf8(err).unwrap()
    }

    #[test]
    fn a_terminal_shows_one_line_and_wipes_it_once() {
        assert_eq!(
            written(true, &[(0, "1 of 2"), (1, "2 of 2")]),
            "\r\u{1b}[K1 of 2\r\u{1b}[K2 of 2\r\u{1b}[K"
        );
        assert_eq!(written(true, &[]), "");
    }

    #[test]
    fn elsewhere_a_line_is_written_at_most_every_ten_seconds() {
        let shown = [(0, "a"), (9, "b"), (10, "c"), (19, "d"), (20, "c"), (31, "e"), (32, "f")];
        assert_eq!(written(false, &shown), "podling: c\npodling: e\n");
    }
}
