//! Phi-3 and Phi-3.5: a Llama whose q, k, v and whose gate and up projections are stored as one tensor each, with
//! LongRoPE in the long-context variants. Abdin et al., arXiv 2404.14219.
//!
//! A window holds for all layers; those of published models are near or above the context.

use super::{config::Config, decoder::Decoder, family::Family};

/// The family's entry in the table.
pub const FAMILY: Family = Family {
    model_types: &["phi3"],
    classes: &["Phi3ForCausalLM"],
    code: &["Phi3Config", "Phi3Model", "Phi3ForCausalLM"],
    keys: &["hidden_act", "original_max_position_embeddings", "partial_rotary_factor", "rms_norm_eps", "sliding_window"],
    ignored: &["full_attn_mod", "interpolate_factor"],
    nested: None,
    head_dim: None,
    describe,
};

fn describe(config: &mut Config<'_>) -> Decoder {
    config.activation("hidden_act", &["silu", "swish"]);
    let tied = config.tied(false);
    let eps = config.eps("rms_norm_eps");
    let rope = config.rope(Some(1.0));
    let window = config.window("sliding_window");
    let windows = vec![window; config.sizes.blocks];
    Decoder { fused: true, tied, ..Decoder::plain(config.sizes.clone(), eps, rope) }.with_windows(&windows)
}
