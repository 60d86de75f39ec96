//! `test legalize TARGET`: legalizes kernels and prints them, or the error. `dot=none` and its like in the target say which
//! dot products it has. See [`crate::kernel_pass`] for the laws.

use slmc_passes::kernel::legalize;

use super::{Command, Outcome, target};
use crate::file::TestFile;
use crate::kernel_pass;

/// Row of the command list.
pub static COMMAND: Command = Command { name: "legalize", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    kernel_pass::run(&legalize::INFO, &file.input, target(file)?.as_ref()).map(Outcome::Output)
}
