//! A fixture: the checkpoint, and what Hugging Face computes with it.

use slmc::import::{ImportOptions, Imported, import};
use std::path::PathBuf;

/// Every fixture.
pub const NAMES: [&str; 3] = ["llama-tied", "llama-untied", "llama3-rope"];

/// A checkpoint as imported, with `expected.safetensors`.
pub struct Fixture {
    /// The model.
    pub model: Imported,
    /// Prompt of T ids.
    pub tokens: Vec<u32>,
    /// `[T, V]`.
    pub logits: Vec<f32>,
    /// `[L + 1, T, D]`, taken apart: the embedding, the stream after each layer, the last one after the final norm.
    pub hidden: Vec<Vec<f32>>,
    /// What follows the prompt.
    pub greedy: Vec<u32>,
}

impl Fixture {
    /// Reads a fixture.
    pub fn read(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
        let bytes = std::fs::read(dir.join("expected.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let floats =
            |name: &str| -> Vec<f32> { file.tensor(name).unwrap().data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect() };
        let ids =
            |name: &str| -> Vec<u32> { file.tensor(name).unwrap().data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as u32).collect() };
        let places = file.tensor("hidden").unwrap().shape()[0];
        let hidden = floats("hidden");
        Self {
            model: import(&dir, &ImportOptions::default()).unwrap(),
            tokens: ids("input_ids"),
            logits: floats("logits"),
            hidden: hidden.chunks(hidden.len() / places).map(<[f32]>::to_vec).collect(),
            greedy: ids("greedy"),
        }
    }
}
