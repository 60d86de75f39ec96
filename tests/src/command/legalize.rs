//! `test legalize TARGET`: legalizes kernels and prints them, or the error. `dot=none` and its like in the target say which
//! dot products it has. See [`crate::kernel_pass`] for the laws.

use slmc::target::TargetSpec;
use slmc_passes::kernel::legalize;

use super::{Command, Outcome};
use crate::file::TestFile;
use crate::kernel_pass;

/// Row of the command list.
pub static COMMAND: Command = Command { name: "legalize", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    let target = match file.arguments.as_str() {
        "" => None,
        text => Some(TargetSpec::parse(text).map_err(|e| e.to_string())?.target),
    };
    kernel_pass::run(&legalize::INFO, &file.input, target.as_ref()).map(Outcome::Output)
}
