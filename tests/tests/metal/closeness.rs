//! How close two results of a kernel have to be: integers equal, floats within 1e-5 of the output's RMS.
//!
//! Only what the interpreter's run changed is measured. Two exceptions are those of rounding: a half may be the next one
//! of the value that was rounded, and a quantized activation (i8) may be one step off in 0.1 % of places.

use half::f16;
use slmc_ir::kernel::Scalar;

/// Of the output's RMS.
const TOLERANCE: f64 = 1e-5;

/// Compares what a buffer of elements `scalar` holds after two runs that started from `before`. Gives the greatest
/// difference over the RMS; `Err` says what is too far.
pub fn compare(scalar: Scalar, before: &[u8], expected: &[u8], found: &[u8]) -> Result<f64, String> {
    let size = scalar.bytes().max(1) as usize;
    let lanes = || before.chunks_exact(size).zip(expected.chunks_exact(size)).zip(found.chunks_exact(size)).enumerate();
    // What was not written stays as it was.
    if let Some((at, _)) = lanes().find(|(_, ((b, e), f))| b == e && f != b) {
        return Err(format!("element {at} was written, and by the interpreter not"));
    }
    let written: Vec<(usize, f64, f64, bool)> =
        lanes().filter(|(_, ((b, e), _))| b != e).map(|(at, ((_, e), f))| (at, number(scalar, e), number(scalar, f), e == f)).collect();
    match scalar {
        Scalar::F32 => {
            let finite: Vec<f64> = written.iter().map(|w| w.1).filter(|x| x.is_finite()).collect();
            let rms = (finite.iter().map(|x| x * x).sum::<f64>() / finite.len().max(1) as f64).sqrt();
            let mut worst = 0.0f64;
            for &(at, expected, found, same) in &written {
                let difference = (expected - found).abs();
                // A NaN is close to nothing.
                let is_close = same || difference <= TOLERANCE * rms;
                if !is_close {
                    return Err(format!("element {at}: expected {expected}, found {found}, with an RMS of {rms}"));
                }
                worst = worst.max(if same { 0.0 } else { difference / rms });
            }
            Ok(worst)
        }
        Scalar::F16 => {
            let is_close = |e: f64, f: f64| (e - f).abs() <= e.abs().max(f64::from(f16::MIN_POSITIVE)) / 1024.0;
            let far = written.iter().find(|(_, e, f, same)| !same && !is_close(*e, *f));
            far.map_or(Ok(0.0), |(at, e, f, _)| Err(format!("element {at}: expected {e}, found {f}")))
        }
        Scalar::I8 => {
            let off: Vec<_> = written.iter().filter(|w| !w.3).collect();
            if let Some((at, e, f, _)) = off.iter().find(|(_, e, f, _)| (e - f).abs() > 1.0) {
                return Err(format!("element {at}: expected {e}, found {f}"));
            }
            if off.len() * 1000 > written.len() { Err(format!("{} of {} are one step off", off.len(), written.len())) } else { Ok(0.0) }
        }
        _ => written.iter().find(|w| !w.3).map_or(Ok(0.0), |(at, e, f, _)| Err(format!("element {at}: expected {e}, found {f}"))),
    }
}

fn number(scalar: Scalar, lane: &[u8]) -> f64 {
    match (scalar, lane) {
        (Scalar::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).into(),
        (Scalar::F16, &[a, b]) => f16::from_le_bytes([a, b]).into(),
        (Scalar::I8, &[a]) => f64::from(a as i8),
        (_, &[a, b, c, d]) => f64::from(u32::from_le_bytes([a, b, c, d])),
        (_, lane) => lane.iter().rev().fold(0.0, |n, &b| n * 256.0 + f64::from(b)),
    }
}

#[test]
fn far_results_are_refused() {
    let floats = |v: [f32; 3]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let (before, expected) = (floats([9.0, f32::NAN, 9.0]), floats([1.0, f32::NAN, -1.0]));
    assert!(compare(Scalar::F32, &before, &expected, &floats([1.000_005, f32::NAN, -1.0])).is_ok_and(|worst| worst > 4e-6));
    for far in [[1.000_02, f32::NAN, -1.0], [f32::NAN, f32::NAN, -1.0], [1.0, 0.0, -1.0], [9.0, f32::NAN, -1.0]] {
        assert!(compare(Scalar::F32, &before, &expected, &floats(far)).is_err(), "{far:?}");
    }
    assert!(compare(Scalar::U32, &[0; 4], &[1, 0, 0, 0], &[2, 0, 0, 0]).is_err());
    assert!(compare(Scalar::I8, &[0; 2000], &[5; 2000], &[[5; 1999].as_slice(), &[6]].concat()).is_ok());
    assert!(compare(Scalar::I8, &[0; 2000], &[5; 2000], &[[5; 1999].as_slice(), &[7]].concat()).is_err());
    assert!(compare(Scalar::I8, &[0; 2000], &[5; 2000], &[[5; 1900].as_slice(), &[6; 100]].concat()).is_err());
    let half = |x: f32| f16::from_f32(x).to_le_bytes();
    assert!(compare(Scalar::F16, &[0; 2], &half(1.0), &half(1.0009)).is_ok());
    assert!(compare(Scalar::F16, &[0; 2], &half(1.0), &half(1.01)).is_err());
}
