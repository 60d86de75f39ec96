//! Instructions of a compiled kernel. A `Slot` is the first of the words that hold the lanes of a value; in every
//! instruction that computes, the result `d` lies after all operands.

use crate::kernel::{BinaryOp, BufId, Builtin, CmpOp, ReduceOp, Scalar, Type, UnaryOp, ValueId};

/// The first word of a value.
pub(super) type Slot = usize;

/// One step of a compiled kernel; `n` counts lanes, jump targets are instruction indices.
#[derive(Debug, Clone)]
pub(super) enum Instr {
    Builtin {
        which: Builtin,
        d: Slot,
    },
    Unary {
        op: UnaryOp,
        scalar: Scalar,
        d: Slot,
        a: Slot,
        n: usize,
    },
    Binary {
        op: BinaryOp,
        scalar: Scalar,
        d: Slot,
        a: Slot,
        b: Slot,
        n: usize,
    },
    Fma {
        scalar: Scalar,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
        n: usize,
    },
    Cmp {
        op: CmpOp,
        scalar: Scalar,
        d: Slot,
        a: Slot,
        b: Slot,
        n: usize,
    },
    /// `one`: a scalar condition for all lanes.
    Select {
        one: bool,
        d: Slot,
        c: Slot,
        a: Slot,
        b: Slot,
        n: usize,
    },
    Convert {
        from: Scalar,
        to: Scalar,
        d: Slot,
        a: Slot,
        n: usize,
    },
    Bitcast {
        from: Type,
        to: Type,
        d: Slot,
        a: Slot,
    },
    Dot4 {
        max_a: u8,
        d: Slot,
        acc: Slot,
        a: Slot,
        b: Slot,
        n: usize,
    },
    /// `narrow`: sums must fit i16.
    Dot2 {
        narrow: bool,
        d: Slot,
        a: Slot,
        b: Slot,
        n: usize,
    },
    /// `n`: lanes of the result.
    Mmla {
        d: Slot,
        acc: Slot,
        a: Slot,
        b: Slot,
        n: usize,
    },
    Repeat {
        d: Slot,
        a: Slot,
        from: usize,
        n: usize,
    },
    /// `table`: index into the compiled kernel's shuffle tables; entries count from `a`'s first lane, `from` lanes each.
    Shuffle {
        table: usize,
        d: Slot,
        a: Slot,
        b: Slot,
        from: usize,
    },
    Reduce {
        op: ReduceOp,
        scalar: Scalar,
        d: Slot,
        a: Slot,
        n: usize,
    },
    /// Copies words, in any direction.
    Move {
        d: Slot,
        a: Slot,
        n: usize,
    },
    Load {
        ty: Type,
        d: Slot,
        buf: BufId,
        index: Slot,
    },
    Store {
        ty: Type,
        buf: BufId,
        index: Slot,
        value: Slot,
    },
    /// Sets `iv` to `start`, and leaves if there is no iteration.
    Loop {
        iv: Slot,
        start: Slot,
        end: Slot,
        exit: usize,
    },
    /// Goes on with the next iteration if there is one.
    Next {
        iv: Slot,
        end: Slot,
        step: u32,
        body: usize,
    },
    Jump {
        to: usize,
    },
    /// Goes to `otherwise` if the condition is false.
    Branch {
        cond: Slot,
        otherwise: usize,
    },
    Barrier,
    /// Reduces `a` over the lanes of a subgroup.
    Subgroup {
        op: ReduceOp,
        scalar: Scalar,
        d: Slot,
        a: Slot,
    },
}

/// What an instruction came from, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Value(ValueId),
    Buffer(BufId),
    Flow,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Value(v) => v.fmt(f),
            Origin::Buffer(b) => b.fmt(f),
            Origin::Flow => f.write_str("control flow"),
        }
    }
}
