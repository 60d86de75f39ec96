//! Checkpoints whose tensors are not those of their configuration, or hold no numbers.

use super::copies::{Copy, Tensor, find};
use serde_json::json;

#[test]
fn missing_surplus_and_misshapen_tensors_are_named_together() {
    let copy = Copy::of("llama-untied");
    copy.edit(|tensors| {
        tensors.retain(|t| t.name != "model.layers.1.mlp.up_proj.weight" && t.name != "lm_head.weight");
        let norm = find(tensors, "model.norm.weight");
        norm.shape = vec![48, 2];
        let q = find(tensors, "model.layers.0.self_attn.q_proj.weight");
        q.shape = vec![48, 192];
        for name in ["model.layers.7.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.bias", "model.layers.0.self_attn.q_norm.weight"] {
            tensors.push(Tensor { name: name.into(), dtype: "F16".into(), shape: vec![2], bytes: vec![0; 4] });
        }
    });
    copy.refused(&[
        "7 faults",
        "tensor lm_head.weight is missing: the configuration needs it with shape [352, 96]",
        "tensor model.layers.1.mlp.up_proj.weight is missing: the configuration needs it with shape [160, 96]",
        "tensor model.norm.weight has shape [48, 2], the configuration needs [96]",
        "tensor model.layers.0.self_attn.q_proj.weight has shape [48, 192], the configuration needs [96, 96]",
        "tensor model.layers.7.mlp.up_proj.weight of shape [2] has no place in this architecture: config.json says num_hidden_layers = 3",
        "q_proj.bias of shape [2] has no place in this architecture: config.json asks for no bias here",
        "q_norm.weight of shape [2] has no place in this architecture: nothing in config.json asks for it",
    ]);
}

#[test]
fn configurations_that_do_not_fit_are_named() {
    for (key, value, part) in [
        ("vocab_size", json!(353), "tensor model.embed_tokens.weight has shape [352, 96], the configuration needs [353, 96]"),
        ("num_hidden_layers", json!(4), "tensor model.layers.3.self_attn.q_proj.weight is missing"),
        ("num_hidden_layers", json!(2), "tensor model.layers.2.self_attn.q_proj.weight of shape [96, 96] has no place"),
        ("num_key_value_heads", json!(3), "tensor model.layers.0.self_attn.k_proj.weight has shape [32, 96], the configuration needs [96, 96]"),
        ("head_dim", json!(16), "tensor model.layers.0.self_attn.o_proj.weight has shape [96, 96], the configuration needs [96, 48]"),
        ("tie_word_embeddings", json!(false), "tensor lm_head.weight is missing"),
        ("attention_bias", json!(true), "tensor model.layers.0.self_attn.q_proj.bias is missing: the configuration needs it with shape [96]"),
        ("mlp_bias", json!(true), "tensor model.layers.0.mlp.down_proj.bias is missing"),
    ] {
        let copy = Copy::of("llama-tied");
        copy.config(|map| {
            map.insert(key.into(), value);
        });
        copy.refused(&[part]);
    }
}

#[test]
fn values_that_are_no_numbers_are_named_together() {
    let copy = Copy::of("llama-tied");
    copy.edit(|tensors| {
        find(tensors, "model.norm.weight").bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
        let up = find(tensors, "model.layers.2.mlp.up_proj.weight");
        up.bytes[4000..4004].copy_from_slice(&f32::INFINITY.to_le_bytes());
        up.bytes[8000..8004].copy_from_slice(&f32::NAN.to_le_bytes());
        up.bytes[8004..8008].copy_from_slice(&(-f32::NAN).to_le_bytes());
    });
    copy.refused(&[
        "2 faults",
        "tensor model.norm.weight holds 1 NaN and 0 infinite values, the first at element 2",
        "tensor model.layers.2.mlp.up_proj.weight holds 2 NaN and 1 infinite values, the first at element 1000",
    ]);
}

#[test]
fn a_stored_copy_of_a_tied_head_must_be_equal() {
    let copy = Copy::of("llama-tied");
    copy.edit(|tensors| {
        let mut head = find(tensors, "model.embed_tokens.weight").clone();
        head.name = "lm_head.weight".into();
        tensors.push(head);
        tensors.push(Tensor {
            name: "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
            dtype: "F32".into(),
            shape: vec![16],
            bytes: vec![0; 64],
        });
    });
    copy.import().unwrap();
    copy.edit(|tensors| find(tensors, "lm_head.weight").bytes[0] ^= 1);
    copy.refused(&["tensor lm_head.weight differs from model.embed_tokens.weight", "tie_word_embeddings"]);
    copy.edit(|tensors| find(tensors, "lm_head.weight").shape = vec![96, 352]);
    copy.refused(&["tensor lm_head.weight has shape [96, 352], the configuration needs [352, 96]"]);
}

#[test]
fn tensor_faults_show_beside_header_faults() {
    let copy = Copy::of("llama-tied");
    copy.edit(|tensors| {
        find(tensors, "model.norm.weight").dtype = "I32".into();
        find(tensors, "model.layers.0.self_attn.q_proj.weight").shape = vec![48, 192];
    });
    copy.refused(&["2 faults", "stored as I32", "has shape [48, 192]"]);
}
