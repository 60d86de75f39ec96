//! The arithmetic of lanes: one function per kind of expression, over words as [`super`] describes them.

use half::{bf16, f16};

use super::FaultKind;
use crate::kernel::{BinaryOp, CmpOp, ReduceOp, Scalar, UnaryOp};

/// The integer `x` as a word of `scalar`: wrapped, then extended to 32 bits by its sign.
#[inline(always)]
fn wrap(scalar: Scalar, x: u32) -> u32 {
    match scalar {
        Scalar::I8 => x as i8 as i32 as u32,
        Scalar::U8 => x & 0xff,
        Scalar::I16 => x as i16 as i32 as u32,
        Scalar::Bool => x & 1,
        Scalar::I32 | Scalar::U32 | Scalar::F32 | Scalar::F16 | Scalar::Bf16 => x,
    }
}

/// `x` rounded to a value of the float type `scalar`, as an f32.
#[inline(always)]
fn round_to(scalar: Scalar, x: f32) -> f32 {
    match scalar {
        Scalar::F16 => f16::from_f32(x).to_f32(),
        Scalar::Bf16 => bf16::from_f32(x).to_f32(),
        _ => x,
    }
}

/// `x` rounded to the float type `scalar`, as an f32. Rounding to f32 on the way is to odd, so that nothing rounds twice.
#[inline(always)]
fn round_f64_to(scalar: Scalar, x: f64) -> f32 {
    let y = x as f32;
    if scalar == Scalar::F32 {
        return y;
    }
    let below = f64::from(y).abs() < x.abs();
    let inexact = f64::from(y) != x && y.is_finite();
    let odd = if below { y.to_bits().wrapping_add(1) } else { y.to_bits().wrapping_sub(1) };
    round_to(scalar, if inexact && y.to_bits() & 1 == 0 { f32::from_bits(odd) } else { y })
}

#[inline(always)]
fn map1(d: &mut [u32], a: &[u32], f: impl Fn(u32) -> u32) {
    for (d, &a) in d.iter_mut().zip(a) {
        *d = f(a);
    }
}

#[inline(always)]
fn map2(d: &mut [u32], a: &[u32], b: &[u32], f: impl Fn(u32, u32) -> u32) {
    for ((d, &a), &b) in d.iter_mut().zip(a).zip(b) {
        *d = f(a, b);
    }
}

/// As [`map2`], with an exact 64-bit result that must fit 32 bits.
#[inline(always)]
fn exact2(d: &mut [u32], a: &[u32], b: &[u32], f: impl Fn(u64, u64) -> u64) -> Result<(), FaultKind> {
    let mut over = 0;
    for ((d, &a), &b) in d.iter_mut().zip(a).zip(b) {
        let x = f(u64::from(a), u64::from(b));
        over |= x >> 32;
        *d = x as u32;
    }
    if over == 0 { Ok(()) } else { Err(FaultKind::Wrap) }
}

#[inline(always)]
fn float2(scalar: Scalar, d: &mut [u32], a: &[u32], b: &[u32], f: impl Fn(f32, f32) -> f32) {
    let f = |a, b| f(f32::from_bits(a), f32::from_bits(b));
    if scalar == Scalar::F32 {
        map2(d, a, b, |a, b| f(a, b).to_bits());
    } else {
        // A sum, difference, product or quotient of 16-bit floats rounded to f32 rounds to 16 bits as the exact one would.
        map2(d, a, b, |a, b| round_to(scalar, f(a, b)).to_bits());
    }
}

/// `op a`.
pub(super) fn unary(op: UnaryOp, scalar: Scalar, d: &mut [u32], a: &[u32]) {
    if scalar.is_float() {
        let f: fn(f32) -> f32 = match op {
            UnaryOp::Neg => |x| -x,
            UnaryOp::Abs => f32::abs,
            UnaryOp::Round => f32::round_ties_even,
            UnaryOp::Floor => f32::floor,
            UnaryOp::Sqrt => f32::sqrt,
            UnaryOp::Exp => |x| f64::from(x).exp() as f32,
            UnaryOp::Tanh => |x| f64::from(x).tanh() as f32,
            UnaryOp::Not => |x| x,
        };
        return map1(d, a, |a| round_to(scalar, f(f32::from_bits(a))).to_bits());
    }
    match op {
        UnaryOp::Neg => map1(d, a, |a| wrap(scalar, a.wrapping_neg())),
        UnaryOp::Abs => map1(d, a, |a| wrap(scalar, (a as i32).wrapping_abs() as u32)),
        UnaryOp::Not => map1(d, a, |a| wrap(scalar, !a)),
        UnaryOp::Round | UnaryOp::Floor | UnaryOp::Sqrt | UnaryOp::Exp | UnaryOp::Tanh => {}
    }
}

