//! Passes of slmc: graph passes, lowering, kernel passes, memory plan and packing. See README.md for how to add a pass.
//!
//! Nothing here does input or output, reads a clock or knows a code generator: what a target can do is read from
//! `slmc_ir::target::Target`, the rest comes through [`manager::PassCx`].
#![forbid(unsafe_code)]

pub mod manager;

pub mod analysis;
pub mod graph;
pub mod rewrite;

pub mod kernel;
pub mod lower;
pub mod memory;
pub mod pack;
