//! Interpreters of graph and kernel IR: the oracle for every lowering and back end.

pub mod graph;
pub mod kernel;
pub mod plan;
