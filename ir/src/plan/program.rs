//! What a kernel file holds: kernels, and the plan that launches them where there is one.
//!
//! Lowering makes both; a file of kernels alone is for tests and for people who try a rewrite. The text is that of
//! [`print_lowered`] with a plan and that of the module without, so either kind comes back as what it was.

use std::fmt;

use super::{Plan, parse, print_lowered, verify_plan};
use crate::diag::{ParseError, VerifyError};
use crate::kernel::{KernelModule, verify_module};
use crate::text::{Cursor, TokenKind};

/// Kernels with or without their plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The kernels.
    pub kernels: KernelModule,
    /// What launches them.
    pub plan: Option<Plan>,
}

impl Program {
    /// Whether `text` is to be read as a program: its first word behind the version line is not `graph`.
    pub fn is_in(text: &str) -> bool {
        let Ok(mut cursor) = Cursor::new(text) else { return false };
        cursor.version().is_ok() && !cursor.at_word("graph")
    }

    /// Reads the version line, any number of kernels and at most one plan.
    ///
    /// # Errors
    /// The first thing that does not fit, with its place.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text)?;
        cursor.version()?;
        if !cursor.at_word("kernel") && !cursor.at_word("plan") && cursor.peek().kind != TokenKind::End {
            return Err(cursor.unexpected("`kernel`, `plan`, or `graph` in a file of its own"));
        }
        let kernels = KernelModule::read(&mut cursor)?;
        let plan = if cursor.at_word("plan") { Some(parse::read_plan(&mut cursor, &kernels)?) } else { None };
        cursor.end()?;
        Ok(Self { kernels, plan })
    }

    /// Every fault of the kernels, then of the plan; empty if there is none.
    pub fn faults(&self) -> Vec<VerifyError> {
        let mut faults = verify_module(&self.kernels).err().unwrap_or_default();
        if let Some(plan) = &self.plan {
            faults.extend(verify_plan(plan, &self.kernels).err().unwrap_or_default());
        }
        faults
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plan {
            Some(plan) => f.write_str(&print_lowered(&self.kernels, plan)),
            None => self.kernels.fmt(f),
        }
    }
}
