//! Expressions of packed bytes and halves, arithmetic on halves, dot products.

use crate::case::{Case, Gen, Sheet};
use crate::exprs::WIDE;
use slmc_ir::kernel::{BinaryOp, CmpOp, Expr, Imm, KernelBuilder, Operand, ReduceOp, Scalar, Type, UnaryOp, ValueId};

const BYTES: [Scalar; 2] = [Scalar::I8, Scalar::U8];
const F16: Scalar = Scalar::F16;

/// Bytes in words: moves, bits, conversions.
pub fn bytes() -> Vec<Case> {
    let mut sheet = Sheet::new("bytes");
    for scalar in BYTES {
        for lanes in [4u16, 8, 16] {
            let ty = Type::vector(scalar, lanes);
            sheet.apply(&format!("move_{ty}"), &[(ty, Gen::Any)], |_, v| v[0]);
            sheet.apply(&format!("not_{ty}"), &[(ty, Gen::Any)], |b, v| b.unary(UnaryOp::Not, v[0]));
            for (op, name) in [(BinaryOp::And, "and"), (BinaryOp::Or, "or"), (BinaryOp::Xor, "xor")] {
                sheet.apply(&format!("{name}_{ty}"), &[(ty, Gen::Any), (ty, Gen::Any)], |b, v| b.binary(op, v[0], v[1]));
                sheet.apply(&format!("{name}_15_{ty}"), &[(ty, Gen::Any)], |b, v| b.binary(op, v[0], 15u32));
            }
            for amount in [0u32, 1, 4, 7] {
                sheet.apply(&format!("shl_{amount}_{ty}"), &[(ty, Gen::Any)], |b, v| b.binary(BinaryOp::Shl, v[0], amount));
                sheet.apply(&format!("shr_{amount}_{ty}"), &[(ty, Gen::Any)], |b, v| b.binary(BinaryOp::Shr, v[0], amount));
            }
            let fixed = if scalar == Scalar::I8 { -3i32 } else { 200 };
            sheet.apply(&format!("constant_{ty}"), &[(ty, Gen::Any)], |b, v| {
                let c = b.constant(ty, fixed);
                b.binary(BinaryOp::Xor, v[0], c)
            });
            let one = Type::scalar(Scalar::I32);
            sheet.apply(&format!("select_{ty}"), &[(one, Gen::Small), (ty, Gen::Any), (ty, Gen::Any)], |b, v| {
                let cond = b.cmp(CmpOp::Ge, v[0], 0i32);
                b.select(cond, v[1], v[2])
            });
            let other = Type::vector(if scalar == Scalar::I8 { Scalar::U8 } else { Scalar::I8 }, lanes);
            sheet.apply(&format!("{ty}_to_{other}"), &[(ty, Gen::Any)], |b, v| b.convert(v[0], other.scalar));
            for to in WIDE {
                let wide = Type::vector(to, lanes / 4);
                sheet.apply(&format!("{ty}_bits_{wide}"), &[(ty, Gen::Any)], |b, v| b.bitcast(v[0], wide));
                sheet.apply(&format!("{wide}_bits_{ty}"), &[(wide, Gen::Any)], |b, v| b.bitcast(v[0], ty));
            }
        }
        let four = Type::vector(scalar, 4);
        for to in WIDE {
            let wide = Type::vector(to, 4);
            sheet.apply(&format!("{four}_to_{wide}"), &[(four, Gen::Any)], |b, v| b.convert(v[0], to));
            let kind = if to == Scalar::F32 { Gen::UpTo(127) } else { Gen::Any };
            let ints = Type::vector(Scalar::U32, 4);
            let from = if to == Scalar::F32 { ints } else { wide };
            sheet.apply(&format!("{wide}_to_{four}"), &[(from, kind)], |b, v| {
                let wide = if to == Scalar::F32 { b.convert(v[0], to) } else { v[0] };
                let wide = if to == Scalar::F32 && scalar == Scalar::I8 { b.unary(UnaryOp::Neg, wide) } else { wide };
                b.convert(wide, scalar)
            });
        }
        for (from, to) in [(4, 8), (4, 16), (8, 16)] {
            let from = Type::vector(scalar, from);
            sheet.apply(&format!("repeat_{from}_{to}"), &[(from, Gen::Any)], |b, v| b.repeat(v[0], to));
        }
    }
    sheet.finish()
}

