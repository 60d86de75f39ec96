//! Gemma 3, the language model: a Gemma 2 without soft caps that norms the heads of queries and keys, with five layers
//! of a sliding window and local rotation to one that sees all. Gemma Team, arXiv 2503.19786.
//!
//! `gemma3` checkpoints nest the language model beside an image encoder. Texts are answered by the language model alone,
//! exactly; the encoder's tensors are left out with a warning.

use super::{
    config::Config,
    decoder::{Decoder, Root},
    family::{Family, Nested},
    gemma2,
};
use serde_json::{Map, Value, json};

/// The family's entry in the table.
pub const FAMILY: Family = Family {
    model_types: &["gemma3_text", "gemma3"],
    classes: &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
    code: &[],
    keys: &[
        "_sliding_window_pattern",
        "attention_bias",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "hidden_activation",
        "layer_types",
        "query_pre_attn_scalar",
        "rms_norm_eps",
        "rope_local_base_freq",
        "sliding_window",
        "sliding_window_pattern",
    ],
    ignored: &["boi_token_index", "eoi_token_index", "hidden_act", "image_token_index", "mm_tokens_per_image", "text_config", "vision_config"],
    nested: Some(Nested { key: "text_config", defaults }),
    head_dim: Some(256),
    describe,
};

/// Where the language model's tensors are in a `gemma3` checkpoint, by either generation of transformers.
const NESTED_ROOTS: &[Root] =
    &[Root { body: "language_model.model.", head: "language_model.lm_head.weight" }, Root { body: "model.language_model.", head: "lm_head.weight" }];
/// Tensors that serve images only.
const IMAGE_PARTS: &[&str] = &["vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."];

fn describe(config: &mut Config<'_>) -> Decoder {
    let (global, local) = config.rope_by_layer("rope_local_base_freq");
    let window = config.needed_window("sliding_window");
    let pattern = pattern(config);
    let windows = config.layer_windows(window, |layer| !(layer + 1).is_multiple_of(pattern));
    let is_nested = config.is_nested();
    let mut decoder = Decoder { head_norms: true, ..gemma2::gemma(config, global) }.with_windows(&windows);
    for layer in decoder.layers.iter_mut().filter(|layer| layer.window.is_some()) {
        layer.rope = local.clone();
    }
    if is_nested {
        decoder.roots = NESTED_ROOTS;
        decoder.left_out = IMAGE_PARTS;
    }
    decoder
}

/// One layer in so many sees all. Both spellings are in use, at times together.
fn pattern(config: &mut Config<'_>) -> usize {
    let mut read = |key: &str| config.fields.optional_size(key, 1..=1 << 16);
    let (new, old) = (read("sliding_window_pattern"), read("_sliding_window_pattern"));
    if let (Some(new), Some(old)) = (new, old)
        && new != old
    {
        config.fields.fault("sliding_window_pattern", format!("found {new}, but _sliding_window_pattern says {old}; keep one"));
    }
    new.or(old).unwrap_or(6)
}

/// What a `text_config` leaves out: the defaults of `Gemma3TextConfig`.
fn defaults() -> Map<String, Value> {
    let Value::Object(map) = json!({
        "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "intermediate_size": 9216,
        "max_position_embeddings": 131_072, "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4,
        "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6, "sliding_window": 4096, "vocab_size": 262_208,
    }) else {
        return Map::new();
    };
    map
}
