//! Passes of slmc: graph passes, lowering, kernel passes, memory plan and packing. See README.md.
#![forbid(unsafe_code)]

pub mod lower;
pub mod memory;
