//! Floats as text: printed as exact hex (`0x1.4f8b58p-17`), read from hex, decimal, `inf` and `nan`.
//!
//! Hex must be exact: a text that no f32 equals is refused, so a number never changes by being read and printed.

use std::fmt;

/// Prints an `f32` as exact hex: `0x1.8p1`, `-0x0p0`, `inf`, `-inf`, `nan`.
#[derive(Debug, Clone, Copy)]
pub struct HexFloat(pub f32);

impl fmt::Display for HexFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = self.0;
        if x.is_nan() {
            return f.write_str("nan");
        }
        let sign = if x.is_sign_negative() { "-" } else { "" };
        if x.is_infinite() {
            return write!(f, "{sign}inf");
        }
        if x == 0.0 {
            return write!(f, "{sign}0x0p0");
        }
        // Every f32, subnormals too, is a normal f64.
        let bits = f64::from(x).to_bits();
        let exponent = i64::from(((bits >> 52) & 0x7ff) as u32) - 1023;
        let fraction = format!("{:013x}", bits & ((1 << 52) - 1));
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}0x1{point}{fraction}p{exponent}")
    }
}

/// Reads an unsigned float token; `None` if it is malformed, hex that is not exact, or a decimal beyond f32.
pub fn parse_f32(text: &str) -> Option<f32> {
    match text {
        "inf" => return Some(f32::INFINITY),
        "nan" => return Some(f32::NAN),
        _ => {}
    }
    let Some(hex) = text.strip_prefix("0x") else {
        let starts = text.starts_with(|c: char| c.is_ascii_digit());
        return text.parse::<f32>().ok().filter(|x| starts && x.is_finite());
    };
    let (mantissa, exponent) = match hex.split_once('p') {
        Some((m, e)) => (m, e.parse::<i32>().ok()?),
        None => (hex, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() {
        return Some(0.0);
    }
    let significant = trimmed.trim_end_matches('0');
    let dropped = i32::try_from(trimmed.len() - significant.len()).ok()?;
    if significant.len() > 8 {
        return None;
    }
    let mantissa = u64::from_str_radix(significant, 16).ok()?;
    let shift = exponent.checked_add(4 * dropped)?.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    if !(-300..=300).contains(&shift) {
        return None;
    }
    // 32 significant bits times 2^±300: exact in f64.
    let exact = mantissa as f64 * 2f64.powi(shift);
    let x = exact as f32;
    (f64::from(x) == exact).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_float_comes_back() {
        let mut bits = vec![0u32, 1, 2, 0x007f_ffff, 0x0080_0000, 0x3f80_0000, 0x3f80_0001, 0x7f7f_ffff, 0x7f80_0000];
        let mut state = 7u32;
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bits.push(state & 0x7fff_ffff);
        }
        for b in bits {
            let x = f32::from_bits(b);
            if x.is_nan() {
                continue;
            }
            let text = HexFloat(x).to_string();
            assert_eq!(parse_f32(&text).map(f32::to_bits), Some(b), "{text}");
        }
        assert_eq!(HexFloat(-1.5).to_string(), "-0x1.8p0");
        assert_eq!(HexFloat(1e-5).to_string(), "0x1.4f8b58p-17");
    }

    #[test]
    fn decimals_are_read_and_nonsense_is_not() {
        assert_eq!(parse_f32("1.5"), Some(1.5));
        assert_eq!(parse_f32("1e-5"), Some(1e-5));
        assert_eq!(parse_f32("16"), Some(16.0));
        assert_eq!(parse_f32("0x10"), Some(16.0));
        for bad in ["", "0x", "0x.8p1", "0x1.8p", "0x1.00000001p0", "0x1p9999999999", "0x1p200", "1e99", "-1", "infinity", "0xgp1"] {
            assert_eq!(parse_f32(bad), None, "{bad}");
        }
    }
}