/// Halves that are only moved and converted, as any device can.
pub fn halves() -> Vec<Case> {
    let mut sheet = Sheet::new("halves");
    for lanes in [2u16, 4, 8] {
        let ty = Type::vector(F16, lanes);
        sheet.apply(&format!("move_{ty}"), &[(ty, Gen::Small)], |_, v| v[0]);
        for scalar in WIDE {
            let words = Type::vector(scalar, lanes / 2);
            sheet.apply(&format!("{ty}_bits_{words}"), &[(ty, Gen::Small)], |b, v| b.bitcast(v[0], words));
            sheet.apply(&format!("{words}_bits_{ty}"), &[(words, Gen::Small)], |b, v| b.bitcast(v[0], ty));
        }
        let bytes = Type::vector(Scalar::U8, lanes * 2);
        sheet.apply(&format!("{ty}_bits_{bytes}"), &[(ty, Gen::Small)], |b, v| b.bitcast(v[0], bytes));
        let one = Type::scalar(Scalar::I32);
        sheet.apply(&format!("select_{ty}"), &[(one, Gen::Small), (ty, Gen::Small), (ty, Gen::Small)], |b, v| {
            let cond = b.cmp(CmpOp::Ge, v[0], 0i32);
            b.select(cond, v[1], v[2])
        });
        sheet.apply(&format!("constant_{ty}"), &[(one, Gen::Small), (ty, Gen::Small)], |b, v| {
            let c = b.constant(ty, 0.3f32);
            let cond = b.cmp(CmpOp::Ge, v[0], 0i32);
            b.select(cond, v[1], c)
        });
        if lanes < 8 {
            let wide = Type::vector(Scalar::F32, lanes);
            sheet.apply(&format!("{ty}_to_{wide}"), &[(ty, Gen::Any)], |b, v| b.convert(v[0], Scalar::F32));
            sheet.apply(&format!("{wide}_to_{ty}"), &[(wide, Gen::Small)], |b, v| b.convert(v[0], F16));
            sheet.apply(&format!("{ty}_to_i32"), &[(ty, Gen::Small)], |b, v| b.convert(v[0], Scalar::I32));
        }
        if lanes == 4 {
            for bytes in BYTES {
                let four = Type::vector(bytes, 4);
                sheet.apply(&format!("{four}_to_{ty}"), &[(four, Gen::Any)], |b, v| b.convert(v[0], F16));
            }
        }
    }
    for (from, to) in [(2, 4), (2, 8), (4, 8)] {
        let from = Type::vector(F16, from);
        sheet.apply(&format!("repeat_{from}_{to}"), &[(from, Gen::Small)], |b, v| b.repeat(v[0], to));
    }
    sheet.finish()
}

