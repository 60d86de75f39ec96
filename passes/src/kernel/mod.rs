//! The passes over kernels and plan: one folder each, here or beside, named as its pass.

pub mod legalize;
pub mod overlap;

use slmc_ir::plan::Program;

use crate::manager::PassInfo;
use crate::memory;

/// Every kernel pass, in the usual order.
pub static KERNEL_PASSES: &[&PassInfo<Program>] = &[&legalize::INFO, &memory::INFO, &overlap::INFO];
