//! The tensors that a Llama is made of, and how a checkpoint's differ from them.
//!
//! Names are those of Hugging Face. Projections are stored `[out, in]`.

use super::{checkpoint::Checkpoint, config::LlamaConfig, fault::Fault, scan::TensorDigest};
use std::collections::BTreeMap;

/// The token embedding, `[V, D]`.
pub const EMBED: &str = "model.embed_tokens.weight";
/// The output head, `[V, D]`; absent when tied.
pub const HEAD: &str = "lm_head.weight";
/// The last norm, `[D]`.
pub const FINAL_NORM: &str = "model.norm.weight";

/// A tensor that an architecture needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Name in the checkpoint.
    pub name: String,
    /// Shape by the configuration.
    pub shape: Vec<usize>,
}

/// The full name of a part of layer `layer`, such as `self_attn.q_proj.weight`.
pub fn layer_tensor(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}")
}

/// All tensors of a model of this configuration, in the order in which it uses them. A tied head is not among them.
pub fn expected(config: &LlamaConfig) -> Vec<Expected> {
    let LlamaConfig { hidden, ffn, .. } = *config;
    let queries = config.heads * config.head_dim;
    let keys = config.kv_heads * config.head_dim;
    let projections = [
        ("self_attn.q_proj", queries, hidden, config.attention_bias),
        ("self_attn.k_proj", keys, hidden, config.attention_bias),
        ("self_attn.v_proj", keys, hidden, config.attention_bias),
        ("self_attn.o_proj", hidden, queries, config.attention_bias),
        ("mlp.gate_proj", ffn, hidden, config.mlp_bias),
        ("mlp.up_proj", ffn, hidden, config.mlp_bias),
        ("mlp.down_proj", hidden, ffn, config.mlp_bias),
    ];
    let mut all = Vec::new();
    let mut add = |name: String, shape: Vec<usize>| all.push(Expected { name, shape });
    add(EMBED.to_owned(), vec![config.vocab, hidden]);
    for layer in 0..config.layers {
        for norm in ["input_layernorm.weight", "post_attention_layernorm.weight"] {
            add(layer_tensor(layer, norm), vec![hidden]);
        }
        for (part, rows, columns, bias) in projections {
            add(
                layer_tensor(layer, &format!("{part}.weight")),
                vec![rows, columns],
            );
            if bias {
                add(layer_tensor(layer, &format!("{part}.bias")), vec![rows]);
            }
        }
    }
    add(FINAL_NORM.to_owned(), vec![hidden]);
    if !config.tied {
        add(HEAD.to_owned(), vec![config.vocab, hidden]);
    }
    all
}

/// Missing, misshapen and surplus tensors of a checkpoint, all of them.
///
/// Stored rotary frequencies are ignored: they follow from the configuration. A head stored beside a tied embedding
/// passes here if its shape is right; [`check_tied`] compares its content.
pub fn compare(config: &LlamaConfig, checkpoint: &Checkpoint, faults: &mut Vec<Fault>) {
    let mut table: BTreeMap<String, Vec<usize>> = expected(config)
        .into_iter()
        .map(|tensor| (tensor.name, tensor.shape))
        .collect();
    for (name, shape) in &table {
        match checkpoint.tensor(name) {
            None => faults.push(Fault::MissingTensor {
                tensor: name.clone(),
                expected: shape.clone(),
            }),
            Some(found) if found.shape != *shape => faults.push(Fault::Misshapen {
                tensor: name.clone(),
                found: found.shape.clone(),
                expected: shape.clone(),
            }),
            Some(_) => {}
        }
    }
    if config.tied {
        let shape = vec![config.vocab, config.hidden];
        if let Some(head) = checkpoint.tensor(HEAD)
            && head.shape != shape
        {
            faults.push(Fault::Misshapen {
                tensor: HEAD.to_owned(),
                found: head.shape.clone(),
                expected: shape.clone(),
            });
        }
        table.insert(HEAD.to_owned(), shape);
    }
    for found in checkpoint.tensors() {
        if !table.contains_key(&found.name) && !is_derived(&found.name) {
            faults.push(Fault::SurplusTensor {
                tensor: found.name.clone(),
                found: found.shape.clone(),
                detail: surplus_reason(&found.name, config),
            });
        }
    }
}

/// A head stored beside a tied embedding must be a copy of it.
pub fn check_tied(config: &LlamaConfig, digests: &[TensorDigest]) -> Option<Fault> {
    let hash = |name: &str| digests.iter().find(|d| d.name == name).map(|d| d.hash);
    match (config.tied, hash(HEAD), hash(EMBED)) {
        (true, Some(head), Some(embed)) if head != embed => Some(Fault::NotTied {
            head: HEAD.to_owned(),
            embed: EMBED.to_owned(),
        }),
        _ => None,
    }
}

/// Buffers that old versions of transformers stored although they follow from the configuration.
pub fn is_derived(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

fn surplus_reason(name: &str, config: &LlamaConfig) -> String {
    let layer = name
        .strip_prefix("model.layers.")
        .and_then(|rest| rest.split_once('.'))
        .and_then(|(number, _)| number.parse::<usize>().ok());
    match layer {
        Some(layer) if layer >= config.layers => {
            format!("config.json says num_hidden_layers = {}", config.layers)
        }
        _ if name.ends_with("_proj.bias") => {
            let key = if name.contains(".mlp.") {
                "mlp_bias"
            } else {
                "attention_bias"
            };
            format!("config.json does not say {key} = true")
        }
        _ => "a Llama has no such tensor".to_owned(),
    }
}
