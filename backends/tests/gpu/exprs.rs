//! Expressions of 32-bit lanes, and what moves or combines lanes.

use crate::case::{Case, Gen, Sheet};
use slmc_ir::kernel::{BinaryOp, CmpOp, Expr, Imm, KernelBuilder, Operand, ReduceOp, Scalar, Type, UnaryOp, ValueId};

pub const WIDE: [Scalar; 3] = [Scalar::F32, Scalar::I32, Scalar::U32];
const LANES: [u16; 3] = [1, 2, 4];

/// Unary and binary operations, fused multiply-add.
pub fn arithmetic() -> Vec<Case> {
    let mut sheet = Sheet::new("arithmetic");
    for lanes in LANES {
        for (op, name) in UnaryOp::ALL {
            for scalar in WIDE {
                let defined = match op {
                    UnaryOp::Neg | UnaryOp::Abs => scalar != Scalar::U32,
                    UnaryOp::Round | UnaryOp::Floor | UnaryOp::Sqrt => scalar == Scalar::F32,
                    UnaryOp::Not => scalar != Scalar::F32,
                    UnaryOp::Exp | UnaryOp::Tanh => false,
                };
                if defined {
                    let ty = Type::vector(scalar, lanes);
                    let ulps = if op == UnaryOp::Sqrt { 3 } else { 0 };
                    sheet.apply_within(ulps, &format!("{name}_{ty}"), &[(ty, Gen::Any)], |b, v| b.unary(op, v[0]));
                }
            }
        }
        for (op, name) in BinaryOp::ALL {
            for scalar in WIDE {
                let defined = match op {
                    BinaryOp::Rem => scalar == Scalar::U32,
                    BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => scalar != Scalar::F32,
                    _ => true,
                };
                if defined {
                    let ty = Type::vector(scalar, lanes);
                    let ulps = if op == BinaryOp::Div && scalar == Scalar::F32 { 3 } else { 0 };
                    let right = if op == BinaryOp::Rem { Gen::NonZero } else { Gen::Any };
                    sheet.apply_within(ulps, &format!("{name}_{ty}"), &[(ty, Gen::Any), (ty, right)], |b, v| {
                        let (left, right) = provable(b, op, v[0], v[1]);
                        b.binary(op, left, right)
                    });
                }
            }
        }
        let (f32s, ints) = (Type::vector(Scalar::F32, lanes), Type::vector(Scalar::I32, lanes));
        // The least number over −1 is among these.
        sheet.apply(&format!("div_negative_{ints}"), &[(ints, Gen::Any), (ints, Gen::Any)], |b, v| {
            let divisor = b.min(v[1], -1i32);
            b.div(v[0], divisor)
        });
        // Vulkan lets a device round the product of `fma`, so these products are exact.
        sheet.apply(&format!("fma_{f32s}"), &[(ints, Gen::Small), (ints, Gen::Small), (f32s, Gen::Small)], |b, v| {
            let (left, right) = (b.convert(v[0], Scalar::F32), b.convert(v[1], Scalar::F32));
            b.fma(left, right, v[2])
        });
        sheet.apply(&format!("apart_{f32s}"), &[(f32s, Gen::Small); 3], |b, v| {
            let product = b.mul(v[0], v[1]);
            b.add(product, v[2])
        });
    }
    sheet.finish()
}

/// Immediates of every kind, among them those that naga has no literal for.
pub fn immediates() -> Vec<Case> {
    let mut sheet = Sheet::new("immediates");
    for lanes in LANES {
        let (floats, ints, indices) = (Type::vector(Scalar::F32, lanes), Type::vector(Scalar::I32, lanes), Type::vector(Scalar::U32, lanes));
        for (name, x) in [("inf", f32::INFINITY), ("minus_inf", f32::NEG_INFINITY), ("nan", f32::NAN), ("minus_zero", -0.0), ("small", 1e-30)] {
            sheet.apply(&format!("add_{name}_{lanes}"), &[(floats, Gen::Small)], |b, v| b.add(v[0], x));
            sheet.apply(&format!("least_{name}_{lanes}"), &[(floats, Gen::Any)], |b, v| b.min(v[0], x));
        }
        sheet.apply(&format!("fma_{lanes}"), &[(floats, Gen::Small)], |b, v| b.fma(v[0], 0.5f32, -0.25f32));
        for divisor in [-1i32, -7, 4, i32::MIN] {
            sheet.apply(&format!("div_{}{lanes}", divisor.unsigned_abs()), &[(ints, Gen::Any)], |b, v| b.div(v[0], divisor));
            sheet.apply(&format!("mul_{}{lanes}", divisor.unsigned_abs()), &[(ints, Gen::Any)], |b, v| b.mul(v[0], divisor));
        }
        for divisor in [1u32, 3, 32, u32::MAX] {
            sheet.apply(&format!("quotient_{divisor}_{lanes}"), &[(indices, Gen::Any)], |b, v| b.div(v[0], divisor));
            sheet.apply(&format!("rest_{divisor}_{lanes}"), &[(indices, Gen::Any)], |b, v| b.binary(BinaryOp::Rem, v[0], divisor));
        }
        for amount in [0u32, 7, 31] {
            sheet.apply(&format!("left_{amount}_{lanes}"), &[(indices, Gen::Any)], |b, v| b.binary(BinaryOp::Shl, v[0], amount));
            sheet.apply(&format!("right_{amount}_{lanes}"), &[(ints, Gen::Any)], |b, v| b.binary(BinaryOp::Shr, v[0], amount));
        }
        sheet.apply(&format!("immediate_first_{lanes}"), &[(ints, Gen::Any)], |b, v| {
            b.expr(ints, Expr::Binary(BinaryOp::Sub, Operand::Imm(Imm::Int(7)), v[0].into()))
        });
    }
    sheet.finish()
}

