//! The commands of filetests, one file each. A command's name is that of its file and of its folder of tests.

pub mod cat;
pub mod interp;
pub mod legalize;
pub mod lower;
pub mod memory;
pub mod overlap;
pub mod pass;
pub mod verify;

use slmc::target::TargetSpec;
use slmc_ir::target::Target;

use crate::file::{LineError, TestFile};

/// A command of filetests.
pub struct Command {
    /// What stands after `; test`.
    pub name: &'static str,
    /// Runs it. `Err` is a failure that no blessing cures: a text that does not parse, a broken law.
    pub run: fn(&TestFile) -> Result<Outcome, String>,
}

/// What a command found, to be compared with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Text, for `; expect:`.
    Output(String),
    /// Complaints about lines, for `; error:`.
    Errors(Vec<LineError>),
}

/// Every command.
pub static ALL: &[&Command] =
    &[&cat::COMMAND, &verify::COMMAND, &pass::COMMAND, &lower::COMMAND, &legalize::COMMAND, &memory::COMMAND, &overlap::COMMAND, &interp::COMMAND];

/// The target that a command's arguments name, if they name one.
fn target(file: &TestFile) -> Result<Option<Target>, String> {
    match file.arguments.as_str() {
        "" => Ok(None),
        text => TargetSpec::parse(text).map(|spec| Some(spec.target)).map_err(|e| e.to_string()),
    }
}
