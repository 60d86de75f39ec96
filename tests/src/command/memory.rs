//! `test memory`: lays out the arena of a plan and prints kernels and plan, or the error. See [`crate::kernel_pass`] for the laws.

use slmc_passes::memory;

use super::{Command, Outcome};
use crate::file::TestFile;
use crate::kernel_pass;

/// Row of the command list.
pub static COMMAND: Command = Command { name: "memory", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    if !file.arguments.is_empty() {
        return Err(format!("`memory` takes no arguments, found `{}`", file.arguments));
    }
    kernel_pass::run(&memory::INFO, &file.input, None).map(Outcome::Output)
}
