//! Conversions between types, and between packed words and numbers.
//!
//! A packed operand is unpacked to numbers, converted, and packed again where the result is packed. Packing bytes keeps the
//! low eight bits of a lane, packing halves rounds to nearest even.

use super::Fault;
use super::builder::V;
use super::func::Func;
use super::types::{Form, Halves};
use naga::{MathFunction, Scalar as Ns, ScalarKind};
use slmc_ir::kernel::{Scalar, Type};

/// Lanes of `v`, of type `from`, as numbers of `to`.
pub(super) fn convert(f: &mut Func<'_, '_>, v: V, from: Type, to: Type) -> Result<V, Fault> {
    let bytes = |s: Scalar| matches!(s, Scalar::I8 | Scalar::U8);
    if from == to || (bytes(from.scalar) && bytes(to.scalar)) {
        return Ok(v);
    }
    let (v, from) = unpack(f, v, from)?;
    match f.form(to)? {
        Form::Plain(scalar, _) => Ok(number(f, v, from, scalar)),
        Form::Packed(words) if to.scalar == Scalar::F16 => {
            let v = number(f, v, from, Ns::F32);
            Ok(pack_halves(f, v, words))
        }
        Form::Packed(_) => {
            // A float in range of the result is in range of i32, and an integer's low bits do not depend on its sign.
            let (fun, scalar) = if to.scalar == Scalar::U8 { (MathFunction::Pack4xU8, Ns::U32) } else { (MathFunction::Pack4xI8, Ns::I32) };
            let v = number(f, v, from, scalar);
            Ok(f.b.math(fun, &[v]))
        }
    }
}

/// A number as another; between i32 and u32 the bits stay.
fn number(f: &mut Func<'_, '_>, v: V, from: Ns, to: Ns) -> V {
    let int = |s: Ns| matches!(s.kind, ScalarKind::Sint | ScalarKind::Uint);
    if from == to {
        v
    } else if int(from) && int(to) {
        f.b.bits(v, to.kind)
    } else {
        f.b.convert(v, to)
    }
}

/// Numbers of a packed operand: bytes become 32-bit integers of their sign, halves f32.
fn unpack(f: &mut Func<'_, '_>, v: V, ty: Type) -> Result<(V, Ns), Fault> {
    match (f.form(ty)?, ty.scalar) {
        (Form::Plain(scalar, _), _) => Ok((v, scalar)),
        (Form::Packed(words), Scalar::F16) => Ok((unpack_halves(f, v, words), Ns::F32)),
        (Form::Packed(_), Scalar::U8) => Ok((f.b.math(MathFunction::Unpack4xU8, &[v]), Ns::U32)),
        (Form::Packed(_), _) => Ok((f.b.math(MathFunction::Unpack4xI8, &[v]), Ns::I32)),
    }
}

/// Word `i` of packed words.
pub(super) fn word(f: &mut Func<'_, '_>, v: V, words: u16, i: u16) -> V {
    if words == 1 { v } else { f.b.member(v, u32::from(i)) }
}

fn unpack_halves(f: &mut Func<'_, '_>, v: V, words: u16) -> V {
    let mut pairs = Vec::new();
    for i in 0..words {
        let word = word(f, v, words, i);
        pairs.push(f.b.math(MathFunction::Unpack2x16float, &[word]));
    }
    f.b.compose(Ns::F32, words * 2, pairs)
}

/// `v`: f32, two for each word.
fn pack_halves(f: &mut Func<'_, '_>, v: V, words: u16) -> V {
    let mut packed = Vec::new();
    for i in 0..words {
        let pair = if words == 1 { v } else { f.b.half(v, words * 2, i == 1) };
        packed.push(f.b.math(MathFunction::Pack2x16float, &[pair]));
    }
    f.b.compose(Ns::U32, words, packed)
}

/// The bits of `v`, of type `from`, as `to`, which has as many bytes.
pub(super) fn bitcast(f: &mut Func<'_, '_>, v: V, from: Type, to: Type) -> Result<V, Fault> {
    if from == to {
        return Ok(v);
    }
    let native = |ty: Type| ty.scalar == Scalar::F16 && f.halves == Halves::Native;
    let (unpacks, packs) = (native(from), native(to));
    let words = match f.form(from)? {
        Form::Plain(_, lanes) if unpacks => {
            let wide = f.b.convert(v, Ns::F32);
            pack_halves(f, wide, lanes / 2)
        }
        Form::Plain(scalar, _) if scalar.kind != ScalarKind::Uint => f.b.bits(v, ScalarKind::Uint),
        Form::Plain(..) | Form::Packed(_) => v,
    };
    Ok(match f.form(to)? {
        Form::Plain(scalar, lanes) if packs => {
            let wide = unpack_halves(f, words, lanes / 2);
            f.b.convert(wide, scalar)
        }
        Form::Plain(scalar, _) if scalar.kind != ScalarKind::Uint => f.b.bits(words, scalar.kind),
        Form::Plain(..) | Form::Packed(_) => words,
    })
}
