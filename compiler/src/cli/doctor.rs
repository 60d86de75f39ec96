//! `slmc doctor`: what this machine and this build have, what is missing, and what that costs.

use slmc::doctor::{self, Check};

use crate::report::{Failure, columns, say, say_json};

/// Arguments of `slmc doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Examines.
pub fn run(args: &Args) -> Result<(), Failure> {
    let checks = doctor::examine();
    if args.json {
        say_json(&checks);
        return Ok(());
    }
    let rows: Vec<Vec<String>> =
        checks.iter().map(|check| vec![check.name.clone(), check.found.clone().unwrap_or_else(|| "not found".to_owned())]).collect();
    say(columns(&rows));
    let missing: Vec<&Check> = checks.iter().filter(|check| check.found.is_none()).collect();
    for check in missing {
        say(format_args!("\n{} is not found\n  costs: {}\n  cure:  {}", check.name, check.cost, check.cure));
    }
    Ok(())
}