/// `a op b`.
pub(super) fn binary(op: BinaryOp, scalar: Scalar, d: &mut [u32], a: &[u32], b: &[u32]) -> Result<(), FaultKind> {
    if scalar.is_float() {
        match op {
            BinaryOp::Add => float2(scalar, d, a, b, |a, b| a + b),
            BinaryOp::Sub => float2(scalar, d, a, b, |a, b| a - b),
            BinaryOp::Mul => float2(scalar, d, a, b, |a, b| a * b),
            BinaryOp::Div => float2(scalar, d, a, b, |a, b| a / b),
            BinaryOp::Min => float2(scalar, d, a, b, |a, b| if a < b { a } else { b }),
            BinaryOp::Max => float2(scalar, d, a, b, |a, b| if a > b { a } else { b }),
            BinaryOp::Rem | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => {}
        }
        return Ok(());
    }
    let signed = scalar.is_signed();
    match op {
        BinaryOp::Add if scalar == Scalar::U32 => return exact2(d, a, b, |a, b| a + b),
        BinaryOp::Sub if scalar == Scalar::U32 => return exact2(d, a, b, u64::wrapping_sub),
        BinaryOp::Mul if scalar == Scalar::U32 => return exact2(d, a, b, |a, b| a * b),
        BinaryOp::Add => map2(d, a, b, |a, b| wrap(scalar, a.wrapping_add(b))),
        BinaryOp::Sub => map2(d, a, b, |a, b| wrap(scalar, a.wrapping_sub(b))),
        BinaryOp::Mul => map2(d, a, b, |a, b| wrap(scalar, a.wrapping_mul(b))),
        BinaryOp::Div | BinaryOp::Rem if b.contains(&0) => return Err(FaultKind::Divisor),
        BinaryOp::Div if signed => map2(d, a, b, |a, b| wrap(scalar, (a as i32).wrapping_div(b as i32) as u32)),
        BinaryOp::Div => map2(d, a, b, |a, b| a / b),
        BinaryOp::Rem => map2(d, a, b, |a, b| a % b),
        BinaryOp::Min if signed => map2(d, a, b, |a, b| (a as i32).min(b as i32) as u32),
        BinaryOp::Max if signed => map2(d, a, b, |a, b| (a as i32).max(b as i32) as u32),
        BinaryOp::Min => map2(d, a, b, u32::min),
        BinaryOp::Max => map2(d, a, b, u32::max),
        BinaryOp::And => map2(d, a, b, |a, b| a & b),
        BinaryOp::Or => map2(d, a, b, |a, b| a | b),
        BinaryOp::Xor => map2(d, a, b, |a, b| a ^ b),
        BinaryOp::Shl | BinaryOp::Shr if b.iter().any(|&b| b >= scalar.bytes() * 8) => return Err(FaultKind::Shift),
        BinaryOp::Shl => map2(d, a, b, |a, b| wrap(scalar, a << b)),
        BinaryOp::Shr if signed => map2(d, a, b, |a, b| ((a as i32) >> b) as u32),
        BinaryOp::Shr => map2(d, a, b, |a, b| a >> b),
    }
    Ok(())
}

