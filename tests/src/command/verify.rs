//! `test verify`: every fault that the verifier finds stands on the line that defines the faulty thing.
//!
//! Ids of messages are the parser's, so the text has to number its values as they are printed: from 0, in order.

use super::{Command, Outcome};
use crate::file::{LineError, TestFile};
use crate::parsed::Parsed;
use crate::place::line_of;

/// Row of the command list.
pub static COMMAND: Command = Command { name: "verify", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    let parsed = Parsed::parse(&file.input).map_err(|e| e.to_string())?;
    let faults = parsed.faults();
    if faults.is_empty() {
        parsed.round_trip()?;
    }
    let errors = faults.iter().map(|fault| {
        let line = line_of(&file.input, &fault.at).ok_or_else(|| format!("no line defines `{}`: {fault}", fault.at))?;
        Ok(LineError { line, message: fault.to_string() })
    });
    Ok(Outcome::Errors(errors.collect::<Result<_, String>>()?))
}
