//! `podling`: the command line. Hands stdout and stderr to [`podling::cli`] and exits with what it says.

use std::io::{self, BufWriter};
use std::process::ExitCode;

use podling::cli::{self, Console, Screen};
use podling::runtime::settings::process_environment;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).collect();
    // Flushed by `cli::run`, before every message and at the end.
    let mut out = BufWriter::new(io::stdout().lock());
    let mut err = io::stderr().lock();
    let mut console = Console { out: &mut out, err: &mut err };
    let screen = Screen::of_stdout(process_environment);
    let code = cli::run_on(arguments, process_environment, &mut console, screen);
    // What can't be written was said already; dropping the buffer must not try again.
    let _ = out.into_parts();
    ExitCode::from(code)
}
