//! Checkpoints of every family with made-up weights, as folders that the import reads: a configuration and a seed.
//!
//! Names and shapes of tensors are those that the import wants; the fixtures say that these are Hugging Face's. Matrices are
//! uniform with variance 1/K, so that values keep their size from layer to layer and logits are about 1.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value};
use slmc::import::{Norm, describe};

/// A checkpoint to be written.
#[derive(Debug, Clone)]
pub struct RandomModel {
    /// For messages.
    pub name: &'static str,
    /// `config.json`.
    pub config: Value,
    /// How weights are stored: F32, F16 or BF16.
    pub dtype: Dtype,
    /// Of the weights.
    pub seed: u64,
}

impl RandomModel {
    /// Writes `config.json` and the weights into the folder `dir`.
    ///
    /// # Panics
    /// When the import does not take the configuration, or the disk refuses.
    pub fn write(&self, dir: &Path) {
        fs::write(dir.join("config.json"), self.config.to_string()).expect("writable");
        let (decoder, _) = describe(self.object(), None).unwrap_or_else(|faults| panic!("{}: {faults:?}", self.name));
        let middle = if decoder.norm == Norm::RmsPlusOne { 0.0 } else { 1.0 };
        let mut noise = Noise(self.seed);
        let mut tensors = Vec::new();
        for tensor in decoder.tensors() {
            let count = tensor.shape.iter().product();
            let (middle, reach) = match tensor.shape[..] {
                [_, columns] => (0.0, (3.0 / columns as f32).sqrt()),
                _ if tensor.name.ends_with("bias") => (0.0, 0.2),
                _ => (middle, 0.3),
            };
            let bytes: Vec<u8> = (0..count).flat_map(|_| self.stored(middle + reach * noise.unit())).collect();
            tensors.push((tensor.name, tensor.shape, bytes));
        }
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(self.dtype, shape.clone(), bytes).expect("shape and bytes agree")));
        let bytes = safetensors::serialize(views.collect::<Vec<_>>(), None).expect("serializable");
        fs::write(dir.join("model.safetensors"), bytes).expect("writable");
    }

    fn object(&self) -> &Map<String, Value> {
        self.config.as_object().expect("an object")
    }

    fn stored(&self, value: f32) -> Vec<u8> {
        match self.dtype {
            Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        }
    }
}

/// Numbers without pattern, the same everywhere.
pub struct Noise(pub u64);

impl Noise {
    /// Of 31 bits.
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// Uniform in −1 … 1.
    pub fn unit(&mut self) -> f32 {
        self.bits() as f32 / (1u64 << 30) as f32 - 1.0
    }
}
