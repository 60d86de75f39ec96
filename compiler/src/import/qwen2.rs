//! Qwen2 and Qwen2.5: a Llama whose q, k and v projections have biases and whose o projection has none. Yang et al.,
//! arXiv 2407.10671.
//!
//! With `use_sliding_window`, layers from `max_window_layers` on see `sliding_window` positions only, unless `layer_types`
//! says which do.

use super::{config::Config, decoder::Decoder, family::Family, llama};

/// The family's entry in the table.
pub const FAMILY: Family = Family {
    model_types: &["qwen2"],
    classes: &["Qwen2ForCausalLM"],
    code: &[],
    keys: &["hidden_act", "layer_types", "max_window_layers", "rms_norm_eps", "sliding_window", "use_sliding_window"],
    ignored: &[],
    nested: None,
    head_dim: None,
    describe,
};

/// `max_window_layers` where it is absent.
const FIRST_WITH_WINDOW: usize = 28;

fn describe(config: &mut Config<'_>) -> Decoder {
    let tied = config.tied(false);
    let windows = windows(config);
    Decoder { qkv_bias: true, tied, ..llama::plain(config) }.with_windows(&windows)
}

/// The window of each stored layer, as Qwen2 and Qwen3 state it.
pub(super) fn windows(config: &mut Config<'_>) -> Vec<Option<u32>> {
    let on = config.fields.flag("use_sliding_window", false);
    let window = config.window("sliding_window");
    let first = config.fields.optional_size("max_window_layers", 0..=1 << 16).unwrap_or(FIRST_WITH_WINDOW);
    config.layer_windows(window.filter(|_| on), |layer| layer >= first)
}
