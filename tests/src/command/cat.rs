//! `test cat`: parses and prints. With `test cat errors` the text must not parse, and the error stands on its line.

use super::{Command, Outcome};
use crate::file::{LineError, TestFile};
use crate::parsed::Parsed;

/// Row of the command list.
pub static COMMAND: Command = Command { name: "cat", run };

fn run(file: &TestFile) -> Result<Outcome, String> {
    match (file.arguments.as_str(), Parsed::parse(&file.input)) {
        ("", Ok(parsed)) => {
            parsed.round_trip()?;
            Ok(Outcome::Output(parsed.to_string()))
        }
        ("", Err(e)) => Err(e.to_string()),
        ("errors", Ok(_)) => Ok(Outcome::Errors(Vec::new())),
        ("errors", Err(e)) => Ok(Outcome::Errors(vec![LineError { line: e.at.line, message: format!("{}: {}", e.at.column, e.kind) }])),
        (other, _) => Err(format!("unknown argument `{other}` of cat; expected nothing or `errors`")),
    }
}
