//! The Llama family: Llama 1 to 3, TinyLlama, SmolLM and whatever else calls itself `llama`.
//!
//! The plain decoder: `x += o(attention(rope(q(n)), rope(k(n)), v(n)))` with `n = rms_norm(x)`, then
//! `x += down(silu(gate(n)) · up(n))` with `n = rms_norm(x)`. Touvron et al., arXiv 2302.13971 and 2307.09288. Projections
//! may have biases.

use super::{config::Config, decoder::Decoder, family::Family};

/// The family's entry in the table.
pub const FAMILY: Family = Family {
    model_types: &["llama"],
    classes: &["LlamaForCausalLM"],
    code: &[],
    keys: &["attention_bias", "hidden_act", "mlp_bias", "rms_norm_eps"],
    ignored: &[],
    nested: None,
    head_dim: None,
    describe,
};

fn describe(config: &mut Config<'_>) -> Decoder {
    let attention_bias = config.fields.flag("attention_bias", false);
    let tied = config.tied(false);
    Decoder { qkv_bias: attention_bias, o_bias: attention_bias, mlp_bias: config.fields.flag("mlp_bias", false), tied, ..plain(config) }
}

/// The decoder that families vary: RMS norms before attention and feed-forward, SiLU, whole heads rotated, full
/// attention, no biases, and a head of its own.
pub(super) fn plain(config: &mut Config<'_>) -> Decoder {
    config.activation("hidden_act", &["silu", "swish"]);
    let eps = config.eps("rms_norm_eps");
    let rope = config.rope(None);
    Decoder::plain(config.sizes.clone(), eps, rope)
}
