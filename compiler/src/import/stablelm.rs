//! StableLM 2 (1.6B) and StableLM 3B: a Llama with layer norms, a rotation of the first quarter of each head, and biases
//! on q, k and v. Bellagente et al., arXiv 2402.17834.
//!
//! The 12B model is refused by its keys: its layers add attention and feed-forward of one norm (`use_parallel_residual`)
//! and norm each head with factors of its own (`qk_layernorm`).

use super::{
    config::Config,
    decoder::{Decoder, Norm},
    family::Family,
};

/// The family's entry in the table.
pub const FAMILY: Family = Family {
    model_types: &["stablelm", "stablelm_epoch"],
    classes: &["StableLmForCausalLM", "StableLMEpochForCausalLM"],
    code: &["StableLMEpochConfig", "StableLMEpochForCausalLM"],
    keys: &["hidden_act", "layer_norm_eps", "norm_eps", "partial_rotary_factor", "rope_pct", "use_qkv_bias"],
    ignored: &[],
    nested: None,
    head_dim: None,
    describe,
};

fn describe(config: &mut Config<'_>) -> Decoder {
    config.activation("hidden_act", &["silu", "swish"]);
    let old = config.fields.value("layer_norm_eps").is_none() && config.fields.value("norm_eps").is_some();
    let eps = config.eps(if old { "norm_eps" } else { "layer_norm_eps" });
    let rope = config.rope(Some(0.25));
    Decoder {
        norm: Norm::Layer,
        qkv_bias: config.fields.flag("use_qkv_bias", false),
        tied: config.tied(false),
        ..Decoder::plain(config.sizes.clone(), eps, rope)
    }
}
