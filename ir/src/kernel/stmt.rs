//! Statements of the kernel IR: everything with an effect or a place in time.

use super::expr::{Operand, ReduceOp};
use super::{BufId, ValueId, VarId};

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Stmt {
    /// Evaluates the pure expression of a value here.
    Let(ValueId),
    /// Reads a value of its type from a buffer.
    Load {
        /// The value read.
        dst: ValueId,
        /// The buffer.
        buf: BufId,
        /// In units of the buffer's element type.
        index: Operand,
    },
    /// Writes a value to a buffer.
    Store {
        /// The buffer.
        buf: BufId,
        /// In units of the buffer's element type.
        index: Operand,
        /// What to write; an immediate has the buffer's element type.
        value: Operand,
    },
    /// Says that the cache line of a place will be read soon; the place may lie outside the buffer.
    Prefetch {
        /// The buffer.
        buf: BufId,
        /// In units of the buffer's element type.
        index: Operand,
    },
    /// Starts the life of a variable.
    Var {
        /// The variable.
        var: VarId,
        /// Its first value.
        init: Operand,
    },
    /// Reads a variable.
    Get {
        /// The value read.
        dst: ValueId,
        /// The variable.
        var: VarId,
    },
    /// Writes a variable.
    Set {
        /// The variable.
        var: VarId,
        /// Its new value.
        value: Operand,
    },
    /// `for iv in (start..end).step_by(step)`, bounds evaluated once.
    For {
        /// The loop variable, `u32`.
        iv: ValueId,
        /// First value.
        start: Operand,
        /// Not reached.
        end: Operand,
        /// At least 1.
        step: u32,
        /// Copies of the body that a writer should make per iteration: 1 leaves it to the writer.
        unroll: u32,
        /// The statements.
        body: Vec<Stmt>,
    },
    /// One of two blocks.
    If {
        /// A scalar `bool`.
        cond: Operand,
        /// If it is true.
        then: Vec<Stmt>,
        /// If it is false.
        otherwise: Vec<Stmt>,
    },
    /// Reduces a scalar f32, i32 or u32 over the lanes of this lane's subgroup; all of them get the result. The order in which
    /// floats are added is the device's.
    Subgroup {
        /// The result.
        dst: ValueId,
        /// How.
        op: ReduceOp,
        /// This lane's share.
        value: Operand,
    },
    /// All lanes of the tile wait for each other; workgroup memory written before is seen after. Nothing on CPUs.
    Barrier,
}
