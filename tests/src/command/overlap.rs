//! `test overlap [TARGET]`: marks the dispatches that need not wait and prints kernels and plan, or the error. See
//! [`crate::kernel_pass`] for the laws.

use slmc_passes::kernel::overlap;

use super::{Command, Outcome, target};
use crate::file::TestFile;
use crate::kernel_pass;

/// Row of the command list.
pub static COMMAND: Command = Command { name: "overlap", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    kernel_pass::run(&overlap::INFO, &file.input, target(file)?.as_ref()).map(Outcome::Output)
}
