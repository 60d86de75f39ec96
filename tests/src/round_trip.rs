//! The laws of the text form: `parse(print(x)) == x` and `print(parse(print(x))) == print(x)`.

use std::fmt::Display;

use slmc_ir::diag::ParseError;
use slmc_ir::graph::Graph;
use slmc_ir::plan::Program;

use crate::file::difference;

/// Checks both laws for a graph; `Err` says which is broken and where.
pub fn graph(graph: &Graph) -> Result<(), String> {
    laws(graph, Graph::parse)
}

/// Checks both laws for kernels and their plan; `Err` says which is broken and where.
pub fn program(program: &Program) -> Result<(), String> {
    laws(program, Program::parse)
}

fn laws<X: Display + PartialEq>(x: &X, parse: impl Fn(&str) -> Result<X, ParseError>) -> Result<(), String> {
    let text = x.to_string();
    let again = parse(&text).map_err(|e| format!("what is printed does not parse: {e}\n{text}"))?;
    if let Some(difference) = difference(&text, &again.to_string()) {
        return Err(format!("printing what was parsed gives another text: {difference}"));
    }
    if again != *x {
        return Err(format!("parsing what was printed gives something else (of the same text):\n{text}"));
    }
    Ok(())
}
