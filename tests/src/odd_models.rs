//! Odd geometries and options of every family but Llama, which `random_llama` has.

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::random_model::{Noise, RandomModel};

/// Ids of a prompt that fills the context of `model`.
pub fn prompt(model: &RandomModel) -> Vec<u32> {
    let size = |key: &str| model.config[key].as_u64().expect("a size") as u32;
    let mut noise = Noise(model.seed + 10);
    (0..size("max_position_embeddings")).map(|_| noise.bits() % size("vocab_size")).collect()
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

/// One model for each way in which a family can be odd.
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
                "tie_word_embeddings": true, "rope_scaling": {"type": "yarn", "factor": 3.0, "original_max_position_embeddings": 20, "beta_slow": 0.25}}),
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
