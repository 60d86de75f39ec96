//! Gemma 2: four norms a layer with a factor of 1 + w, embeddings times sqrt(D), soft caps on scores and logits, and a
//! sliding window on every second layer. Gemma Team, arXiv 2408.00118.
//!
//! Per layer: `x += norm(o(attention(…)))` with `n = norm(x)`, then `x += norm(down(gelu(gate(n)) · up(n)))` with `n = norm(x)`.
//! Scores are scaled by `query_pre_attn_scalar`, not by the width of a head.

use super::{
    config::Config,
    decoder::{Activation, Decoder, Norm},
    family::Family,
    rope::RopeSpec,
};

/// The family's entry in the table.
pub const FAMILY: Family = Family {
    model_types: &["gemma2"],
    classes: &["Gemma2ForCausalLM"],
    code: &[],
    keys: &[
        "attention_bias",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "hidden_activation",
        "layer_types",
        "query_pre_attn_scalar",
        "rms_norm_eps",
        "sliding_window",
    ],
    ignored: &["hidden_act"],
    nested: None,
    head_dim: Some(256),
    describe,
};

fn describe(config: &mut Config<'_>) -> Decoder {
    let rope = config.rope(None);
    let window = config.needed_window("sliding_window");
    let windows = config.layer_windows(window, |layer| layer.is_multiple_of(2));
    gemma(config, rope).with_windows(&windows)
}

/// What Gemma 2 and Gemma 3 have in common. `hidden_act` of old files is not what they compute.
pub(super) fn gemma(config: &mut Config<'_>, rope: RopeSpec) -> Decoder {
    config.activation("hidden_activation", &["gelu_pytorch_tanh"]);
    let eps = config.eps("rms_norm_eps");
    let scalar = config.fields.number("query_pre_attn_scalar", "a number above 0 and at most 1e6", |v| v as f32 > 0.0 && v <= 1e6);
    let attention_bias = config.fields.flag("attention_bias", false);
    Decoder {
        norm: Norm::RmsPlusOne,
        post_norms: true,
        qkv_bias: attention_bias,
        o_bias: attention_bias,
        activation: Activation::GeluTanh,
        scale: (1.0 / scalar.sqrt()) as f32,
        softcap: config.cap("attn_logit_softcapping"),
        final_softcap: config.cap("final_logit_softcapping"),
        scaled_embedding: true,
        tied: config.tied(true),
        ..Decoder::plain(config.sizes.clone(), eps, rope)
    }
}
