//! The kernel IR: one IR for every code generator.
//!
//! A kernel is parameters (buffers), a grid, and a body: an arena of typed values, whose definitions are *pure* expressions
//! or results of statements, and a tree of statements. `load` is a statement and every pure expression is placed by a
//! `let`, so nothing in a body has an evaluation time other than its place in the tree. A value is visible in the
//! statements after it in its block and in blocks nested there.
//!
//! The grid runs the body once per tile `(x, y, z)` in any order and at the same time; tiles of one launch must not
//! depend on each other. On CPUs a tile is one call; on GPUs it is a workgroup of [`Kernel::lanes`] invocations.
//!
//! `u32` is the type of indices: arithmetic on it must not wrap (the verifier proves index ranges, writers may assume it).
//! `i32`, `i16`, `i8` and `u8` wrap.

pub mod builder;
pub mod expr;
mod parse;
mod parse_expr;
mod parse_ids;
mod print;
pub mod range;
mod renumber;
pub mod stmt;
pub mod ty;
pub mod verify;
mod verify_range;
mod verify_scope;
mod verify_types;
mod verify_uniform;

use crate::arena::Arena;
use crate::define_id;

pub use builder::KernelBuilder;
pub use expr::{BinaryOp, Builtin, CmpOp, Expr, Imm, Operand, ReduceOp, UnaryOp};
pub use stmt::Stmt;
pub use ty::{Scalar, Type};
pub use verify::{verify_kernel, verify_module, verify_structure};

define_id!(
    /// A kernel of a module.
    KernelId, "k"
);
define_id!(
    /// A value of a kernel.
    ValueId, "v"
);
define_id!(
    /// A buffer of a kernel: parameter, workgroup memory or private array.
    BufId, "b"
);
define_id!(
    /// A mutable variable of a kernel.
    VarId, "x"
);

/// The kernels of one plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KernelModule {
    /// All kernels; plans name them by id.
    pub kernels: Arena<KernelId, Kernel>,
}

/// One kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Unique in the module; an identifier, and the suffix of the symbol in object files.
    pub name: String,
    /// Bounds of the step's symbols in every launch of this kernel.
    pub bounds: StepBounds,
    /// Most tiles along each axis: `x < grid[0]`, …
    pub grid: [u32; 3],
    /// Invocations of a workgroup; 1 on CPUs.
    pub lanes: u32,
    /// Buffers; parameters first, in binding order.
    pub buffers: Arena<BufId, Buffer>,
    /// Mutable variables.
    pub vars: Arena<VarId, Type>,
    /// Values, numbered in the order in which the body defines them.
    pub values: Arena<ValueId, Value>,
    /// The statements.
    pub body: Vec<Stmt>,
}

/// Inclusive bounds of the symbols that a kernel may read from the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepBounds {
    /// `T`: tokens (in the head: rows) of the step, least and most.
    pub t: (u32, u32),
    /// `P`: tokens in the cache before the step; `P + T <= ctx`.
    pub p: (u32, u32),
    /// `ROW`: in the head, the first of the body's rows to read.
    pub row: (u32, u32),
}

impl StepBounds {
    /// Most that `P + T` can be in a launch: the cache holds one position more than the greatest `P`.
    pub fn most_p_plus_t(&self) -> u32 {
        self.p.1.saturating_add(1).max(self.p.0.saturating_add(self.t.1))
    }
    /// Most that `ROW + T` can be in a launch: the body has one row more than the greatest `ROW`.
    pub fn most_row_plus_t(&self) -> u32 {
        self.row.1.saturating_add(1).max(self.row.0.saturating_add(self.t.1))
    }
}

/// A buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    /// For readers; unique in the kernel.
    pub name: String,
    /// Unit of indices. Loads and stores may have another type where the target allows it; then the access covers
    /// `size(type)` bytes from byte `index · size(elem)`.
    pub elem: Type,
    /// Length in units of `elem`.
    pub len: u32,
    /// Where it lives.
    pub space: Space,
    /// What the kernel does with it.
    pub access: Access,
    /// Alignment of its first byte.
    pub align: u32,
}

/// Where a buffer lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// A parameter, bound by the plan.
    Param,
    /// Shared by the lanes of a tile; undefined at its start.
    Workgroup,
    /// One per lane; undefined at the start of a tile.
    Private,
}

/// What a kernel does with a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Loads only.
    Read,
    /// Stores only.
    Write,
    /// Both.
    ReadWrite,
}

/// A value: its type and, if it is pure, its expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its type.
    pub ty: Type,
    /// Where it comes from.
    pub def: Def,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Def {
    /// A pure expression, placed by `let`.
    Expr(Expr),
    /// The statement that names the value: `load`, `get`, `for`, `subgroup`.
    Stmt,
}

impl Kernel {
    /// The parameters, in binding order.
    pub fn params(&self) -> impl Iterator<Item = (BufId, &Buffer)> {
        self.buffers.iter().filter(|(_, b)| b.space == Space::Param)
    }
    /// The type of an operand: a value's own, `None` for an immediate (it takes the type its place demands).
    pub fn operand_type(&self, operand: Operand) -> Option<Type> {
        match operand {
            Operand::Value(v) => Some(self.values[v].ty),
            Operand::Imm(_) => None,
        }
    }
}
