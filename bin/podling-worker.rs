//! `podling-worker`: reads its settings, starts the worker, exits with what it ended with.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "help, version and errors are what it prints")]

use std::ffi::OsString;
use std::process::ExitCode;

use podling::runtime::logging;
use podling::runtime::settings::{EXIT_USAGE, process_environment};
use podling::worker::{self, settings};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|word| word == "--help" || word == "-h") {
        print!("{}", settings::HELP);
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|word| word == "--version" || word == "-V") {
        println!("podling-worker {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let settings = match settings::Settings::read(arguments, process_environment) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("podling-worker: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    logging::start(settings.log_level);
    worker::run(&settings, &mut std::io::stdout()).unwrap_or_else(|error| {
        eprintln!("podling-worker: {error}");
        ExitCode::from(error.exit_code())
    })
}
