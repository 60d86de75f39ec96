//! How types of the kernel IR are held in naga.
//!
//! naga has scalars of 32 bits, `f16` where the device has it, and vectors of two to four of them. Byte vectors, and half
//! vectors where no arithmetic is done on them, are *packed*: words of 32 bits (`u32`, `vec2<u32>`, `vec4<u32>`) with lane 0
//! in the lowest bits, as they lie in memory.

use naga::{Handle, Span, TypeInner, UniqueArena, VectorSize};
use slmc_ir::kernel::{BinaryOp, Def, Expr, Kernel, Operand, Scalar, Stmt, Type};

/// How a kernel holds its `f16` vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halves {
    /// As words; nothing but moves and conversions exists. Needs no capability.
    Packed,
    /// As numbers; needs 16-bit floats and 16-bit storage of the device.
    Native,
}

/// The form of a type in naga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Lanes as they are: 1, 2 or 4.
    Plain(naga::Scalar, u16),
    /// Words of four bytes or two halves: 1, 2 or 4.
    Packed(u16),
}

impl Form {
    /// The form of `ty`, if it has one.
    pub(super) fn of(ty: Type, halves: Halves) -> Option<Form> {
        let plain = |scalar| matches!(ty.lanes, 1 | 2 | 4).then_some(Form::Plain(scalar, ty.lanes));
        match ty.scalar {
            Scalar::F32 => plain(naga::Scalar::F32),
            Scalar::I32 => plain(naga::Scalar::I32),
            Scalar::U32 => plain(naga::Scalar::U32),
            Scalar::Bool => plain(naga::Scalar::BOOL),
            Scalar::F16 if halves == Halves::Native => plain(naga::Scalar::F16),
            Scalar::F16 => matches!(ty.lanes, 2 | 4 | 8).then_some(Form::Packed(ty.lanes / 2)),
            Scalar::I8 | Scalar::U8 => matches!(ty.lanes, 4 | 8 | 16).then_some(Form::Packed(ty.lanes / 4)),
            Scalar::Bf16 | Scalar::I16 => None,
        }
    }

    /// The scalar and the lanes that naga sees.
    pub(super) fn shape(self) -> (naga::Scalar, u16) {
        match self {
            Form::Plain(scalar, lanes) => (scalar, lanes),
            Form::Packed(words) => (naga::Scalar::U32, words),
        }
    }
}

/// naga's size of a vector of 2 or 4 lanes; `None` for a scalar.
pub(super) fn size(lanes: u16) -> Option<VectorSize> {
    match lanes {
        2 => Some(VectorSize::Bi),
        4 => Some(VectorSize::Quad),
        _ => None,
    }
}

/// The type of a scalar or vector.
pub(super) fn numeric(types: &mut UniqueArena<naga::Type>, scalar: naga::Scalar, lanes: u16) -> Handle<naga::Type> {
    let inner = match size(lanes) {
        Some(size) => TypeInner::Vector { size, scalar },
        None => TypeInner::Scalar(scalar),
    };
    types.insert(naga::Type { name: None, inner }, Span::UNDEFINED)
}

/// How `kernel` must hold its halves: packed unless it has a scalar half or does more with halves than to move and convert
/// them.
pub(super) fn halves(kernel: &Kernel) -> Halves {
    let is_half = |ty: Type| ty.scalar == Scalar::F16;
    let single = |ty: Type| is_half(ty) && ty.lanes == 1;
    let computes = |ty: Type, expr: &Expr| match expr {
        Expr::Binary(BinaryOp::Add, Operand::Imm(_), Operand::Imm(_)) => false,
        Expr::Unary(..) | Expr::Binary(..) | Expr::Fma(..) | Expr::Shuffle(..) => is_half(ty),
        Expr::Select(c, ..) => is_half(ty) && kernel.operand_type(*c).is_some_and(Type::is_vector),
        Expr::Cmp(_, a, _) | Expr::Extract(a, _) | Expr::Reduce(_, a) => kernel.operand_type(*a).is_some_and(is_half),
        Expr::Convert(a) => is_half(ty) && kernel.operand_type(*a).is_some_and(|t| matches!(t.scalar, Scalar::I32 | Scalar::U32)),
        Expr::Builtin(_) | Expr::Bitcast(_) | Expr::Dot4 { .. } | Expr::Dot2(..) | Expr::Mmla(..) | Expr::Repeat(_) => false,
    };
    let values = kernel.values.iter().any(|(_, v)| single(v.ty) || matches!(&v.def, Def::Expr(e) if computes(v.ty, e)));
    let vars = kernel.vars.iter().any(|(_, ty)| single(*ty));
    let buffers = kernel.buffers.iter().any(|(_, b)| single(b.elem));
    if values || vars || buffers { Halves::Native } else { Halves::Packed }
}

/// Calls `f` on every statement of a block and of the blocks nested in it.
pub(super) fn walk<'k>(stmts: &'k [Stmt], f: &mut impl FnMut(&'k Stmt)) {
    for stmt in stmts {
        f(stmt);
        match stmt {
            Stmt::For { body, .. } => walk(body, f),
            Stmt::If { then, otherwise, .. } => {
                walk(then, f);
                walk(otherwise, f);
            }
            Stmt::Let(_) | Stmt::Load { .. } | Stmt::Store { .. } | Stmt::Prefetch { .. } => {}
            Stmt::Var { .. } | Stmt::Get { .. } | Stmt::Set { .. } | Stmt::Subgroup { .. } | Stmt::Barrier => {}
        }
    }
}
