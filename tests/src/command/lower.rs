//! `test lower TARGET`: lowers a fused graph and prints kernels and plan, or the error. The plan is not laid out yet. With
//! `test lower TARGET plan` only the first line of each kernel is printed: for models whose kernels fill thousands of lines.
//!
//! The round-trip laws hold for the result, and kernels and plan are valid.

use slmc::target::TargetSpec;
use slmc_ir::graph::Graph;
use slmc_ir::graph::verify::verify;
use slmc_ir::plan::Program;
use slmc_passes::lower;
use slmc_passes::manager::Subject;

use super::{Command, Outcome};
use crate::file::TestFile;
use crate::round_trip;

/// Row of the command list.
pub static COMMAND: Command = Command { name: "lower", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    let (target, plan_only) = match file.arguments.strip_suffix(" plan") {
        Some(target) => (target, true),
        None => (file.arguments.as_str(), false),
    };
    let target = TargetSpec::parse(target).map_err(|e| e.to_string())?.target;
    let graph = Graph::parse(&file.input).map_err(|e| e.to_string())?;
    round_trip::graph(&graph)?;
    verify(&graph).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let program = match lower::lower(&graph, &target) {
        Ok(lowered) => Program::from(lowered),
        Err(e) => return Ok(Outcome::Output(format!("error: {e}\n"))),
    };
    round_trip::program(&program)?;
    let faults = Subject::faults(&program);
    if !faults.is_empty() {
        return Err(format!("what lowering made is not valid:\n{}", faults.join("\n")));
    }
    let text = program.to_string();
    Ok(Outcome::Output(if plan_only { without_bodies(&text) } else { text }))
}

/// The text with one line for each kernel.
fn without_bodies(text: &str) -> String {
    let (kernels, plan) = text.split_at(text.find("\nplan ").unwrap_or(text.len()));
    let heads = kernels.lines().filter_map(|l| l.strip_prefix("kernel ")).map(|l| format!("kernel {}\n", l.trim_end_matches(" (")));
    heads.collect::<String>() + plan
}
