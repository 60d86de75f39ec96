//! `config.json`: a configuration that is taken describes a model that can be imported when its tensors are there.

use std::fs;

use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use slmc::import::{Decoder, ImportOptions, describe, import};
use slmc_ir::graph::Graph;
use slmc_ir::graph::verify::verify;

use super::Target;
use super::zeros::zeros;
use crate::odd_models::odd_models;

/// The reader of `config.json`.
pub(super) struct ConfigJson;

/// Models of more weights are described only.
const MOST_WEIGHTS: u64 = 1 << 18;
/// And of more layers.
const MOST_LAYERS: usize = 16;

impl Target for ConfigJson {
    fn name(&self) -> &'static str {
        "config"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let llama = json!({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 12,
            "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 4, "intermediate_size": 10, "vocab_size": 21, "num_hidden_layers": 2,
            "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "bos_token_id": 1, "eos_token_id": [2, 3], "tie_word_embeddings": true,
            "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16}});
        let nested = json!({"model_type": "gemma3", "text_config": {"hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1,
            "head_dim": 4, "intermediate_size": 10, "vocab_size": 21, "num_hidden_layers": 3, "sliding_window": 5}, "vision_config": {"a": 1}});
        odd_models().into_iter().map(|model| model.config).chain([llama, nested]).map(|config| config.to_string().into_bytes()).collect()
    }

    fn run(&self, input: &[u8]) -> String {
        let Ok(Value::Object(config)) = serde_json::from_slice(input) else { return "not a JSON object".to_owned() };
        match describe(&config, None) {
            Ok((decoder, _)) => {
                let summary = decoder.summary();
                let shown = format!("{} {:?}", summary.family, kinds(&decoder));
                if summary.parameters <= MOST_WEIGHTS && summary.layers <= MOST_LAYERS {
                    imported(input, &decoder);
                }
                shown
            }
            // Which keys are wrong, not with which values.
            Err(faults) => faults.iter().take(3).map(|fault| fault.to_string().split(" found ").next().unwrap_or("").to_owned()).collect(),
        }
    }
}

/// What a described model does that others do not.
fn kinds(decoder: &Decoder) -> Vec<&'static str> {
    let has = |on: bool, name| on.then_some(name);
    let all = [
        has(decoder.tied, "tied"),
        has(decoder.qkv_bias, "biases"),
        has(decoder.runs > 1, "shared"),
        has(decoder.layers.iter().any(|layer| layer.window.is_some()), "windows"),
        has(decoder.softcap.is_some(), "capped"),
        has(!decoder.decided_at(1).is_empty(), "longrope"),
    ];
    all.into_iter().flatten().collect()
}

/// A model of zeros, which must be a graph that verifies and survives its text form.
fn imported(config: &[u8], decoder: &Decoder) {
    let folder = tempfile::tempdir().expect("a folder for the input");
    fs::write(folder.path().join("config.json"), config).expect("the input is written");
    fs::write(folder.path().join("model.safetensors"), zeros(decoder, Dtype::BF16)).expect("weights are written");
    let model = import(folder.path(), &ImportOptions::default()).unwrap_or_else(|error| panic!("described, but: {error}"));
    if let Err(faults) = verify(&model.graph) {
        panic!("the graph does not verify: {faults:?}");
    }
    assert!(Graph::parse(&model.graph.to_string()).as_ref() == Ok(&model.graph), "the graph does not survive its text form");
}
