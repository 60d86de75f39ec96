//! The example at the head of every pass: "Before:" and "After `PASS`:", each with a block of IR text, are a test.

use slmc_ir::graph::Graph;

use crate::command::pass::run_passes;
use crate::file::difference;

/// The example in the text of a pass's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The list of passes between the backticks.
    pub passes: String,
    /// IR text.
    pub before: String,
    /// What the command `pass` prints, reports included.
    pub after: String,
}

impl Example {
    /// Finds the example in the module docs of `source`. `Err` says what is missing.
    pub fn find(source: &str) -> Result<Self, String> {
        let docs: Vec<&str> = source.lines().map_while(|l| l.strip_prefix("//!")).map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
        let (_, before) = block(&docs, "Before").ok_or("the header has no `Before…:` with a ```text block")?;
        let (line, after) = block(&docs, "After").ok_or("the header has no `After `PASS`:` with a ```text block")?;
        let passes = line.split('`').nth(1).ok_or("`After` does not name the passes in backticks")?;
        Ok(Self { passes: passes.to_owned(), before, after })
    }

    /// Runs it.
    pub fn run(&self) -> Result<(), String> {
        let mut graph = Graph::parse(&self.before).map_err(|e| format!("before: {e}"))?;
        let found = run_passes(&self.passes, &mut graph)?;
        match difference(&self.after, &found) {
            None => Ok(()),
            Some(fault) => Err(format!("{fault}\nthe whole output is\n{found}")),
        }
    }
}

/// The block that follows the line starting with `title`, with that line.
fn block<'a>(docs: &[&'a str], title: &str) -> Option<(&'a str, String)> {
    let start = docs.windows(2).position(|w| w[0].starts_with(title) && w[1] == "```text")?;
    let lines = docs[start + 2..].iter().take_while(|l| **l != "```");
    Some((docs[start], lines.map(|l| format!("{l}\n")).collect()))
}
