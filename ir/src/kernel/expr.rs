//! Pure expressions of the kernel IR.
//!
//! Operands are values or immediates. An immediate takes the type that its place demands (the result type of arithmetic,
//! the other operand's type in a comparison) and is broadcast to all lanes there. The first operand of `cmp`, `convert`,
//! `bitcast`, lane operations and `reduce` must be a value.

use super::ty::Type;
use super::{ValueId, ty::Scalar};

/// An operand of an expression or a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operand {
    /// A value.
    Value(ValueId),
    /// A constant.
    Imm(Imm),
}

/// A constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Imm {
    /// For float places. Printed as exact hex.
    Float(f32),
    /// For integer places; for `bool`, 0 or 1.
    Int(i64),
}

/// A pure expression; the result type is the value's. Lane counts of operands and result are equal unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A number that the launch or the step gives, `u32`.
    Builtin(Builtin),
    /// One operand, the result's type.
    Unary(UnaryOp, Operand),
    /// Two operands of the result's type.
    Binary(BinaryOp, Operand, Operand),
    /// `a · b + c` rounded once; floats. A device without such an instruction rounds the product too: what a kernel means must
    /// not hang on the last bit.
    Fma(Operand, Operand, Operand),
    /// Comparison of two operands of one type → `bool` lanes.
    Cmp(CmpOp, Operand, Operand),
    /// `if cond { a } else { b }` per lane; a scalar `cond` chooses for all lanes.
    Select(Operand, Operand, Operand),
    /// Numeric conversion: float ↔ float rounds to nearest even; int → float rounds to nearest even; float → int
    /// truncates, and gives an unspecified value out of range; int → int truncates or extends by the signedness of the source.
    Convert(Operand),
    /// Same bits, another type of the same size; lane 0 is the lowest byte.
    Bitcast(Operand),
    /// `acc + Σ a·b` of four neighbours: acc and result i32xN, a u8x4N or i8x4N, b i8x4N. `max_a` bounds |a|; legalization
    /// uses it.
    Dot4 {
        /// Start value.
        acc: Operand,
        /// u8 or i8 lanes.
        a: Operand,
        /// i8 lanes.
        b: Operand,
        /// Most that |a| can be.
        max_a: u8,
    },
    /// Sums of products of two neighbours: (u8x2N, i8x2N) → i16xN, whose sums must fit i16; or (i16x2N, i16x2N) → i32xN.
    /// Made by legalization.
    Dot2(Operand, Operand),
    /// Matrix multiply-accumulate of bytes, per segment of four lanes: `acc + A·Bᵀ`, where A and B have two rows of eight
    /// columns. Lane 2i + j of a segment gains `Σ_c a[8i + c]·b[8j + c]`, c in 0..8, of the same segment's sixteen bytes. acc and
    /// result i32x4N, a and b i8x16N.
    Mmla(Operand, Operand, Operand),
    /// Repeats the lanes of the operand (N of them, 1 for a scalar) until the result (a multiple of N) is full.
    Repeat(Operand),
    /// One lane of a vector.
    Extract(Operand, u16),
    /// Result lane i is lane `lanes[i]` of the concatenation of both operands (of one type).
    Shuffle(Operand, Operand, Vec<u16>),
    /// All lanes to one scalar. Float sums associate as a tree: halves are added until one lane is left.
    Reduce(ReduceOp, Operand),
}

/// Numbers that the launch or the step gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Builtin {
    /// Tokens (in the head: rows) of this step.
    T,
    /// Tokens in the cache before this step.
    P,
    /// In the head, the first of the body's rows to read.
    Row,
    /// This tile's index along x, y or z (0, 1, 2).
    Grid(u8),
    /// This invocation's index in its workgroup; 0 on CPUs.
    Lane,
    /// Index of this lane's subgroup in the workgroup. Subgroups are runs of neighbouring lanes of one size, which only the device
    /// knows.
    Subgroup,
    /// This lane's index in its subgroup.
    SubgroupLane,
    /// Number of subgroups in the workgroup.
    Subgroups,
}

/// Expressions of one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnaryOp {
    /// Sign change; floats and signed integers.
    Neg,
    /// Absolute value; floats and signed integers.
    Abs,
    /// To the nearest integer, ties to even; floats.
    Round,
    /// Towards minus infinity; floats.
    Floor,
    /// Square root, correctly rounded; floats.
    Sqrt,
    /// e^x, f32; expanded by legalization.
    Exp,
    /// Hyperbolic tangent, f32; expanded by legalization.
    Tanh,
    /// Bitwise (for `bool`: logical) complement.
    Not,
}

/// Expressions of two operands of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BinaryOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient; integers truncate, a zero divisor is a fault.
    Div,
    /// Remainder; `u32` only.
    Rem,
    /// The smaller; of floats, the second if the first is a NaN.
    Min,
    /// The greater; of floats, the second if the first is a NaN.
    Max,
    /// Bitwise (for `bool`: logical) and.
    And,
    /// Bitwise (for `bool`: logical) or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left by less than the lane's bits.
    Shl,
    /// Shift right by less than the lane's bits; fills with the sign for signed types.
    Shr,
}

