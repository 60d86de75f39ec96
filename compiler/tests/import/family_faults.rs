//! One wrong value at a time in the configuration of each family: it is named.

use super::copies::{Copy, Tensor};
use serde_json::{Value, json};

/// Fixture, key, value, and what the message must hold.
type Case = (&'static str, &'static str, Value, &'static [&'static str]);

fn check(cases: &[Case]) {
    for (fixture, key, value, parts) in cases {
        let copy = Copy::of(fixture);
        copy.set(key, value.clone());
        let message = match copy.import() {
            Ok(_) => panic!("{fixture}: {key} = {value} was imported"),
            Err(message) => message,
        };
        for part in *parts {
            assert!(message.contains(part), "{fixture}: {key} = {value}: {part:?} is not in: {message}");
        }
    }
}

/// What every family must refuse of the values that all have.
#[test]
fn values_of_all_families_are_checked_in_each() {
    let fixtures = ["mobilellm-shared", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "phi3-longrope", "stablelm2"];
    for fixture in fixtures {
        let eps = if fixture == "stablelm2" { "layer_norm_eps" } else { "rms_norm_eps" };
        let lists_layers = ["qwen2", "qwen3", "gemma2"].contains(&fixture);
        let act = if fixture.starts_with("gemma") { "hidden_activation" } else { "hidden_act" };
        let cases: Vec<Case> = vec![
            (fixture, "num_key_value_heads", json!(4), &["num_attention_heads: found 6, a multiple of num_key_value_heads = 4"]),
            (fixture, "num_attention_heads", json!(0), &["num_attention_heads: found 0"]),
            (fixture, "head_dim", json!(-16), &["head_dim: found -16, a whole number from 2"]),
            (fixture, "head_dim", json!(15), &["head_dim: found 15, an even number"]),
            (fixture, "head_dim", json!(8), if fixture == "phi3-longrope" { &["has 8 numbers, 4 are expected"] } else { &["has shape"] }),
            (fixture, "vocab_size", json!(351), &["model.embed_tokens.weight has shape [352, 96], the configuration needs [351, 96]"]),
            (
                fixture,
                "num_hidden_layers",
                json!(9),
                if lists_layers {
                    &["layer_types: has 3 names, num_hidden_layers = 9"]
                } else {
                    &["model.layers.8.input_layernorm.weight is missing"]
                },
            ),
            (fixture, "max_position_embeddings", json!(0), &["max_position_embeddings: found 0"]),
            (fixture, "eos_token_id", json!(352), &["eos_token_id: found 352", "vocab_size is 352"]),
            (fixture, eps, json!(-1e-6), &["eps: found -1e-6", "a number above 0"]),
            (fixture, eps, Value::Null, &["eps: is missing"]),
            (fixture, act, json!("relu"), &["= \"relu\" is not supported"]),
            (fixture, "architectures", json!(["Other"]), &["architectures = [\"Other\"] is not supported"]),
            (fixture, "auto_map", json!({"AutoModel": "mine.Mine"}), &["auto_map", "may compute anything"]),
            (fixture, "quantization_config", json!({"bits": 4}), &["quantization_config"]),
            (fixture, "tie_word_embeddings", json!("no"), &["tie_word_embeddings: found \"no\", true or false"]),
            (fixture, "rope_theta", json!(-1), &["rope_theta: found -1"]),
            (fixture, "model_type", json!("mamba"), &["model_type = \"mamba\" is not supported", "qwen2, qwen3, gemma2"]),
        ];
        check(&cases);
    }
}

#[test]
fn unknown_scalings_are_named_in_either_spelling() {
    for fixture in ["mobilellm-shared", "gemma3"] {
        check(&[
            (fixture, "rope_scaling", json!({"rope_type": "dynamic", "factor": 4.0}), &["rope_scaling.rope_type = \"dynamic\" is not supported"]),
            (fixture, "rope_scaling", json!({"factor": 4.0}), &["rope_scaling.rope_type: is missing"]),
            (fixture, "rope_scaling", json!("linear"), &["rope_scaling: found \"linear\", an object or null"]),
        ]);
    }
    for fixture in ["qwen2", "qwen3", "gemma2", "phi3", "stablelm2"] {
        check(&[
            (fixture, "rope_parameters.rope_type", json!("dynamic"), &["rope_parameters.rope_type = \"dynamic\" is not supported"]),
            (fixture, "rope_parameters.rope_type", json!("linear"), &["rope_parameters.factor: is missing"]),
            (fixture, "rope_parameters.rope_theta", json!(0), &["rope_parameters.rope_theta: found 0"]),
            (fixture, "rope_parameters.mscale", json!(2.0), &["rope_parameters.mscale = 2.0 is not supported"]),
        ]);
    }
    check(&[
        ("qwen3", "rope_parameters.partial_rotary_factor", json!(0.5), &["partial_rotary_factor = 0.5 is not supported"]),
        ("gemma3", "rope_parameters", json!({"full_attention": {}}), &["rope_parameters.sliding_attention: an object is expected"]),
        (
            "gemma3",
            "rope_parameters",
            json!({"full_attention": {}, "sliding_attention": {"rope_type": "dynamic"}, "chunked_attention": {}}),
            &["rope_parameters.sliding_attention.rope_type = \"dynamic\"", "rope_parameters.chunked_attention"],
        ),
        ("gemma3", "rope_local_base_freq", json!("1e4"), &["rope_local_base_freq: found \"1e4\""]),
    ]);
}

