//! Weight groups: the scale of least squared error among a few candidates.
//!
//! A candidate maps the group's element of largest magnitude to a given multiple (for q4: a little beyond −8, which is
//! the longer side of its range, with either sign), rounds, and then takes the scale that fits these codes best,
//! `s = Σwn / Σnn`, rounded to f16. What counts is the error of what is finally stored: codes rounded with that f16 scale.
//! The candidates were chosen greedily on Gaussian and Student-t groups; a dense search of a hundred gains 0.3 % (q4) more.
//!
//! The loops work on `[f32; N]` with eight running sums, so they become vector code on any target and give the same bits
//! there; rounding is adding and subtracting 1.5 · 2²³.

use crate::graph::DType;
use half::f16;

/// Rounds a weight group to `dtype`: `x[i] ≈ scale · codes[i]`. For q4 a code is `n − 8`, in −8..=7. `x` and `codes` have
/// the length of the format's group.
///
/// `x` must have no NaN. Infinities and values beyond the format's reach become its largest: a scale is at most `f16::MAX`.
/// Groups whose scale would be below f16's least number become zeros.
///
/// # Panics
/// If `dtype` is no quantized weight format or a length is not that of its group.
pub fn quantize_group(dtype: DType, x: &[f32], codes: &mut [i8]) -> f16 {
    const Q4_32: [f32; 8] = [-8.2, -7.2, -8.7, -7.8, -8.4, -6.9, -9.0, 7.5];
    const Q4_64: [f32; 8] = [-8.4, -9.0, -7.9, -7.2, -8.7, -9.4, -8.2, 7.5];
    const Q4_128: [f32; 9] = [-8.8, -9.5, -8.2, -10.0, -9.1, -8.5, -7.8, -7.2, 8.5];
    const Q6: [f32; 4] = [31.15, 30.05, 29.0, 28.05];
    const Q8: [f32; 4] = [127.0, 125.1, 123.8, 121.9];
    match dtype {
        DType::Q4 { group: 32 } => fit::<32, _>(x, codes, -8.0, 7.0, Q4_32),
        DType::Q4 { group: 64 } => fit::<64, _>(x, codes, -8.0, 7.0, Q4_64),
        DType::Q4 { group: 128 } => fit::<128, _>(x, codes, -8.0, 7.0, Q4_128),
        DType::Q6 => fit::<32, _>(x, codes, -31.0, 31.0, Q6),
        DType::Q8 => fit::<32, _>(x, codes, -127.0, 127.0, Q8),
        other => panic!("invariant: {other} is no quantized weight format"),
    }
}

/// The values of a quantized group: `out[i] = scale · codes[i]`, exact in f32.
pub fn dequantize_group(scale: f16, codes: &[i8], out: &mut [f32]) {
    let scale = scale.to_f32();
    for (out, &code) in out.iter_mut().zip(codes) {
        *out = scale * f32::from(code);
    }
}

/// Beyond every format's reach (`f16::MAX · 127`), and far from overflow in sums of squares.
const REACH: f32 = 1e9;
/// 1.5 · 2²³: adding and subtracting it rounds |x| < 2²² to the nearest integer, ties to even.
const ROUND: f32 = 12_582_912.0;
/// Running sums of a pass over a group.
const LANES: usize = 8;

fn fit<const N: usize, const C: usize>(x: &[f32], codes: &mut [i8], low: f32, high: f32, candidates: [f32; C]) -> f16 {
    assert!(x.len() == N && codes.len() == N, "invariant: a group has {N} weights");
    let mut w = [0.0f32; N];
    for (w, &x) in w.iter_mut().zip(x) {
        *w = limit(x, -REACH, REACH);
    }
    let peak = peak(&w);
    let mut scale = 0.0;
    if peak.abs() > 1e-9 {
        // In steps, each over all candidates: they do not wait for each other.
        let scales = candidates.map(|full| refine(&w, full / peak, low, high));
        let errors = scales.map(|scale| if scale == 0.0 { f32::INFINITY } else { error(&w, scale, low, high) });
        let mut least = f32::INFINITY;
        for (candidate, error) in scales.into_iter().zip(errors) {
            if error < least {
                (least, scale) = (error, candidate);
            }
        }
    }
    if scale == 0.0 {
        codes.fill(0);
        return f16::ZERO;
    }
    let inverse = 1.0 / scale;
    for (code, &w) in codes.iter_mut().zip(&w) {
        // The low byte of the sum is the integer in two's complement.
        *code = (limit(w * inverse, low, high) + ROUND).to_bits() as i8;
    }
    f16::from_f32(scale)
}

