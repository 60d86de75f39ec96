//! `slmc passes`: the passes with their options, and the phases of a compile.

use serde::Serialize;
use slmc::pipeline::phase::PHASES;
use slmc_passes::graph::GRAPH_PASSES;

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
    let mut rows = Vec::new();
    for pass in GRAPH_PASSES {
        rows.push(vec![pass.name.to_owned(), pass.summary.to_owned()]);
        for option in pass.options {
            rows.push(vec![format!("  {}=", option.name), format!("{}: {} [{}]", option.summary, option.values, option.default)]);
        }
    }
    let phases: Vec<Vec<String>> = PHASES.iter().map(|&(name, summary)| vec![name.to_owned(), summary.to_owned()]).collect();
    say(format_args!("passes over graphs (slmc opt --passes)\n{}\n", columns(&rows)));
    say(format_args!("phases of a compile (--stop-after, --dump-ir)\n{}", columns(&phases)));
    Ok(())
}

fn listing() -> Listing {
    let pass = |info: &&'static slmc_passes::manager::PassInfo<slmc_ir::graph::Graph>| PassJson {
        name: info.name,
        summary: info.summary,
        options: info
            .options
            .iter()
            .map(|option| OptionJson { name: option.name, values: option.values, default: option.default, summary: option.summary })
            .collect(),
    };
    let phase = |&(name, summary): &(&'static str, &'static str)| PhaseJson { name, summary };
    Listing { passes: GRAPH_PASSES.iter().map(pass).collect(), phases: PHASES.iter().map(phase).collect() }
}
