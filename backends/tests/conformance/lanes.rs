//! Cases of expressions that move or combine lanes.

use crate::case::{Case, Gen, apply};
use slmc_ir::kernel::{Expr, ReduceOp, Scalar, Type};

/// Repeat, extract, shuffle, reduce.
pub fn moves() -> Vec<Case> {
    let mut cases = Vec::new();
    let repeats = [
        (Scalar::I8, 4, 16),
        (Scalar::I8, 4, 64),
        (Scalar::I8, 4, 32),
        (Scalar::I8, 2, 8),
        (Scalar::U8, 8, 64),
        (Scalar::U8, 16, 64),
        (Scalar::I8, 1, 16),
        (Scalar::F32, 1, 4),
        (Scalar::F32, 1, 16),
        (Scalar::F32, 2, 4),
        (Scalar::F32, 2, 8),
        (Scalar::F32, 8, 16),
        (Scalar::I32, 1, 4),
        (Scalar::I32, 1, 8),
        (Scalar::I32, 2, 16),
        (Scalar::F16, 4, 16),
        (Scalar::Bf16, 1, 8),
        (Scalar::I16, 2, 32),
    ];
    for (scalar, from, to) in repeats {
        let ty = Type::vector(scalar, from);
        cases.push(apply(&format!("repeat_{ty}_{to}"), &[(ty, Gen::Small)], |b, v| b.repeat(v[0], to)));
    }
    for (scalar, lanes) in
        [(Scalar::F32, 4), (Scalar::F32, 16), (Scalar::I8, 4), (Scalar::I8, 16), (Scalar::I8, 64), (Scalar::F16, 8), (Scalar::I32, 4)]
    {
        let ty = Type::vector(scalar, lanes);
        for lane in [0, lanes / 2, lanes - 1] {
            cases.push(apply(&format!("extract_{ty}_{lane}"), &[(ty, Gen::Small)], |b, v| b.extract(v[0], lane)));
        }
        let interleaved: Vec<u16> = (0..lanes).map(|i| if i % 2 == 0 { i / 2 } else { lanes + i / 2 }).collect();
        let reversed: Vec<u16> = (0..lanes).rev().collect();
        let odd: Vec<u16> = (0..lanes / 2).map(|i| 2 * i + 1).collect();
        for (name, order) in [("interleave", interleaved), ("reverse", reversed), ("odd", odd), ("one", vec![lanes + 1])] {
            cases.push(apply(&format!("{name}_{ty}"), &[(ty, Gen::Small), (ty, Gen::Small)], |b, v| b.shuffle(v[0], v[1], order)));
        }
    }
    for scalar in [Scalar::F32, Scalar::I16] {
        let one = Type::scalar(scalar);
        cases.push(apply(&format!("pair_{scalar}"), &[(one, Gen::Small), (one, Gen::Small)], |b, v| b.shuffle(v[0], v[1], vec![1, 0, 0, 1])));
    }
    for (op, name) in ReduceOp::ALL {
        let (floats, ints) = ([2, 4, 8, 16, 64].map(|n| (Scalar::F32, n)), [(Scalar::I32, 4), (Scalar::I32, 16), (Scalar::I8, 16), (Scalar::I8, 64)]);
        for (scalar, lanes) in floats.into_iter().chain(ints) {
            let ty = Type::vector(scalar, lanes);
            // Float sums show their order in the last bits.
            let kind = if scalar.is_float() { Gen::Small } else { Gen::Any };
            cases.push(apply(&format!("reduce_{name}_{ty}"), &[(ty, kind)], |b, v| {
                let v = if scalar.is_float() { b.mul(v[0], 1.000_123_4f32) } else { v[0] };
                b.reduce(op, v)
            }));
        }
    }
    cases
}

/// Integer dot products, at every width and at their extremes.
pub fn dots() -> Vec<Case> {
    let mut cases = Vec::new();
    for lanes in [1, 2, 4, 8, 16] {
        let (acc, bytes) = (Type::vector(Scalar::I32, lanes), lanes * 4);
        let (a, b) = (Type::vector(Scalar::U8, bytes), Type::vector(Scalar::I8, bytes));
        let mut case = apply(&format!("dot4_{lanes}"), &[(acc, Gen::Any), (a, Gen::Any), (b, Gen::Any)], |k, v| k.dot4(v[0], v[1], v[2], 255));
        case.vnni = true;
        cases.push(case);
        let four = Type::vector(Scalar::I8, 4);
        let mut case = apply(&format!("dot4_repeat_{lanes}"), &[(acc, Gen::Any), (a, Gen::UpTo(15)), (four, Gen::Any)], |k, v| {
            let all = k.repeat(v[2], bytes);
            k.dot4(v[0], v[1], all, 15)
        });
        case.vnni = true;
        cases.push(case);
        let words = Type::vector(Scalar::I16, lanes * 2);
        cases.push(apply(&format!("dot2_i16_{lanes}"), &[(words, Gen::Small), (words, Gen::Small)], |k, v| {
            k.expr(acc, Expr::Dot2(v[0].into(), v[1].into()))
        }));
        let sums = Type::vector(Scalar::I16, lanes * 2);
        cases.push(apply(&format!("dot2_u8_{lanes}"), &[(a, Gen::UpTo(127)), (b, Gen::Any)], |k, v| {
            k.expr(sums, Expr::Dot2(v[0].into(), v[1].into()))
        }));
    }
    cases
}

/// A dot product of 16 bytes of `a` and of i8, in one step or by pairs.
#[cfg(feature = "cranelift")]
pub fn dot_of(a: Scalar, pairs: bool) -> Case {
    let (acc, sums) = (Type::vector(Scalar::I32, 4), Type::vector(Scalar::I16, 8));
    apply("dot_of", &[(acc, Gen::Any), (Type::vector(a, 16), Gen::UpTo(127)), (Type::vector(Scalar::I8, 16), Gen::Any)], |k, v| {
        if !pairs {
            return k.dot4(v[0], v[1], v[2], 127);
        }
        let words = k.expr(sums, Expr::Dot2(v[1].into(), v[2].into()));
        let ones = k.constant(sums, 1i32);
        let dwords = k.expr(acc, Expr::Dot2(words.into(), ones.into()));
        k.add(v[0], dwords)
    })
}
