//! Checkpoints of every family with made-up weights, as folders that the import reads: a configuration and a seed.
//!
//! Names and shapes of tensors are those that the import wants; the fixtures say that these are Hugging Face's. Matrices are
//! uniform with variance 1/K, so that values keep their size from layer to layer and logits are about 1.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};
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

/// A geometry that divides badly, and what a family adds to it.
fn odd(name: &'static str, family: &str, dtype: Dtype, own: Value) -> RandomModel {
    let Value::Object(mut config) = json!({
        "model_type": family, "hidden_size": 60, "num_attention_heads": 5, "num_key_value_heads": 1, "intermediate_size": 70,
        "vocab_size": 203, "num_hidden_layers": 2, "max_position_embeddings": 61, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    }) else {
        panic!("an object");
    };
    let Value::Object(own) = own else { panic!("an object") };
    config.extend(own);
    RandomModel { name, config: Value::Object(config), dtype, seed: 7 }
}

/// Odd geometries and options of every family but Llama.
pub fn odd_models() -> Vec<RandomModel> {
    let ramp = |pairs: usize, step: f64| (0..pairs).map(|i| 1.0 + step * i as f64).collect::<Vec<_>>();
    vec![
        odd("mobilellm, shared layers, own head", "mobilellm", Dtype::F32, json!({"layer_sharing": true, "attention_bias": true})),
        odd("mobilellm, shared embedding", "mobilellm", Dtype::F16, json!({"share_embedding": true, "num_hidden_layers": 3, "mlp_bias": true})),
        odd(
            "qwen2, window from layer 1 on",
            "qwen2",
            Dtype::BF16,
            json!({"use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1, "num_hidden_layers": 3}),
        ),
        odd(
            "qwen2, layers named, tied",
            "qwen2",
            Dtype::F32,
            json!({"use_sliding_window": true, "sliding_window": 9, "layer_types": ["sliding_attention", "full_attention"],
                "tie_word_embeddings": true, "rope_scaling": {"type": "linear", "factor": 2.0}}),
        ),
        odd("qwen3, wide heads", "qwen3", Dtype::F32, json!({"head_dim": 26, "attention_bias": true})),
        odd(
            "qwen3, a head for each query",
            "qwen3",
            Dtype::F16,
            json!({"head_dim": 8, "num_key_value_heads": 5, "tie_word_embeddings": true, "num_hidden_layers": 1}),
        ),
        odd(
            "gemma2 in bf16",
            "gemma2",
            Dtype::BF16,
            json!({"head_dim": 14, "query_pre_attn_scalar": 12, "sliding_window": 7, "attn_logit_softcapping": 2.0,
                "final_logit_softcapping": 3.0, "num_hidden_layers": 3}),
        ),
        odd(
            "gemma2 without caps",
            "gemma2",
            Dtype::F32,
            json!({"head_dim": 12, "query_pre_attn_scalar": 30.5, "sliding_window": 1000, "attn_logit_softcapping": null,
                "num_key_value_heads": 5, "tie_word_embeddings": false}),
        ),
        odd(
            "gemma3, old spelling",
            "gemma3_text",
            Dtype::F16,
            json!({"head_dim": 20, "query_pre_attn_scalar": 20, "sliding_window": 6, "sliding_window_pattern": 2, "num_hidden_layers": 5,
                "rope_theta": 1e6, "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_local_base_freq": 1000.0}),
        ),
        odd(
            "gemma3, new spelling",
            "gemma3_text",
            Dtype::F32,
            json!({"head_dim": 10, "query_pre_attn_scalar": 256, "sliding_window": 4, "num_hidden_layers": 3, "rope_theta": null,
                "layer_types": ["full_attention", "sliding_attention", "full_attention"], "final_logit_softcapping": 5.0,
                "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 5e5},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 2e3}}}),
        ),
        odd(
            "phi3, long factors on a part of the head",
            "phi3",
            Dtype::F16,
            json!({"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16, "partial_rotary_factor": 0.75,
                "original_max_position_embeddings": 20, "sliding_window": 11,
                "rope_scaling": {"type": "su", "short_factor": ramp(6, 0.1), "long_factor": ramp(6, 0.7)}}),
        ),
        odd(
            "phi3, short factors, tied",
            "phi3",
            Dtype::F32,
            json!({"tie_word_embeddings": true, "original_max_position_embeddings": 61, "rope_theta": null,
                "rope_parameters": {"rope_type": "longrope", "rope_theta": 2e4, "short_factor": ramp(6, 0.2), "long_factor": ramp(6, 1.5),
                    "attention_factor": 1.25}}),
        ),
        odd("stablelm, a rotation of three pairs", "stablelm", Dtype::BF16, json!({"head_dim": 24, "layer_norm_eps": 1e-5, "use_qkv_bias": true})),
        odd(
            "stablelm, old keys",
            "stablelm_epoch",
            Dtype::F32,
            json!({"norm_eps": 1e-3, "rope_pct": 0.5, "use_qkv_bias": false, "tie_word_embeddings": true}),
        ),
    ]
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

    /// Ids of a prompt that fills the context.
    pub fn prompt(&self) -> Vec<u32> {
        let size = |key: &str| self.object()[key].as_u64().expect("a size") as u32;
        let mut noise = Noise(self.seed + 10);
        (0..size("max_position_embeddings")).map(|_| noise.next() % size("vocab_size")).collect()
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
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// Uniform in −1 … 1.
    fn unit(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }
}
