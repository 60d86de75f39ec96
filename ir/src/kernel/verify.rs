//! The verifier of kernels. It reports every fault it can find, never only the first; a verified kernel has no
//! undefined behaviour that a code generator would have to guard against.
//!
//! Rules, by the name that stands in messages:
//! - `signature`: the name is an identifier; grid, lanes and bounds are at least 1 and in order; parameters come before other
//!   buffers; buffer names are unique; elements have a memory form; alignments are powers of two; `ROW` and `P` leave room for
//!   `T` in 32 bits; workgroup buffers only with more than one lane, at most 1024; at most 1 MiB of private and workgroup arrays.
//! - `scope`: every id exists; values and variables are used only after their definition, in its block or blocks nested there.
//! - `once`: every value is defined by exactly one statement, a pure one by `let`; every variable is declared exactly once.
//! - `type`: operand and result types are those the documentation of [`Expr`](super::Expr) and [`Stmt`](super::Stmt) states;
//!   vector widths are powers of two up to 64; immediates fit their place; steps and unrolls are at least 1.
//! - `access`: loads only from readable buffers, stores only to writable ones.
//! - `uniform`: `barrier` and `subgroup` are reached by all lanes of a tile or by none.
//! - `range`: every load and store lies inside its buffer for every step and tile that the bounds admit.
//! - `wrap`: `u32` arithmetic does not leave `0..2^32` (sums, differences and products; shifts and bit operations may
//!   drop bits).
//! - `divisor`: no integer divisor can be zero.
//! - `shift`: shift amounts are less than the bits of a lane.
//!
//! The last four need the others, so they are checked only if those hold. They are proven by [`super::range`].

use std::fmt;

use super::verify_scope::check_structure;
use super::{Kernel, KernelModule};
use crate::diag::{Verified, VerifyError};

/// Collects the faults of one kernel.
#[derive(Debug)]
pub(super) struct Faults<'k> {
    kernel: &'k Kernel,
    pub(super) errors: Vec<VerifyError>,
}

impl<'k> Faults<'k> {
    pub(super) fn new(kernel: &'k Kernel) -> Self {
        Self { kernel, errors: Vec::new() }
    }

    /// `at` is the entity or statement at fault, in IR text.
    pub(super) fn report(&mut self, rule: &'static str, at: impl fmt::Display, message: impl Into<String>) {
        let at = format!("kernel @{}: {at}", self.kernel.name);
        self.errors.push(VerifyError { at, rule, message: message.into() });
    }
}

/// Checks the rules `signature` to `uniform` of one kernel: enough to interpret it, which checks the others as it runs.
pub fn verify_structure(kernel: &Kernel) -> Result<(), Vec<VerifyError>> {
    let errors = check_structure(kernel);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Checks all rules of one kernel.
pub fn verify_kernel(kernel: &Kernel) -> Result<(), Vec<VerifyError>> {
    verify_structure(kernel)?;
    let errors = super::verify_range::check_ranges(kernel);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Checks all rules of every kernel, and that names are unique in the module.
pub fn verify_module(module: &KernelModule) -> Result<Verified<'_, KernelModule>, Vec<VerifyError>> {
    let mut errors = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for (id, kernel) in module.kernels.iter() {
        if !names.insert(kernel.name.as_str()) {
            let message = "another kernel of the module has this name; rename one".to_string();
            errors.push(VerifyError { at: format!("kernel @{}: {id}", kernel.name), rule: "signature", message });
        }
        if let Err(faults) = verify_kernel(kernel) {
            errors.extend(faults);
        }
    }
    if errors.is_empty() { Ok(Verified::new(module)) } else { Err(errors) }
}
