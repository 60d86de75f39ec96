//! The `slmc` command: parses arguments, runs one command, turns its failure into a message and an exit code.

#![deny(unsafe_code)]

mod cli;
mod progress;
mod report;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.show(),
    }
}