/// Operands bounded so that the verifier can prove what `op` demands of them.
fn provable(b: &mut KernelBuilder, op: BinaryOp, left: ValueId, right: ValueId) -> (ValueId, ValueId) {
    let scalar = b.ty(right).scalar;
    match op {
        BinaryOp::Shl | BinaryOp::Shr => {
            let right = if scalar.is_signed() { b.max(right, 0i32) } else { right };
            (left, b.min(right, 31i32))
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
    let mut sheet = Sheet::new("comparisons");
    for lanes in LANES {
        for (op, name) in CmpOp::ALL {
            for scalar in WIDE {
                let ty = Type::vector(scalar, lanes);
                sheet.apply(&format!("{name}_{ty}"), &[(ty, Gen::Any), (ty, Gen::Any)], |b, v| b.cmp(op, v[0], v[1]));
                sheet.apply(&format!("select_{name}_{ty}"), &[(ty, Gen::Any), (ty, Gen::Any)], |b, v| {
                    let cond = b.cmp(op, v[0], v[1]);
                    b.select(cond, v[1], v[0])
                });
            }
        }
        let ty = Type::vector(Scalar::I32, lanes);
        for (op, name) in [(BinaryOp::And, "and"), (BinaryOp::Or, "or"), (BinaryOp::Xor, "xor")] {
            sheet.apply(&format!("truth_{name}_{lanes}"), &[(ty, Gen::Small), (ty, Gen::Small)], |b, v| {
                let (left, right) = (b.cmp(CmpOp::Lt, v[0], v[1]), b.cmp(CmpOp::Gt, v[0], 3i32));
                let not = b.unary(UnaryOp::Not, left);
                b.binary(op, not, right)
            });
        }
        sheet.apply(&format!("same_truth_{lanes}"), &[(ty, Gen::Small), (ty, Gen::Small)], |b, v| {
            let (left, right) = (b.cmp(CmpOp::Lt, v[0], v[1]), b.cmp(CmpOp::Gt, v[0], 3i32));
            b.cmp(CmpOp::Eq, left, right)
        });
        let one = Type::scalar(Scalar::I32);
        sheet.apply(&format!("select_all_{lanes}"), &[(one, Gen::Small), (ty, Gen::Small), (ty, Gen::Small)], |b, v| {
            let cond = b.cmp(CmpOp::Ge, v[0], 0i32);
            b.select(cond, v[1], v[2])
        });
        sheet.apply(&format!("select_fixed_{lanes}"), &[(ty, Gen::Small), (ty, Gen::Small)], |b, v| {
            b.expr(ty, Expr::Select(Operand::Imm(Imm::Int(1)), v[0].into(), v[1].into()))
        });
    }
    sheet.finish()
}

/// Conversions and bit casts among 32-bit types.
pub fn conversions() -> Vec<Case> {
    let mut sheet = Sheet::new("conversions");
    for lanes in LANES {
        for from in WIDE {
            for to in WIDE {
                let ty = Type::vector(from, lanes);
                let kind = if from == Scalar::F32 { Gen::Small } else { Gen::Any };
                sheet.apply(&format!("{ty}_as_{to}"), &[(ty, kind)], |b, v| {
                    let v = if from == Scalar::F32 && to == Scalar::U32 { b.unary(UnaryOp::Abs, v[0]) } else { v[0] };
                    b.convert(v, to)
                });
                let other = Type::vector(to, lanes);
                sheet.apply(&format!("{ty}_bits_{to}"), &[(ty, Gen::Small)], |b, v| b.bitcast(v[0], other));
            }
        }
    }
    sheet.finish()
}

/// Repeat, extract, shuffle, reduce.
pub fn moves() -> Vec<Case> {
    let mut sheet = Sheet::new("moves");
    for scalar in WIDE {
        let ty = |lanes| Type::vector(scalar, lanes);
        for (from, to) in [(1, 2), (1, 4), (2, 4)] {
            sheet.apply(&format!("repeat_{}_{to}", ty(from)), &[(ty(from), Gen::Small)], |b, v| b.repeat(v[0], to));
        }
        for lanes in [2, 4] {
            for lane in 0..lanes {
                sheet.apply(&format!("extract_{}_{lane}", ty(lanes)), &[(ty(lanes), Gen::Small)], |b, v| b.extract(v[0], lane));
            }
            for (op, name) in ReduceOp::ALL {
                sheet.apply(&format!("reduce_{name}_{}", ty(lanes)), &[(ty(lanes), Gen::Small)], |b, v| {
                    // Float sums show their order in the last bits.
                    let v = match scalar {
                        Scalar::F32 => b.mul(v[0], 1.000_123_4f32),
                        Scalar::U32 => b.min(v[0], 1000u32),
                        _ => v[0],
                    };
                    b.reduce(op, v)
                });
            }
        }
        for (name, from, order) in [
            ("reverse", 4, vec![3, 2, 1, 0]),
            ("interleave", 4, vec![0, 4, 1, 5]),
            ("narrow", 4, vec![6, 1]),
            ("single", 4, vec![5]),
            ("join", 2, vec![0, 1, 2, 3]),
            ("twice", 2, vec![3, 3]),
            ("pair", 1, vec![1, 0]),
            ("four", 1, vec![1, 0, 0, 1]),
        ] {
            sheet.apply(&format!("{name}_{}", ty(from)), &[(ty(from), Gen::Small), (ty(from), Gen::Small)], |b, v| b.shuffle(v[0], v[1], order));
        }
    }
    sheet.finish()
}