/// Halves as numbers.
pub fn half_arithmetic() -> Vec<Case> {
    let mut sheet = Sheet::new("half_arithmetic");
    for lanes in [1u16, 2, 4] {
        let ty = Type::vector(F16, lanes);
        for (op, name) in [(UnaryOp::Neg, "neg"), (UnaryOp::Abs, "abs"), (UnaryOp::Round, "round"), (UnaryOp::Floor, "floor")] {
            sheet.apply(&format!("{name}_{ty}"), &[(ty, Gen::Small)], |b, v| b.unary(op, v[0]));
        }
        for (op, name) in [(BinaryOp::Add, "add"), (BinaryOp::Sub, "sub"), (BinaryOp::Mul, "mul"), (BinaryOp::Min, "min"), (BinaryOp::Max, "max")] {
            sheet.apply(&format!("{name}_{ty}"), &[(ty, Gen::Small), (ty, Gen::Small)], |b, v| b.binary(op, v[0], v[1]));
        }
        sheet.apply(&format!("fma_{ty}"), &[(ty, Gen::UpTo(0)), (ty, Gen::Small), (ty, Gen::Small)], |b, v| b.fma(v[0], v[1], v[2]));
        sheet.apply(&format!("infinite_{ty}"), &[(ty, Gen::Small)], |b, v| b.min(v[0], f32::NEG_INFINITY));
        sheet.apply(&format!("select_{ty}"), &[(ty, Gen::Any), (ty, Gen::Any)], |b, v| {
            let cond = b.cmp(CmpOp::Lt, v[0], v[1]);
            b.select(cond, v[0], v[1])
        });
        for to in WIDE {
            sheet.apply(&format!("{ty}_to_{to}"), &[(ty, Gen::Small)], |b, v| {
                let v = if to == Scalar::U32 { b.unary(UnaryOp::Abs, v[0]) } else { v[0] };
                b.convert(v, to)
            });
            sheet.apply(&format!("{to}_to_{ty}"), &[(Type::vector(to, lanes), Gen::Small)], |b, v| b.convert(v[0], F16));
        }
        if lanes > 1 {
            sheet.apply(&format!("extract_{ty}"), &[(ty, Gen::Small)], |b, v| b.extract(v[0], lanes - 1));
            sheet.apply(&format!("reverse_{ty}"), &[(ty, Gen::Small), (ty, Gen::Small)], |b, v| {
                b.shuffle(v[0], v[1], (0..lanes).map(|i| 2 * lanes - 1 - i).collect())
            });
            for (op, name) in ReduceOp::ALL {
                sheet.apply(&format!("reduce_{name}_{ty}"), &[(ty, Gen::Small)], |b, v| b.reduce(op, v[0]));
            }
            let words = Type::vector(Scalar::U32, lanes / 2);
            sheet.apply(&format!("{ty}_bits_{words}"), &[(ty, Gen::Small)], |b, v| {
                let twice = b.add(v[0], v[0]);
                b.bitcast(twice, words)
            });
            sheet.apply(&format!("{words}_bits_{ty}"), &[(ty, Gen::Small)], |b, v| {
                let words = b.bitcast(v[0], words);
                let back = b.bitcast(words, ty);
                b.add(back, back)
            });
        }
        if lanes == 4 {
            let four = Type::vector(Scalar::I8, 4);
            sheet.apply("halves_to_bytes", &[(ty, Gen::Small)], |b, v| b.convert(v[0], Scalar::I8));
            sheet.apply("bytes_to_halves", &[(four, Gen::Any)], |b, v| {
                let v = b.convert(v[0], F16);
                b.add(v, 1.0f32)
            });
        }
    }
    sheet.finish()
}

/// Dot products of packed bytes, one operand in several, and at their extremes.
pub fn dots() -> Vec<Case> {
    let mut sheet = Sheet::new("dots");
    for lanes in [1u16, 2, 4] {
        let (acc, bytes) = (Type::vector(Scalar::I32, lanes), lanes * 4);
        let (i8s, u8s) = (Type::vector(Scalar::I8, bytes), Type::vector(Scalar::U8, bytes));
        let dot = |b: &mut KernelBuilder, acc: Operand, x: ValueId, y: ValueId, max_a: u8| {
            b.expr(Type::vector(Scalar::I32, lanes), Expr::Dot4 { acc, a: x.into(), b: y.into(), max_a })
        };
        sheet.apply(&format!("signed_{lanes}"), &[(acc, Gen::Any), (i8s, Gen::Any), (i8s, Gen::Any)], |b, v| dot(b, v[0].into(), v[1], v[2], 128));
        sheet.apply(&format!("unsigned_{lanes}"), &[(acc, Gen::Any), (u8s, Gen::UpTo(127)), (i8s, Gen::Any)], |b, v| {
            dot(b, v[0].into(), v[1], v[2], 127)
        });
        sheet.apply(&format!("from_zero_{lanes}"), &[(i8s, Gen::Any), (i8s, Gen::Any)], |b, v| dot(b, Operand::Imm(Imm::Int(0)), v[0], v[1], 128));
        sheet.apply(&format!("shared_{lanes}"), &[(i8s, Gen::Any), (i8s, Gen::Any), (i8s, Gen::Any)], |b, v| {
            let one = dot(b, Operand::Imm(Imm::Int(5)), v[0], v[1], 128);
            dot(b, one.into(), v[2], v[1], 128)
        });
    }
    sheet.finish()
}