#[test]
fn windows_and_layer_types_are_checked() {
    for fixture in ["gemma2", "gemma3", "qwen2", "phi3"] {
        check(&[
            (fixture, "sliding_window", json!(0), &["sliding_window: found 0, a whole number from 1"]),
            (fixture, "sliding_window", json!(-4), &["sliding_window: found -4"]),
            (fixture, "sliding_window", json!("16"), &["sliding_window: found \"16\""]),
        ]);
    }
    for fixture in ["gemma2", "gemma3", "qwen2", "qwen3"] {
        check(&[
            (fixture, "layer_types", json!(["full_attention"]), &["layer_types: has 1 names, num_hidden_layers ="]),
            (fixture, "layer_types", json!("full_attention"), &["layer_types: found \"full_attention\", a list of"]),
            (fixture, "layer_types", json!([1, 2, 3]), &["layer_types = 1 is not supported", "layer 0"]),
            (fixture, "layer_types", json!(["chunked_attention", "full_attention", "full_attention"]), &["layer_types = \"chunked_attention\""]),
        ]);
    }
    check(&[
        ("gemma2", "sliding_window", Value::Null, &["sliding_window: is missing"]),
        ("gemma3", "sliding_window_pattern", json!(0), &["sliding_window_pattern: found 0"]),
        ("gemma3", "sliding_window_pattern", json!(5), &["sliding_window_pattern: found 5, but _sliding_window_pattern says 6"]),
        ("qwen2", "use_sliding_window", json!(1), &["use_sliding_window: found 1, true or false"]),
        ("qwen2", "max_window_layers", json!(-1), &["max_window_layers: found -1"]),
        (
            "qwen2",
            "layer_types",
            json!(["full_attention", "sliding_attention", "full_attention"]),
            &["layer 1 has sliding_attention, but no sliding_window is in effect"],
        ),
        ("stablelm2", "sliding_window", json!(16), &["sliding_window = 16 is not supported"]),
        ("mobilellm-shared", "layer_types", json!(["sliding_attention"]), &["layer_types"]),
    ]);
}

#[test]
fn values_of_one_family_are_checked() {
    check(&[
        ("mobilellm-shared", "layer_sharing", json!(2), &["layer_sharing: found 2, true or false"]),
        ("mobilellm-shared", "share_embedding", json!(false), &["tensor lm_head.weight is missing"]),
        ("mobilellm-shared", "attention_bias", json!(true), &["q_proj.bias is missing"]),
        ("qwen3", "attention_bias", json!(true), &["o_proj.bias is missing"]),
        ("gemma2", "query_pre_attn_scalar", json!(0), &["query_pre_attn_scalar: found 0, a number above 0"]),
        ("gemma2", "query_pre_attn_scalar", Value::Null, &["query_pre_attn_scalar: is missing"]),
        ("gemma2", "attn_logit_softcapping", json!(-50), &["attn_logit_softcapping: found -50"]),
        ("gemma3", "final_logit_softcapping", json!("30"), &["final_logit_softcapping: found \"30\""]),
        ("gemma2", "use_bidirectional_attention", json!(true), &["use_bidirectional_attention = true", "only causal"]),
        ("phi3", "partial_rotary_factor", json!(0.5), &["partial_rotary_factor: found 1, but the top level says 0.5"]),
        ("phi3", "rope_parameters.partial_rotary_factor", json!(0.2), &["found 0.2, which rotates 3 of the 16 dims of a head"]),
        ("phi3", "rope_parameters.partial_rotary_factor", json!(1.5), &["partial_rotary_factor: found 1.5, a number above 0 and at most 1"]),
        ("phi3", "num_key_value_heads", json!(2), &["qkv_proj.weight has shape [288, 96], the configuration needs [160, 96]"]),
        ("phi3", "intermediate_size", json!(80), &["gate_up_proj.weight has shape [320, 96], the configuration needs [160, 96]"]),
        ("stablelm2", "use_parallel_residual", json!(true), &["use_parallel_residual = true is not supported"]),
        ("stablelm2", "qk_layernorm", json!(true), &["qk_layernorm = true is not supported"]),
        ("stablelm2", "use_qkv_bias", json!(false), &["q_proj.bias", "asks for no bias here"]),
        ("stablelm2", "rope_parameters.partial_rotary_factor", json!(0), &["partial_rotary_factor: found 0"]),
    ]);
}