/// `clamp` without its treatment of NaN, so that it is two vector instructions.
#[inline(always)]
fn limit(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < high { x } else { high };
    if x > low { x } else { low }
}

/// The codes `round(w · inverse)`, as floats. A loop of its own, so that it is vector code without branches.
#[inline(never)]
fn nearest<const N: usize>(w: &[f32; N], inverse: f32, low: f32, high: f32, codes: &mut [f32; N]) {
    for (n, w) in codes.iter_mut().zip(w) {
        *n = (limit(w * inverse, low, high) + ROUND) - ROUND;
    }
}

/// The element of largest magnitude; the positive one of two.
fn peak<const N: usize>(w: &[f32; N]) -> f32 {
    let (mut most, mut least) = ([0.0f32; LANES], [0.0f32; LANES]);
    for part in w.as_chunks::<LANES>().0 {
        for i in 0..LANES {
            most[i] = if part[i] > most[i] { part[i] } else { most[i] };
            least[i] = if part[i] < least[i] { part[i] } else { least[i] };
        }
    }
    let (most, least) = (most.into_iter().fold(0.0, f32::max), least.into_iter().fold(0.0, f32::min));
    if most >= -least { most } else { least }
}

/// The scale that fits best the codes `round(w · inverse)`, rounded to f16.
fn refine<const N: usize>(w: &[f32; N], inverse: f32, low: f32, high: f32) -> f32 {
    let mut codes = [0.0; N];
    nearest(w, inverse, low, high, &mut codes);
    let [wn, nn] = moments(w, &codes);
    let scale = sum(wn) / sum(nn);
    if scale.is_finite() { round_to_f16(scale) } else { 0.0 }
}

/// The nearest f16, ties to even, as f32; never beyond `±f16::MAX`. (The crate's conversion in software is much slower.)
fn round_to_f16(x: f32) -> f32 {
    let magnitude = x.abs();
    let rounded = if magnitude >= 65504.0 {
        65504.0
    } else if magnitude >= 6.103_515_6e-5 {
        let bits = magnitude.to_bits();
        f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
    } else {
        // Subnormal f16 are multiples of 2⁻²⁴, the last place of 0.75 · 2⁰ … 1.
        (magnitude + 0.75) - 0.75
    };
    rounded.copysign(x)
}

/// The squared error of storing `w` with this scale.
fn error<const N: usize>(w: &[f32; N], scale: f32, low: f32, high: f32) -> f32 {
    let mut codes = [0.0; N];
    nearest(w, 1.0 / scale, low, high, &mut codes);
    sum(residual(w, &codes, scale))
}

/// Σwn and Σnn. Apart from the sums over lanes, with which compilers would tangle it.
#[inline(never)]
fn moments<const N: usize>(w: &[f32; N], codes: &[f32; N]) -> [[f32; LANES]; 2] {
    let (mut wn, mut nn) = ([0.0f32; LANES], [0.0f32; LANES]);
    for (w, n) in w.as_chunks::<LANES>().0.iter().zip(codes.as_chunks::<LANES>().0) {
        for i in 0..LANES {
            wn[i] += w[i] * n[i];
            nn[i] += n[i] * n[i];
        }
    }
    [wn, nn]
}

/// Σ(w − scale · n)².
#[inline(never)]
fn residual<const N: usize>(w: &[f32; N], codes: &[f32; N], scale: f32) -> [f32; LANES] {
    let mut total = [0.0f32; LANES];
    for (w, n) in w.as_chunks::<LANES>().0.iter().zip(codes.as_chunks::<LANES>().0) {
        for i in 0..LANES {
            let e = w[i] - scale * n[i];
            total[i] += e * e;
        }
    }
    total
}

/// A sum as a tree.
fn sum(v: [f32; LANES]) -> f32 {
    ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_to_f16_is_that_of_the_crate() {
        let mut state = 1u32;
        for i in 0..200_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Exponents from 2⁻³⁰ to 2¹⁶.
            let x = f32::from_bits((state & 0x807f_ffff) | ((97 + i % 46) << 23));
            let x = if i % 3 == 0 { f32::from_bits(x.to_bits() & !0xfff) } else { x };
            let expected = f16::from_f32(x).to_f32().clamp(-65504.0, 65504.0);
            assert_eq!(round_to_f16(x), expected, "{x:e}");
        }
    }
}
