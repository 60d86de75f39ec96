//! Cases of expressions that work lane by lane.

use crate::case::{Case, Gen, apply};
use slmc_ir::kernel::{BinaryOp, CmpOp, Expr, KernelBuilder, Scalar, Type, UnaryOp, ValueId};

const INTS: [Scalar; 5] = [Scalar::I8, Scalar::U8, Scalar::I16, Scalar::I32, Scalar::U32];

/// One lane, parts of a register, a whole one, two.
fn lanes_of(scalar: Scalar) -> [u16; 4] {
    if scalar.bytes() == 1 { [1, 4, 16, 64] } else { [1, 4, 8, 16] }
}

/// Unary, binary and fma in all types that have them.
pub fn arithmetic() -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, op_name) in UnaryOp::ALL {
        let float = !matches!(op, UnaryOp::Not | UnaryOp::Exp | UnaryOp::Tanh);
        let of = |s: &Scalar| match op {
            UnaryOp::Neg | UnaryOp::Abs => s.is_signed(),
            UnaryOp::Not => true,
            _ => false,
        };
        for scalar in INTS.into_iter().filter(of).chain(float.then_some(Scalar::F32)) {
            for lanes in lanes_of(scalar) {
                let ty = Type::vector(scalar, lanes);
                cases.push(apply(&format!("{op_name}_{ty}"), &[(ty, Gen::Any)], |b, v| b.unary(op, v[0])));
            }
        }
    }
    for (op, op_name) in BinaryOp::ALL {
        for scalar in INTS.into_iter().chain([Scalar::F32]) {
            let float = scalar.is_float();
            let (kind, other) = match op {
                BinaryOp::Rem if scalar != Scalar::U32 => continue,
                BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr if float => continue,
                BinaryOp::Shl | BinaryOp::Shr => (Gen::Any, Gen::UpTo((scalar.bytes() * 8 - 1) as u8)),
                BinaryOp::Div | BinaryOp::Rem if !float => (Gen::Any, Gen::NonZero),
                _ => (Gen::Any, Gen::Any),
            };
            for lanes in lanes_of(scalar) {
                let ty = Type::vector(scalar, lanes);
                cases.push(apply(&format!("{op_name}_{ty}"), &[(ty, kind), (ty, other)], |b, v| {
                    let (left, right) = provable(b, op, v[0], v[1]);
                    b.binary(op, left, right)
                }));
            }
        }
    }
    for (scalar, lanes) in [(Scalar::I32, 1), (Scalar::I32, 8), (Scalar::I8, 16), (Scalar::I16, 8)] {
        for divisor in [-1i32, -7, 4] {
            let ty = Type::vector(scalar, lanes);
            let name = format!("div_{ty}_by_{}{}", if divisor < 0 { "minus_" } else { "" }, divisor.abs());
            cases.push(apply(&name, &[(ty, Gen::Any)], |b, v| b.div(v[0], divisor)));
        }
    }
    for lanes in [1, 4, 8, 16, 32] {
        let ty = Type::vector(Scalar::F32, lanes);
        cases.push(apply(&format!("fma_{ty}"), &[(ty, Gen::Any); 3], |b, v| b.fma(v[0], v[1], v[2])));
        cases.push(apply(&format!("immediates_{ty}"), &[(ty, Gen::Small)], |b, v| b.fma(v[0], 1.5f32, -0.25f32)));
        // Products and sums stay apart: each is rounded.
        cases.push(apply(&format!("apart_{ty}"), &[(ty, Gen::Small); 3], |b, v| {
            let product = b.mul(v[0], v[1]);
            b.add(product, v[2])
        }));
    }
    for scalar in INTS {
        for lanes in lanes_of(scalar) {
            let ty = Type::vector(scalar, lanes);
            cases.push(apply(&format!("parts_{ty}"), &[(ty, Gen::Any)], |b, v| {
                let high = b.binary(BinaryOp::Shr, v[0], 4u32);
                let low = b.binary(BinaryOp::And, v[0], 15u32);
                let low = b.binary(BinaryOp::Shl, low, 4u32);
                b.binary(BinaryOp::Or, high, low)
            }));
        }
    }
    cases
}

/// Operands bounded so that the verifier can prove what `op` demands of them.
fn provable(b: &mut KernelBuilder, op: BinaryOp, left: ValueId, right: ValueId) -> (ValueId, ValueId) {
    let scalar = b.ty(right).scalar;
    match op {
        BinaryOp::Shl | BinaryOp::Shr => {
            let right = if scalar.is_signed() { b.max(right, 0i32) } else { right };
            (left, b.min(right, (scalar.bytes() * 8 - 1) as i32))
        }
        BinaryOp::Div | BinaryOp::Rem if !scalar.is_float() => (left, b.max(right, 1i32)),
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul if scalar == Scalar::U32 => {
            let (left, right) = (b.min(left, 30_000u32), b.min(right, 30_000u32));
            let left = if op == BinaryOp::Sub { b.add(left, 30_000u32) } else { left };
            (left, right)
        }
        _ => (left, right),
    }
}

