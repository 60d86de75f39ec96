//! The interpreter of kernel IR: executes tiles on bytes, exactly as the documentation of [`crate::kernel`] says, and is the
//! oracle for code generators.
//!
//! A kernel is compiled once to a flat list of instructions over one array of 32-bit words; a value of N lanes owns N
//! words, placed after the words of everything it uses. That keeps a step free of allocation and of dispatch on anything
//! but the instruction. Floats of 16 bits are kept as the f32 of the same value and rounded after every operation.
//!
//! What a verified kernel cannot do is a [`Fault`] here, never a panic: accesses outside a buffer, reads of private or
//! workgroup memory that was not written, `u32` wrap, zero divisors, large shifts, `dot4` and `dot2` outside their stated
//! bounds, lanes that disagree about a barrier, workgroup memory that lanes share without one. The order of tiles is x, then y, then z; of lanes, by index between barriers.

mod compile;
mod instr;
mod lanes;
mod machine;
mod memory;
mod shared;

pub use compile::Compiled;
pub use machine::{Machine, SUBGROUP_LANES, run_grid};
pub use memory::{Memory, Place, Region};

/// The step's numbers that a launch sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// `T`: tokens (in the head: rows) of the step.
    pub t: u32,
    /// `P`: tokens in the cache before the step.
    pub p: u32,
    /// `ROW`: in the head, the first of the body's rows to read.
    pub row: u32,
}

/// What a kernel did that no verified kernel does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kernel @{kernel}, tile {tile:?}, lane {lane}: {at}: {kind}")]
pub struct Fault {
    /// The kernel's name.
    pub kernel: String,
    /// The tile.
    pub tile: [u32; 3],
    /// The invocation in the tile.
    pub lane: u32,
    /// The value or buffer at fault, in IR text.
    pub at: String,
    /// What happened.
    pub kind: FaultKind,
}

/// Kinds of [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// A load or store outside its buffer or binding.
    #[error("bytes {start}..{end} lie outside the buffer of {len}")]
    OutOfBounds {
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// Bytes of the buffer, or of what is bound to it if that is less.
        len: u64,
    },
    /// A read of private or workgroup memory that this tile did not write.
    #[error("byte {byte} is read before it is written")]
    Undefined {
        /// The first such byte.
        byte: u64,
    },
    /// A store to a region that is read-only.
    #[error("the buffer is bound to read-only memory")]
    ReadOnly,
    /// `u32` arithmetic that wraps.
    #[error("u32 arithmetic leaves 0..2^32")]
    Wrap,
    /// An integer division by zero.
    #[error("the divisor is zero")]
    Divisor,
    /// A shift by the lane's bits or more.
    #[error("the shift amount is not less than the bits of a lane")]
    Shift,
    /// A `dot4` whose first operand exceeds `max_a`, or a `dot2` whose sum does not fit i16.
    #[error("an operand or sum of the dot product is outside its stated bound")]
    DotBound,
    /// Workgroup memory that two lanes touch between two barriers, one of them writing.
    #[error("byte {byte} of workgroup memory was touched by lane {other} since the last barrier, and one of both lanes writes it")]
    Race {
        /// The first such byte.
        byte: u64,
        /// The other lane; 0 where several lanes read.
        other: u32,
    },
    /// Lanes of one tile that wait at different barriers, or some that do not wait.
    #[error("lanes of one tile do not meet at one barrier")]
    Barrier,
    /// Parameters and bindings differ in number.
    #[error("{expected} parameters, but {found} bindings")]
    Bindings {
        /// Parameters of the kernel.
        expected: usize,
        /// Bindings given.
        found: usize,
    },
    /// A binding outside its region, or of a region that does not exist.
    #[error("binding {0} lies outside its region")]
    Place(usize),
    /// A step or tile that the kernel's bounds exclude.
    #[error("the launch breaks the kernel's bounds: {0}")]
    Bounds(String),
}
