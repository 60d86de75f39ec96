//! Configuration keys that a family does not read: which of them change the computation, and which do not.
//!
//! A key in [`REFUSED`] is accepted only with the value that switches it off. Keys in [`HARMLESS`] describe training,
//! storage or defaults of generation. Any other key is reported as a warning.

use super::{fault::Warning, fields::Fields};
use serde_json::Value;

/// The value that switches an option off. Null, false and empty lists or objects always do.
enum Off {
    /// Only those.
    Absent,
    /// This number.
    Number(f64),
    /// A list that holds only this string.
    Only(&'static str),
}

/// Options that change the computation, with what they mean.
static REFUSED: &[(&str, Off, &str)] = &[
    ("add_cross_attention", Off::Absent, "cross attention is not built"),
    ("alibi", Off::Absent, "positions by ALiBi are not built"),
    ("attention_bias", Off::Absent, "biases of attention belong to another family"),
    ("attention_chunk_size", Off::Absent, "chunked attention is not built"),
    ("attention_multiplier", Off::Absent, "another attention scale is not built"),
    ("attn_logit_softcapping", Off::Absent, "soft caps belong to another family"),
    ("attn_temperature_tuning", Off::Absent, "attention temperature is not built"),
    ("clip_qkv", Off::Absent, "clipped projections are not built"),
    ("cross_layer_sharing", Off::Absent, "shared layers belong to another family"),
    ("embedding_multiplier", Off::Number(1.0), "scaled embeddings are not built"),
    ("final_logit_softcapping", Off::Absent, "soft caps belong to another family"),
    ("first_k_dense_replace", Off::Absent, "mixtures of experts are not built"),
    ("is_encoder_decoder", Off::Absent, "only decoders are supported"),
    ("kv_lora_rank", Off::Absent, "latent attention is not built"),
    ("layer_sharing", Off::Absent, "shared layers belong to another family"),
    ("layer_types", Off::Only("full_attention"), "only full attention is supported"),
    ("lm_head_bias", Off::Absent, "a bias of the head is not built"),
    ("logit_scale", Off::Number(1.0), "scaled logits are not built"),
    ("logits_scaling", Off::Number(1.0), "scaled logits are not built"),
    ("mlp_bias", Off::Absent, "biases of the feed-forward belong to another family"),
    ("moe_intermediate_size", Off::Absent, "mixtures of experts are not built"),
    ("n_routed_experts", Off::Number(0.0), "mixtures of experts are not built"),
    ("no_rope_layer_interval", Off::Number(0.0), "layers without positions are not built"),
    ("no_rope_layers", Off::Absent, "layers without positions are not built"),
    ("num_experts", Off::Number(0.0), "mixtures of experts are not built"),
    ("num_experts_per_tok", Off::Number(0.0), "mixtures of experts are not built"),
    ("num_local_experts", Off::Number(0.0), "mixtures of experts are not built"),
    ("num_nextn_predict_layers", Off::Number(0.0), "extra prediction layers are not built"),
    ("partial_rotary_factor", Off::Number(1.0), "only whole heads are rotated"),
    ("pruned_heads", Off::Absent, "pruned heads are not built"),
    ("qk_layernorm", Off::Absent, "norms of queries and keys belong to another family"),
    ("qk_norm", Off::Absent, "norms of queries and keys belong to another family"),
    ("quantization_config", Off::Absent, "weights that are already quantized cannot be imported; give the original f16 or bf16 checkpoint"),
    ("query_pre_attn_scalar", Off::Absent, "another attention scale is not built"),
    ("residual_multiplier", Off::Number(1.0), "scaled residuals are not built"),
    ("rope_interleaved", Off::Absent, "only rotation of halves is supported"),
    ("rotary_dim", Off::Absent, "only whole heads are rotated"),
    ("rotary_pct", Off::Number(1.0), "only whole heads are rotated"),
    ("rotary_scaling_factor", Off::Number(1.0), "use rope_scaling instead"),
    ("scale_attn_by_inverse_layer_idx", Off::Absent, "another attention scale is not built"),
    ("scale_depth", Off::Absent, "scaled residuals are not built"),
    ("scale_emb", Off::Number(1.0), "scaled embeddings are not built"),
    ("share_embedding", Off::Absent, "set tie_word_embeddings instead, or use the family that defines it"),
    ("sliding_window", Off::Absent, "only full attention is supported; set it to null if the context stays below the window"),
    ("tie_encoder_decoder", Off::Absent, "only decoders are supported"),
    ("use_bidirectional_attention", Off::Absent, "only causal attention is supported"),
    ("use_mrope", Off::Absent, "positions in images are not built"),
    ("use_parallel_residual", Off::Absent, "parallel residuals are not built"),
    ("use_qk_norm", Off::Absent, "norms of queries and keys belong to another family"),
    ("use_sliding_window", Off::Absent, "only full attention is supported"),
    ("vision_config", Off::Absent, "only text models are supported"),
];

/// Keys that do not change what a decoder computes from given weights.
static HARMLESS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "attention_dropout",
    "attn_implementation",
    "cache_implementation",
    "chunk_size_feed_forward",
    "cls_token_id",
    "decoder_start_token_id",
    "dtype",
    "embd_pdrop",
    "finetuning_task",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_llama_config",
    "label2id",
    "mask_token_id",
    "max_window_layers",
    "name_or_path",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "resid_pdrop",
    "return_dict",
    "sep_token_id",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

/// Checks all keys of `fields` but those in `read`, which the family reads itself.
pub(super) fn check(fields: &mut Fields<'_>, read: &[&[&str]], warnings: &mut Vec<Warning>) {
    for (key, value) in fields.map() {
        if read.iter().any(|keys| keys.contains(&key.as_str())) {
            continue;
        }
        if let Some((_, off, why)) = REFUSED.iter().find(|(name, _, _)| name == key) {
            if !is_off(value, off) {
                fields.unsupported(key, value, *why);
            }
        } else if !HARMLESS.contains(&key.as_str()) {
            warnings.push(Warning { file: fields.file().to_owned(), detail: format!("key {} is not known and was ignored", fields.path(key)) });
        }
    }
}

/// Null, false, or an empty list or object.
pub(super) fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn is_off(value: &Value, off: &Off) -> bool {
    is_absent(value)
        || match off {
            Off::Absent => false,
            Off::Number(number) => value.as_f64() == Some(*number),
            Off::Only(text) => value.as_array().is_some_and(|list| list.iter().all(|v| v.as_str() == Some(text))),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_disjoint() {
        assert!(REFUSED.is_sorted_by(|a, b| a.0 < b.0));
        assert!(HARMLESS.is_sorted_by(|a, b| a < b));
        assert!(REFUSED.iter().all(|(key, _, _)| !HARMLESS.contains(key)));
    }
}
