//! `test pass LIST`: runs passes over a graph and prints what they have to tell and the result, or the error.
//!
//! After every pass the round-trip laws must hold, the pass must have told the truth about having changed anything, and
//! the graph must compute what it did before (by the interpreter; `quantize` aside, which changes numbers by intent).

use std::fmt::Write;
use std::time::Duration;

use slmc_ir::graph::Graph;
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::manager::{self, Drive, PassCx, PassSpec, Phase, Reports};

use super::{Command, Outcome};
use crate::file::TestFile;
use crate::{meaning, round_trip};

/// Row of the command list.
pub static COMMAND: Command = Command { name: "pass", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    let mut graph = Graph::parse(&file.input).map_err(|e| e.to_string())?;
    round_trip::graph(&graph)?;
    run_passes(&file.arguments, &mut graph).map(Outcome::Output)
}

/// Runs a list of passes and gives the text that is compared. `Err` is a broken law, not an error of a pass.
pub fn run_passes(list: &str, graph: &mut Graph) -> Result<String, String> {
    let matches = |pattern: &str, name: &str| regex::Regex::new(pattern).map(|r| r.is_match(name)).map_err(|e| e.to_string());
    let clock = || Duration::ZERO;
    let mut cx = PassCx::new(&matches, &clock);
    let (mut state, mut broken) = (graph.to_string(), Vec::new());
    let mut previous = graph.clone();
    let mut observe = |phase: Phase<'_>| {
        if let Some(text) = phase.text {
            if text == state {
                broken.push(format!("{} says that it changed the graph, but did not", phase.name));
            }
            match Graph::parse(text) {
                Ok(graph) => {
                    broken.extend(round_trip::graph(&graph).err());
                    if phase.name != slmc_passes::graph::quantize::INFO.name {
                        broken.extend(meaning::same(&previous, &graph).err().map(|e| format!("after {}: {e}", phase.name)));
                    }
                    previous = graph;
                }
                Err(e) => broken.push(format!("after {}: {e}", phase.name)),
            }
            state = text.to_owned();
        }
    };
    let mut drive = Drive { observe: Some(&mut observe), ..Drive::default() };
    let result = PassSpec::parse_list(list).and_then(|specs| manager::run(graph, &specs, GRAPH_PASSES, &mut cx, &mut drive));
    let output = match result {
        Ok(_) => {
            round_trip::graph(graph)?;
            if graph.to_string() != state {
                broken.push("the last pass says that it changed nothing, but did".to_owned());
            }
            format!("{}{graph}", reports(&cx.reports))
        }
        Err(e) => format!("error: {e}\n"),
    };
    if broken.is_empty() { Ok(output) } else { Err(broken.join("\n")) }
}

/// The reports as lines of text; nothing where there is nothing to tell.
fn reports(reports: &Reports) -> String {
    let mut text = String::new();
    for shared in reports.sharing.iter().flat_map(|r| &r.shared) {
        let _ = writeln!(text, "shared: \"{}\" for \"{}\", {} bytes saved", shared.kept, shared.dropped.join("\", \""), shared.bytes);
    }
    if let Some(quantize) = &reports.quantize {
        let _ = writeln!(text, "quantized: {:.3} bits per weight, kv {}", quantize.bits_per_weight(), quantize.kv);
        for choice in &quantize.weights {
            if let Some(why) = &choice.why {
                let _ = writeln!(text, "quantized: \"{}\" to {}: {why}", choice.name, choice.given);
            }
        }
    }
    text
}
