//! The two kinds of IR text, told apart by their first word, with what every command does to both.

use std::fmt;

use slmc_ir::diag::{ParseError, VerifyError};
use slmc_ir::graph::{Graph, verify};
use slmc_ir::plan::Program;

use crate::round_trip;

/// IR that was read from a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// A graph.
    Graph(Graph),
    /// Kernels, with or without a plan.
    Program(Program),
}

impl Parsed {
    /// Reads a text of either kind.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if Program::is_in(text) { Program::parse(text).map(Self::Program) } else { Graph::parse(text).map(Self::Graph) }
    }

    /// Checks the laws of the text form.
    pub fn round_trip(&self) -> Result<(), String> {
        match self {
            Self::Graph(graph) => round_trip::graph(graph),
            Self::Program(program) => round_trip::program(program),
        }
    }

    /// Everything the verifier finds.
    pub fn faults(&self) -> Vec<VerifyError> {
        match self {
            Self::Graph(graph) => verify::verify(graph).err().unwrap_or_default(),
            Self::Program(program) => program.faults(),
        }
    }
}

impl fmt::Display for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Graph(graph) => graph.fmt(f),
            Self::Program(program) => program.fmt(f),
        }
    }
}