/// Comparisons; of floats, ordered (false with a NaN) except `Ne`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CmpOp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// Ways to reduce lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReduceOp {
    /// Sum.
    Add,
    /// Greatest.
    Max,
    /// Least.
    Min,
}

impl UnaryOp {
    /// Every op with its name.
    pub const ALL: [(UnaryOp, &'static str); 8] = [
        (UnaryOp::Neg, "neg"),
        (UnaryOp::Abs, "abs"),
        (UnaryOp::Round, "round"),
        (UnaryOp::Floor, "floor"),
        (UnaryOp::Sqrt, "sqrt"),
        (UnaryOp::Exp, "exp"),
        (UnaryOp::Tanh, "tanh"),
        (UnaryOp::Not, "not"),
    ];
}

impl BinaryOp {
    /// Every op with its name.
    pub const ALL: [(BinaryOp, &'static str); 12] = [
        (BinaryOp::Add, "add"),
        (BinaryOp::Sub, "sub"),
        (BinaryOp::Mul, "mul"),
        (BinaryOp::Div, "div"),
        (BinaryOp::Rem, "rem"),
        (BinaryOp::Min, "min"),
        (BinaryOp::Max, "max"),
        (BinaryOp::And, "and"),
        (BinaryOp::Or, "or"),
        (BinaryOp::Xor, "xor"),
        (BinaryOp::Shl, "shl"),
        (BinaryOp::Shr, "shr"),
    ];
}

impl CmpOp {
    /// Every op with its name.
    pub const ALL: [(CmpOp, &'static str); 6] =
        [(CmpOp::Eq, "eq"), (CmpOp::Ne, "ne"), (CmpOp::Lt, "lt"), (CmpOp::Le, "le"), (CmpOp::Gt, "gt"), (CmpOp::Ge, "ge")];
}

impl ReduceOp {
    /// Every op with its name.
    pub const ALL: [(ReduceOp, &'static str); 3] = [(ReduceOp::Add, "add"), (ReduceOp::Max, "max"), (ReduceOp::Min, "min")];
}

impl Expr {
    /// The operands, in order.
    pub fn operands(&self) -> Vec<Operand> {
        match self {
            Expr::Builtin(_) => vec![],
            Expr::Unary(_, a) | Expr::Convert(a) | Expr::Bitcast(a) | Expr::Repeat(a) | Expr::Extract(a, _) | Expr::Reduce(_, a) => vec![*a],
            Expr::Binary(_, a, b) | Expr::Cmp(_, a, b) | Expr::Dot2(a, b) | Expr::Shuffle(a, b, _) => vec![*a, *b],
            Expr::Fma(a, b, c) | Expr::Mmla(a, b, c) | Expr::Select(a, b, c) | Expr::Dot4 { acc: a, a: b, b: c, .. } => vec![*a, *b, *c],
        }
    }
    /// Calls `f` on every operand, which it may replace.
    pub fn map_operands(&mut self, mut f: impl FnMut(&mut Operand)) {
        match self {
            Expr::Builtin(_) => {}
            Expr::Unary(_, a) | Expr::Convert(a) | Expr::Bitcast(a) | Expr::Repeat(a) | Expr::Extract(a, _) | Expr::Reduce(_, a) => f(a),
            Expr::Binary(_, a, b) | Expr::Cmp(_, a, b) | Expr::Dot2(a, b) | Expr::Shuffle(a, b, _) => {
                f(a);
                f(b);
            }
            Expr::Fma(a, b, c) | Expr::Mmla(a, b, c) | Expr::Select(a, b, c) | Expr::Dot4 { acc: a, a: b, b: c, .. } => {
                f(a);
                f(b);
                f(c);
            }
        }
    }
}

impl Imm {
    /// The immediate zero of a type.
    pub fn zero(ty: Type) -> Self {
        match ty.scalar {
            Scalar::F32 | Scalar::F16 | Scalar::Bf16 => Imm::Float(0.0),
            Scalar::I8 | Scalar::U8 | Scalar::I16 | Scalar::I32 | Scalar::U32 | Scalar::Bool => Imm::Int(0),
        }
    }
}

impl From<ValueId> for Operand {
    fn from(v: ValueId) -> Self {
        Operand::Value(v)
    }
}
impl From<f32> for Operand {
    fn from(v: f32) -> Self {
        Operand::Imm(Imm::Float(v))
    }
}
impl From<u32> for Operand {
    fn from(v: u32) -> Self {
        Operand::Imm(Imm::Int(i64::from(v)))
    }
}
impl From<i32> for Operand {
    fn from(v: i32) -> Self {
        Operand::Imm(Imm::Int(i64::from(v)))
    }
}
