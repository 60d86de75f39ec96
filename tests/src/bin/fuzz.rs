//! `fuzz TARGET --seconds N`: tries made-up inputs on one of the readers; exits with 1 and names the saved input when one fails.
//!
//! `fuzz TARGET --input FILE` tries that input alone, in this thread, so that a debugger sees it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use slmc_tests::fuzz::drive::{Limits, drive};
use slmc_tests::fuzz::{ALL, find};

/// Tries made-up inputs on a reader of files.
#[derive(Parser)]
struct Arguments {
    /// Name of the target.
    target: String,
    /// How long to try.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the sequence of inputs starts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// An input may take this many seconds.
    #[arg(long, default_value_t = 10)]
    hang: u64,
    /// Folder for inputs that fail.
    #[arg(long, default_value = "target/fuzz")]
    save: PathBuf,
    /// Try this file alone.
    #[arg(long)]
    input: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let names = || ALL.iter().map(|target| target.name()).collect::<Vec<_>>().join(", ");
    let target = find(&arguments.target).ok_or_else(|| format!("no target {:?}; there are {}", arguments.target, names()))?;
    if let Some(path) = &arguments.input {
        let input = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}", target.run(&input));
        return Ok(());
    }
    let (time, hang) = (Duration::from_secs(arguments.seconds), Duration::from_secs(arguments.hang));
    let limits = Limits { executions: u64::MAX, time, hang, seed: arguments.seed, save: arguments.save.clone() };
    let report = drive(target, &limits).map_err(|error| format!("{}: {error}", arguments.save.display()))?;
    let slowest = report.slowest.as_secs_f64();
    println!("{}: {} executions, {} outcomes, slowest {slowest:.2} s", target.name(), report.executions, report.outcomes);
    report.failure.map_or(Ok(()), |failure| Err(format!("{}; the input is {}", failure.what, failure.input.display())))
}
