//! Elements of buffers as text: decimal numbers with blanks between, `0.5*8` for eight of one.

use half::{bf16, f16};
use slmc_ir::kernel::Scalar;

/// The bytes of `text`, lanes of type `scalar`. `Err` names the word that is no such number.
pub fn parse(scalar: Scalar, text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        let (number, count) = word.split_once('*').unwrap_or((word, "1"));
        let one = lane(scalar, number).ok_or_else(|| format!("`{number}` is no {}", name(scalar)))?;
        let count: usize = count.parse().map_err(|_| format!("`{word}`: expected a number of repetitions after `*`"))?;
        bytes.extend(one.repeat(count));
    }
    Ok(bytes)
}

/// The lanes of type `scalar` in `bytes`; four or more equal ones as `NUMBER*COUNT`. Floats are printed so that they read back equal.
pub fn print(scalar: Scalar, bytes: &[u8]) -> String {
    let lanes: Vec<&[u8]> = bytes.chunks_exact(scalar.bytes().max(1) as usize).collect();
    let mut words = Vec::new();
    for run in lanes.chunk_by(|a, b| a == b) {
        let number = number(scalar, run[0]);
        if run.len() < 4 { words.extend(vec![number; run.len()]) } else { words.push(format!("{number}*{}", run.len())) }
    }
    words.join(" ")
}

fn name(scalar: Scalar) -> &'static str {
    Scalar::ALL.iter().find(|(s, _)| *s == scalar).map_or("?", |(_, name)| name)
}

fn lane(scalar: Scalar, text: &str) -> Option<Vec<u8>> {
    Some(match scalar {
        Scalar::F32 => text.parse::<f32>().ok()?.to_le_bytes().to_vec(),
        Scalar::F16 => f16::from_f32(text.parse().ok()?).to_le_bytes().to_vec(),
        Scalar::Bf16 => bf16::from_f32(text.parse().ok()?).to_le_bytes().to_vec(),
        Scalar::I8 => text.parse::<i8>().ok()?.to_le_bytes().to_vec(),
        Scalar::U8 => vec![text.parse().ok()?],
        Scalar::I16 => text.parse::<i16>().ok()?.to_le_bytes().to_vec(),
        Scalar::I32 => text.parse::<i32>().ok()?.to_le_bytes().to_vec(),
        Scalar::U32 => text.parse::<u32>().ok()?.to_le_bytes().to_vec(),
        Scalar::Bool => return None,
    })
}

fn number(scalar: Scalar, bytes: &[u8]) -> String {
    match (scalar, bytes) {
        (Scalar::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).to_string(),
        (Scalar::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32().to_string(),
        (Scalar::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32().to_string(),
        (Scalar::I16, &[a, b]) => i16::from_le_bytes([a, b]).to_string(),
        (Scalar::I32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).to_string(),
        (Scalar::U32, &[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]).to_string(),
        (Scalar::I8, &[a]) => (a as i8).to_string(),
        (Scalar::U8, &[a]) => a.to_string(),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for (scalar, text) in [(Scalar::F32, "0.1 -0 inf 2*5"), (Scalar::F16, "0.5*4 1"), (Scalar::I8, "-128 127 127"), (Scalar::U32, "4294967295")] {
            assert_eq!(parse(scalar, text).map(|bytes| print(scalar, &bytes)).as_deref(), Ok(text));
        }
        assert_eq!(parse(Scalar::U8, "256"), Err("`256` is no u8".to_owned()));
        assert!(parse(Scalar::U8, "1*x").is_err());
    }
}
