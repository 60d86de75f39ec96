//! The IRs of slmc: graph IR, kernel IR, plan and targets, with their text form, verifier and interpreter.
//!
//! No file access, no printing, no code generator: see README.md.
#![forbid(unsafe_code)]

pub mod arena;
pub mod diag;
pub mod graph;
pub mod interp;
pub mod kernel;
pub mod plan;
pub mod quant;
pub mod target;
pub mod text;
