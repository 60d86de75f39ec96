//! What Hugging Face transformers computes for a fixture: `expected.safetensors`.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

/// The reference outputs of a fixture.
pub struct Expected {
    /// Prompt, `[T]`.
    pub input_ids: Vec<u32>,
    /// Logits of every prompt position, `[T][V]`.
    pub logits: Vec<Vec<f32>>,
    /// The greedy continuation.
    pub greedy: Vec<u32>,
}

/// The folder of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

impl Expected {
    /// Reads the reference outputs of a fixture.
    ///
    /// # Panics
    /// When the file is not as its README says.
    pub fn read(name: &str) -> Self {
        let bytes = std::fs::read(fixture(name).join("expected.safetensors")).expect("the fixture is in the repository");
        let file = SafeTensors::deserialize(&bytes).expect("the fixture is well formed");
        let ids = |tensor: &str| -> Vec<u32> {
            let data = file.tensor(tensor).expect("the fixture has it").data().to_vec();
            data.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().expect("eight bytes")) as u32).collect()
        };
        let logits = file.tensor("logits").expect("the fixture has it");
        let vocab = *logits.shape().last().expect("logits are [T, V]");
        let logits: Vec<f32> = logits.data().chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().expect("four bytes"))).collect();
        Self { input_ids: ids("input_ids"), logits: logits.chunks_exact(vocab).map(<[f32]>::to_vec).collect(), greedy: ids("greedy") }
    }
}

/// The largest absolute difference of two sets of rows; infinite if shapes differ or a value is a NaN.
pub fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    if a.len() != b.len() || a.iter().zip(b).any(|(a, b)| a.len() != b.len()) {
        return f32::INFINITY;
    }
    let mut most = 0.0f32;
    for (x, y) in a.iter().flatten().zip(b.iter().flatten()) {
        let d = (x - y).abs();
        if d.is_nan() {
            return f32::INFINITY;
        }
        most = most.max(d);
    }
    most
}

/// Index of the first greatest value.
pub fn argmax(row: &[f32]) -> u32 {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best as u32
}

/// Mean over rows of the KL divergence of `b` from `a`, both logits, in nats.
pub fn mean_kl(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let log_softmax = |row: &[f32]| -> Vec<f64> {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = row.iter().map(|v| f64::from(v - most).exp()).sum();
        row.iter().map(|v| f64::from(v - most) - total.ln()).collect()
    };
    let sum: f64 = a.iter().zip(b).map(|(a, b)| log_softmax(a).iter().zip(log_softmax(b)).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()).sum();
    sum / a.len() as f64
}
