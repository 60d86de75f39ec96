//! `test verify`: every fault that the verifier finds stands on the line that defines the faulty thing.
//!
//! Ids of messages are the parser's, so the text has to number its values as they are printed: from 0, in order.

use slmc_ir::graph::Graph;
use slmc_ir::graph::verify::verify;

use super::{Command, Outcome};
use crate::file::{LineError, TestFile};
use crate::round_trip;

/// Row of the command list.
pub static COMMAND: Command = Command { name: "verify", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    let graph = Graph::parse(&file.input).map_err(|e| e.to_string())?;
    let faults = match verify(&graph) {
        Ok(_) => {
            round_trip::graph(&graph)?;
            Vec::new()
        }
        Err(faults) => faults,
    };
    let errors = faults.iter().map(|fault| {
        let line = line_of(&file.input, &fault.at).ok_or_else(|| format!("no line defines `{}`: {fault}", fault.at))?;
        Ok(LineError { line, message: fault.to_string() })
    });
    Ok(Outcome::Errors(errors.collect::<Result<_, String>>()?))
}

/// The line, from 1, that defines `at`: `v3` and `w0` by their definition, `graph`, `body` and `head` by their first line.
fn line_of(text: &str, at: &str) -> Option<usize> {
    let id = at.split(' ').next()?;
    let defines = |line: &str| {
        let code = line.split(';').next().unwrap_or("").trim();
        let typed = |part: &str| part.trim().strip_prefix(id).is_some_and(|rest| rest.starts_with(':'));
        match id {
            "graph" => code.starts_with("graph "),
            "body" | "head" => code.strip_prefix(id).is_some_and(|rest| rest.trim_start().starts_with('(')),
            _ if id.starts_with('w') => code.strip_prefix(id).is_some_and(|rest| rest.trim_start().starts_with('=')),
            _ => typed(code) || code.split(['(', ',']).any(typed),
        }
    };
    text.lines().position(defines).map(|i| i + 1)
}