#[test]
fn values_of_yarn_are_checked() {
    let yarn = |key: &str, value: Value| {
        let mut rope = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0});
        rope[key] = value;
        rope
    };
    let cases: [(&str, Value, &'static [&'static str]); 8] = [
        ("factor", json!(0.5), &["rope_parameters.factor: found 0.5"]),
        ("original_max_position_embeddings", Value::Null, &["original_max_position_embeddings: is missing"]),
        ("beta_fast", json!(-32), &["beta_fast: found -32"]),
        ("beta_slow", json!(33), &["beta_slow: found 33, at most beta_fast = 32"]),
        ("attention_factor", json!(0), &["attention_factor: found 0"]),
        ("truncate", json!("no"), &["truncate: found \"no\", true or false"]),
        ("rope_theta", json!(1), &["rope_theta: found 1, a number above 1"]),
        ("long_factor", json!([1.0]), &["long_factor = [1.0] is not supported: rope type yarn"]),
    ];
    for (key, value, parts) in cases {
        check(&[("qwen2", "rope_parameters", yarn(key, value), parts)]);
    }
}

#[test]
fn lists_of_longrope_are_checked() {
    let fixture = "phi3-longrope";
    check(&[
        (fixture, "rope_parameters.long_factor", json!([1.0]), &["long_factor: has 1 numbers, 8 are expected"]),
        (fixture, "rope_parameters.long_factor", json!([1, 1, 1, 1, 0, 1, 1, 1]), &["long_factor: entry 4: found 0"]),
        (fixture, "rope_parameters.short_factor", json!([1, 1, 1, 1, 1, 1, 1, "1"]), &["short_factor: entry 7: found \"1\""]),
        (fixture, "rope_parameters.short_factor", json!(2.0), &["short_factor: found 2.0, a list of 8 numbers"]),
        (fixture, "rope_parameters.short_factor", Value::Null, &["short_factor: is missing"]),
        (fixture, "rope_parameters.partial_rotary_factor", json!(0.5), &["long_factor: has 8 numbers, 4 are expected"]),
        (fixture, "original_max_position_embeddings", json!(64), &["found 32, but the top level says 64"]),
        (fixture, "rope_parameters.original_max_position_embeddings", json!(1), &["original_max_position_embeddings: found 1"]),
        (fixture, "rope_parameters.factor", json!(4.0), &["factor: found 4, but max_position_embeddings"]),
        (fixture, "rope_parameters.attention_factor", json!(-1.0), &["attention_factor: found -1.0"]),
        (fixture, "rope_parameters.short_mscale", json!(1.5), &["short_mscale = 1.5 is not supported"]),
    ]);
    let copy = Copy::of(fixture);
    copy.set("original_max_position_embeddings", Value::Null);
    copy.set("rope_parameters.original_max_position_embeddings", Value::Null);
    copy.refused(&["original_max_position_embeddings: is missing; it is needed here or at the top level"]);
}

#[test]
fn missing_and_surplus_tensors_of_each_family_are_named() {
    let cases = [
        ("mobilellm-shared", "model.layers.2.mlp.up_proj.weight", "[160, 96]"),
        ("qwen2", "model.layers.1.self_attn.k_proj.bias", "[32]"),
        ("gemma2", "model.layers.0.pre_feedforward_layernorm.weight", "[96]"),
        ("gemma3", "model.layers.6.self_attn.q_norm.weight", "[32]"),
        ("phi3", "model.layers.0.self_attn.qkv_proj.weight", "[288, 96]"),
        ("stablelm2", "model.norm.bias", "[96]"),
    ];
    for (fixture, name, shape) in cases {
        let copy = Copy::of(fixture);
        copy.edit(|tensors| {
            tensors.retain(|t| t.name != name);
            tensors.push(Tensor { name: "model.layers.0.self_attn.o_proj.bias".into(), dtype: "F32".into(), shape: vec![1], bytes: vec![0; 4] });
        });
        let missing = format!("tensor {name} is missing: the configuration needs it with shape {shape}");
        copy.refused(&["2 faults", &missing, "o_proj.bias of shape [1] has no place in this architecture"]);
    }
}
