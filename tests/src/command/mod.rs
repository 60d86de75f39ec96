//! The commands of filetests, one file each. A command's name is that of its file and of its folder of tests.

pub mod cat;
pub mod interp;
pub mod legalize;
pub mod lower;
pub mod memory;
pub mod pass;
pub mod verify;

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
    &[&cat::COMMAND, &verify::COMMAND, &pass::COMMAND, &lower::COMMAND, &legalize::COMMAND, &memory::COMMAND, &interp::COMMAND];