/// `a · b + c` of f32s in f64, rounded to odd: a later rounding to f32 or less gives the exactly rounded result.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f64 {
    // The product of two 24-bit significands is exact in f64.
    let (p, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let s = p + c;
    let c_part = s - p;
    let error = (p - (s - c_part)) + (c - c_part);
    let bits = s.to_bits();
    let inexact = error != 0.0 && s.is_finite() && error.is_finite();
    let up = (error > 0.0) == (s > 0.0);
    let odd = if up { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    if inexact && bits & 1 == 0 { f64::from_bits(odd) } else { s }
}

/// `a · b + c`, rounded once.
pub(super) fn fma(scalar: Scalar, d: &mut [u32], a: &[u32], b: &[u32], c: &[u32]) {
    for (((d, &a), &b), &c) in d.iter_mut().zip(a).zip(b).zip(c) {
        *d = round_f64_to(scalar, fused(f32::from_bits(a), f32::from_bits(b), f32::from_bits(c))).to_bits();
    }
}

/// `a op b` as 0 or 1.
pub(super) fn compare(op: CmpOp, scalar: Scalar, d: &mut [u32], a: &[u32], b: &[u32]) {
    fn by<T: PartialOrd>(op: CmpOp, d: &mut [u32], a: &[u32], b: &[u32], get: impl Fn(u32) -> T) {
        match op {
            CmpOp::Eq => map2(d, a, b, |a, b| u32::from(get(a) == get(b))),
            CmpOp::Ne => map2(d, a, b, |a, b| u32::from(get(a) != get(b))),
            CmpOp::Lt => map2(d, a, b, |a, b| u32::from(get(a) < get(b))),
            CmpOp::Le => map2(d, a, b, |a, b| u32::from(get(a) <= get(b))),
            CmpOp::Gt => map2(d, a, b, |a, b| u32::from(get(a) > get(b))),
            CmpOp::Ge => map2(d, a, b, |a, b| u32::from(get(a) >= get(b))),
        }
    }
    match scalar {
        Scalar::F32 | Scalar::F16 | Scalar::Bf16 => by(op, d, a, b, f32::from_bits),
        Scalar::I8 | Scalar::I16 | Scalar::I32 => by(op, d, a, b, |x| x as i32),
        Scalar::U8 | Scalar::U32 | Scalar::Bool => by(op, d, a, b, |x| x),
    }
}

/// Converts lanes of `from` to `to`. Floats outside an integer type's range saturate, a NaN gives 0.
pub(super) fn convert(from: Scalar, to: Scalar, d: &mut [u32], a: &[u32]) {
    if from.is_float() {
        let f = f32::from_bits;
        return match to {
            Scalar::F32 | Scalar::F16 | Scalar::Bf16 => map1(d, a, |a| round_to(to, f(a)).to_bits()),
            Scalar::I8 => map1(d, a, |a| f(a) as i8 as i32 as u32),
            Scalar::U8 => map1(d, a, |a| u32::from(f(a) as u8)),
            Scalar::I16 => map1(d, a, |a| f(a) as i16 as i32 as u32),
            Scalar::I32 => map1(d, a, |a| f(a) as i32 as u32),
            Scalar::U32 | Scalar::Bool => map1(d, a, |a| f(a) as u32),
        };
    }
    let exact = |a: u32| if from.is_signed() { f64::from(a as i32) } else { f64::from(a) };
    match to {
        Scalar::F32 | Scalar::F16 | Scalar::Bf16 => map1(d, a, |a| round_f64_to(to, exact(a)).to_bits()),
        Scalar::I8 | Scalar::U8 | Scalar::I16 | Scalar::I32 | Scalar::U32 | Scalar::Bool => map1(d, a, |a| wrap(to, a)),
    }
}

/// `acc + Σ a·b` of four neighbours, wrapping; `|a|` must not exceed `max_a`.
pub(super) fn dot4(max_a: u8, d: &mut [u32], acc: &[u32], a: &[u32], b: &[u32]) -> Result<(), FaultKind> {
    let mut over = false;
    for (((d, &acc), a), b) in d.iter_mut().zip(acc).zip(a.chunks_exact(4)).zip(b.chunks_exact(4)) {
        let mut sum = acc;
        for (&a, &b) in a.iter().zip(b) {
            over |= (a as i32).unsigned_abs() > u32::from(max_a);
            sum = sum.wrapping_add(a.wrapping_mul(b));
        }
        *d = sum;
    }
    if over { Err(FaultKind::DotBound) } else { Ok(()) }
}

/// Sums of products of two neighbours; if `narrow`, they must fit i16.
pub(super) fn dot2(narrow: bool, d: &mut [u32], a: &[u32], b: &[u32]) -> Result<(), FaultKind> {
    let mut over = false;
    for ((d, a), b) in d.iter_mut().zip(a.chunks_exact(2)).zip(b.chunks_exact(2)) {
        let sum = a[0].wrapping_mul(b[0]).wrapping_add(a[1].wrapping_mul(b[1]));
        over |= narrow && i16::try_from(sum as i32).is_err();
        *d = sum;
    }
    if over { Err(FaultKind::DotBound) } else { Ok(()) }
}

/// Per four lanes of `d`: two rows of eight lanes of `a` by two of `b`.
pub(super) fn mmla(d: &mut [u32], acc: &[u32], a: &[u32], b: &[u32]) {
    let segments = d.chunks_exact_mut(4).zip(acc.chunks_exact(4)).zip(a.chunks_exact(16).zip(b.chunks_exact(16)));
    for ((d, acc), (a, b)) in segments {
        for (n, (d, &acc)) in d.iter_mut().zip(acc).enumerate() {
            let (row, column) = (&a[n / 2 * 8..][..8], &b[n % 2 * 8..][..8]);
            *d = row.iter().zip(column).fold(acc, |sum, (a, b)| sum.wrapping_add(a.wrapping_mul(*b)));
        }
    }
}

fn binary_of(op: ReduceOp) -> BinaryOp {
    match op {
        ReduceOp::Add => BinaryOp::Add,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    }
}

/// Any number of lanes to one, from the first to the last.
pub(super) fn fold(op: ReduceOp, scalar: Scalar, a: impl IntoIterator<Item = u32>) -> Result<u32, FaultKind> {
    let mut total: Option<u32> = None;
    for x in a {
        total = Some(match total {
            None => x,
            Some(sum) => {
                let mut d = [0];
                binary(binary_of(op), scalar, &mut d, &[sum], &[x])?;
                d[0]
            }
        });
    }
    Ok(total.unwrap_or(0))
}

/// All lanes to one, halves onto halves.
pub(super) fn reduce(op: ReduceOp, scalar: Scalar, a: &[u32]) -> Result<u32, FaultKind> {
    let op = binary_of(op);
    let (mut x, mut y) = ([0; 64], [0; 64]);
    let mut n = a.len();
    x[..n].copy_from_slice(a);
    while n > 1 {
        n /= 2;
        binary(op, scalar, &mut y[..n], &x[..n], &x[n..2 * n])?;
        x[..n].copy_from_slice(&y[..n]);
    }
    Ok(x[0])
}