/// Comparisons, selections and truth values.
pub fn comparisons() -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, op_name) in CmpOp::ALL {
        for scalar in INTS.into_iter().chain([Scalar::F32]) {
            for lanes in [1, 4, 16] {
                let ty = Type::vector(scalar, lanes);
                cases.push(apply(&format!("cmp_{op_name}_{ty}"), &[(ty, Gen::Any), (ty, Gen::Any)], |b, v| b.cmp(op, v[0], v[1])));
                cases.push(apply(&format!("select_{op_name}_{ty}"), &[(ty, Gen::Any), (ty, Gen::Any)], |b, v| {
                    let cond = b.cmp(op, v[0], v[1]);
                    b.select(cond, v[1], v[0])
                }));
            }
        }
    }
    for lanes in [1, 4, 8, 16] {
        let ty = Type::vector(Scalar::I32, lanes);
        for (op, name) in [(BinaryOp::And, "and"), (BinaryOp::Or, "or"), (BinaryOp::Xor, "xor")] {
            cases.push(apply(&format!("bool_{name}_{lanes}"), &[(ty, Gen::Small), (ty, Gen::Small)], |b, v| {
                let (left, right) = (b.cmp(CmpOp::Lt, v[0], v[1]), b.cmp(CmpOp::Gt, v[0], 3i32));
                let not = b.unary(UnaryOp::Not, left);
                b.binary(op, not, right)
            }));
        }
    }
    for lanes in [1, 4, 16] {
        let (one, many) = (Type::scalar(Scalar::I32), Type::vector(Scalar::F32, lanes));
        cases.push(apply(&format!("select_all_{lanes}"), &[(one, Gen::Small), (many, Gen::Small), (many, Gen::Small)], |b, v| {
            let cond = b.cmp(CmpOp::Ge, v[0], 0i32);
            b.select(cond, v[1], v[2])
        }));
    }
    // A condition on wide lanes that chooses narrow ones, and the other way about.
    for (of, chosen) in [(Scalar::F32, Scalar::U8), (Scalar::I32, Scalar::I16), (Scalar::I8, Scalar::F32), (Scalar::I16, Scalar::I32)] {
        let (of, ty) = (Type::vector(of, 4), Type::vector(chosen, 4));
        cases.push(apply(&format!("select_{ty}_by_{of}"), &[(of, Gen::Small), (of, Gen::Small), (ty, Gen::Small), (ty, Gen::Small)], |b, v| {
            let cond = b.cmp(CmpOp::Lt, v[0], v[1]);
            b.select(cond, v[2], v[3])
        }));
    }
    cases
}

/// Every pair of scalar types that converts, and bit casts.
pub fn conversions() -> Vec<Case> {
    let mut cases = Vec::new();
    let scalars = Scalar::ALL.map(|(s, _)| s).into_iter().filter(|s| *s != Scalar::Bool);
    for from in scalars.clone() {
        for to in scalars.clone() {
            let narrow = to.is_float() && to != Scalar::F32;
            if matches!(from, Scalar::I32 | Scalar::U32) && narrow {
                continue;
            }
            // Out of range, a float gives any integer; negative ones are out of the range of unsigned types.
            let kind = if from.is_float() && to.is_int() { Gen::Small } else { Gen::Any };
            for lanes in [1, 4, 16, 32] {
                let ty = Type::vector(from, lanes);
                cases.push(apply(&format!("convert_{ty}_{to}"), &[(ty, kind)], |b, v| {
                    let v = if to.is_float() || to.is_signed() || !from.is_float() { v[0] } else { positive(b, v[0]) };
                    let out = b.convert(v, to);
                    if narrow { settle(b, out) } else { out }
                }));
            }
        }
    }
    let casts = [
        (Type::vector(Scalar::U8, 64), Type::vector(Scalar::I32, 16)),
        (Type::vector(Scalar::I32, 4), Type::vector(Scalar::I16, 8)),
        (Type::vector(Scalar::I8, 4), Type::scalar(Scalar::I32)),
        (Type::vector(Scalar::F16, 2), Type::scalar(Scalar::U32)),
        (Type::scalar(Scalar::Bf16), Type::scalar(Scalar::I16)),
        (Type::scalar(Scalar::F32), Type::vector(Scalar::U8, 4)),
        (Type::vector(Scalar::F32, 16), Type::vector(Scalar::I8, 64)),
        (Type::vector(Scalar::U8, 16), Type::vector(Scalar::I32, 4)),
        (Type::vector(Scalar::U8, 8), Type::vector(Scalar::F16, 4)),
        (Type::vector(Scalar::I8, 2), Type::scalar(Scalar::F16)),
    ];
    for (from, to) in casts {
        cases.push(apply(&format!("bitcast_{from}_{to}"), &[(from, Gen::Small)], |b, v| b.bitcast(v[0], to)));
    }
    cases
}

/// The absolute value, as f32.
fn positive(b: &mut KernelBuilder, v: ValueId) -> ValueId {
    let wide = if b.ty(v).scalar == Scalar::F32 { v } else { b.convert(v, Scalar::F32) };
    b.unary(UnaryOp::Abs, wide)
}

/// A 16-bit float widened again, so that NaNs can be told.
fn settle(b: &mut KernelBuilder, v: ValueId) -> ValueId {
    let ty = b.ty(v).with_scalar(Scalar::F32);
    b.expr(ty, Expr::Convert(v.into()))
}
