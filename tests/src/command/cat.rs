//! `test cat`: parses and prints. With `test cat errors` the text must not parse, and the error stands on its line.

use slmc_ir::graph::Graph;

use super::{Command, Outcome};
use crate::file::{LineError, TestFile};
use crate::round_trip;

/// Row of the command list.
pub static COMMAND: Command = Command { name: "cat", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    match (file.arguments.as_str(), Graph::parse(&file.input)) {
        ("", Ok(graph)) => {
            round_trip::graph(&graph)?;
            Ok(Outcome::Output(graph.to_string()))
        }
        ("", Err(e)) => Err(e.to_string()),
        ("errors", Ok(_)) => Ok(Outcome::Errors(Vec::new())),
        ("errors", Err(e)) => Ok(Outcome::Errors(vec![LineError { line: e.at.line, message: format!("{}: {}", e.at.column, e.kind) }])),
        (other, _) => Err(format!("unknown argument `{other}` of cat; expected nothing or `errors`")),
    }
}
