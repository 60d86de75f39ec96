//! MobileLLM: a thin and deep Llama that shares weights. Liu et al., arXiv 2402.14905.
//!
//! `share_embedding` makes the embedding the head, whatever `tie_word_embeddings` says. `layer_sharing` runs each stored
//! block twice in a row ("immediate block-wise sharing"): the two passes are two layers, each with its own KV slot, and
//! come one after the other so that the second finds the block's weights in the cache of the processor.

use super::{config::Config, decoder::Decoder, family::Family, llama};

/// The family's entry in the table.
pub const FAMILY: Family = Family {
    model_types: &["mobilellm"],
    classes: &["MobileLLMForCausalLM"],
    code: &["MobileLLMConfig", "MobileLLMModel", "MobileLLMForCausalLM"],
    keys: &["attention_bias", "hidden_act", "layer_sharing", "mlp_bias", "rms_norm_eps", "share_embedding"],
    ignored: &[],
    nested: None,
    head_dim: None,
    describe,
};

/// Runs of each stored block where layers are shared.
const RUNS: usize = 2;

fn describe(config: &mut Config<'_>) -> Decoder {
    let tied = config.tied(false);
    let shared = config.fields.flag("share_embedding", false);
    let attention_bias = config.fields.flag("attention_bias", false);
    Decoder {
        tied: tied || shared,
        runs: if config.fields.flag("layer_sharing", false) { RUNS } else { 1 },
        qkv_bias: attention_bias,
        o_bias: attention_bias,
        mlp_bias: config.fields.flag("mlp_bias", false),
        ..llama::plain(config)
    }
}
