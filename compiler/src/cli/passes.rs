//! `slmc passes`: the passes with their options, and the phases of a compile.

use serde::Serialize;
use slmc::pipeline::phase::PHASES;
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::kernel::KERNEL_PASSES;
use slmc_passes::manager::{OptionInfo, PassInfo};

use crate::report::{Failure, columns, say, say_json};

/// Arguments of `slmc passes`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    passes: Vec<PassJson>,
    phases: Vec<PhaseJson>,
}

#[derive(Serialize)]
struct PassJson {
    name: &'static str,
    /// `graph` or `kernels`.
    over: &'static str,
    summary: &'static str,
    options: Vec<OptionJson>,
}

#[derive(Serialize)]
struct OptionJson {
    name: &'static str,
    values: &'static str,
    default: &'static str,
    summary: &'static str,
}

#[derive(Serialize)]
struct PhaseJson {
    name: &'static str,
    summary: &'static str,
}

/// Lists passes.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.json {
        say_json(&listing());
        return Ok(());
    }
    let phases: Vec<Vec<String>> = PHASES.iter().map(|&(name, summary)| vec![name.to_owned(), summary.to_owned()]).collect();
    say(format_args!("passes over graphs (slmc opt --passes)\n{}\n", table(GRAPH_PASSES)));
    say(format_args!("passes over kernels and plans (slmc opt --passes --target)\n{}\n", table(KERNEL_PASSES)));
    say(format_args!("phases of a compile (--stop-after, --dump-ir)\n{}", columns(&phases)));
    Ok(())
}

/// One row for each pass and each of its options.
fn table<M>(passes: &[&'static PassInfo<M>]) -> String {
    let mut rows = Vec::new();
    for pass in passes {
        rows.push(vec![pass.name.to_owned(), pass.summary.to_owned()]);
        for option in pass.options {
            rows.push(vec![format!("  {}=", option.name), format!("{}: {} [{}]", option.summary, option.values, option.default)]);
        }
    }
    columns(&rows)
}

fn listing() -> Listing {
    let passes = GRAPH_PASSES.iter().map(|info| row(info, "graph")).chain(KERNEL_PASSES.iter().map(|info| row(info, "kernels")));
    let phase = |&(name, summary): &(&'static str, &'static str)| PhaseJson { name, summary };
    Listing { passes: passes.collect(), phases: PHASES.iter().map(phase).collect() }
}

fn row<M>(info: &'static PassInfo<M>, over: &'static str) -> PassJson {
    let option =
        |option: &'static OptionInfo| OptionJson { name: option.name, values: option.values, default: option.default, summary: option.summary };
    PassJson { name: info.name, over, summary: info.summary, options: info.options.iter().map(option).collect() }
}
