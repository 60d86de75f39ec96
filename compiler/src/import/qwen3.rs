//! Qwen3: a Llama that norms the heads of queries and keys before rotating them, with heads of a stated width. Yang et al.,
//! arXiv 2505.09388.

use super::{config::Config, decoder::Decoder, family::Family, llama, qwen2};

/// The family's entry in the table.
pub const FAMILY: Family = Family {
    model_types: &["qwen3"],
    classes: &["Qwen3ForCausalLM"],
    code: &[],
    keys: &["attention_bias", "hidden_act", "layer_types", "max_window_layers", "rms_norm_eps", "sliding_window", "use_sliding_window"],
    ignored: &[],
    nested: None,
    head_dim: Some(128),
    describe,
};

fn describe(config: &mut Config<'_>) -> Decoder {
    let tied = config.tied(false);
    let attention_bias = config.fields.flag("attention_bias", false);
    let windows = qwen2::windows(config);
    Decoder { head_norms: true, qkv_bias: attention_bias, o_bias: attention_bias, tied, ..llama::plain(config) }.with_windows(&windows)
}
