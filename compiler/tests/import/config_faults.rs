//! Every value of a configuration, wrong in every way, alone and together.

use super::copies::Copy;
use serde_json::{Value, json};

#[test]
fn each_faulty_value_is_named() {
    let wrong_sizes = [json!(0), json!(-1), json!(1.5), json!("96"), json!(1u64 << 62), json!(1e30), json!([96]), json!(true)];
    let sizes = [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    ];
    for key in sizes {
        for value in &wrong_sizes {
            let copy = Copy::of("llama-tied");
            copy.config(|map| {
                map.insert(key.into(), value.clone());
            });
            copy.refused(&["config.json", key, "found", "a whole number from"]);
        }
    }
    for value in [json!(0), json!(-1e-5), json!(1e300), json!("1e-5"), json!(1e-60), json!(1)] {
        let copy = Copy::of("llama-tied");
        copy.config(|map| {
            map.insert("rms_norm_eps".into(), value.clone());
        });
        copy.refused(&["rms_norm_eps: found", "a number above 0 and below 1"]);
    }
    for value in [json!(0), json!(-10000.0), json!("10000"), json!(1e300), json!(1e-300)] {
        let copy = Copy::of("llama-tied");
        copy.config(|map| {
            map.insert("rope_theta".into(), value.clone());
        });
        copy.refused(&["rope_theta: found", "a number above 0"]);
    }
    for key in ["tie_word_embeddings", "attention_bias", "mlp_bias"] {
        let copy = Copy::of("llama-tied");
        copy.config(|map| {
            map.insert(key.into(), json!("yes"));
        });
        copy.refused(&[key, "true or false is expected"]);
    }
    for (key, value) in
        [("eos_token_id", json!(352)), ("eos_token_id", json!([1, -1])), ("bos_token_id", json!("1")), ("bos_token_id", json!(1u64 << 40))]
    {
        let copy = Copy::of("llama-tied");
        copy.config(|map| {
            map.insert(key.into(), value);
        });
        copy.refused(&[key, "token ids from 0 to 351"]);
    }
}

#[test]
fn absent_values_are_named_together() {
    let copy = Copy::of("llama-tied");
    copy.write("config.json", "{\"model_type\": \"llama\"}");
    let message = copy.refused(&["7 faults"]);
    for key in
        ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "max_position_embeddings", "rms_norm_eps"]
    {
        assert!(message.contains(&format!("{key}: is missing")), "{message}");
    }
}

#[test]
fn values_in_conflict_are_named() {
    type Case<'a> = (&'a [(&'a str, Value)], &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        (&[("num_key_value_heads", json!(2))], &["num_attention_heads: found 3", "a multiple of num_key_value_heads = 2"]),
        (&[("head_dim", json!(33))], &["head_dim: found 33, an even number"]),
        (&[("head_dim", Value::Null), ("hidden_size", json!(97))], &["hidden_size: found 97, a multiple of num_attention_heads = 3"]),
        (
            &[("hidden_size", json!(1 << 20)), ("intermediate_size", json!(1 << 20)), ("num_hidden_layers", json!(4096))],
            &["the sizes together mean more than"],
        ),
        (
            &[("rope_theta", json!(2.0)), ("rope_parameters", json!({"rope_theta": 3.0, "rope_type": "default"}))],
            &["rope_theta: found 3, but the top level says 2"],
        ),
    ];
    for (changes, parts) in cases {
        let copy = Copy::of("llama-tied");
        copy.config(|map| map.extend(changes.iter().map(|(k, v)| ((*k).to_owned(), v.clone()))));
        copy.refused(parts);
    }
}

#[test]
fn all_that_is_unsupported_is_listed() {
    let copy = Copy::of("llama-tied");
    copy.config(|map| {
        map.extend([
            ("model_type".to_owned(), json!("mixtral")),
            ("architectures".to_owned(), json!(["MixtralForCausalLM"])),
            ("hidden_act".to_owned(), json!("gelu")),
            ("sliding_window".to_owned(), json!(4096)),
            ("num_local_experts".to_owned(), json!(8)),
            ("quantization_config".to_owned(), json!({"quant_method": "gptq"})),
            ("rope_scaling".to_owned(), json!({"type": "dynamic", "factor": 4.0})),
            ("auto_map".to_owned(), json!({"AutoModel": "modeling.Mine"})),
            ("final_logit_softcapping".to_owned(), json!(30.0)),
            ("layer_types".to_owned(), json!(["sliding_attention"])),
        ]);
        map.remove("hidden_size");
    });
    let message = copy.refused(&["10 faults", "model_type = \"mixtral\" is not supported: supported model types are llama"]);
    for key in [
        "architectures",
        "hidden_act",
        "sliding_window",
        "num_local_experts",
        "quantization_config",
        "rope_scaling.type",
        "auto_map",
        "final_logit",
        "layer_types",
    ] {
        assert!(message.contains(key), "{key}: {message}");
    }
}

#[test]
fn options_that_are_off_pass_and_unknown_ones_warn() {
    let copy = Copy::of("llama-tied");
    copy.config(|map| {
        map.extend([
            ("sliding_window".to_owned(), Value::Null),
            ("num_experts".to_owned(), json!(0)),
            ("layer_types".to_owned(), json!(["full_attention", "full_attention"])),
            ("partial_rotary_factor".to_owned(), json!(1.0)),
            ("rope_interleaved".to_owned(), json!(false)),
            ("my_own_note".to_owned(), json!("hello")),
        ]);
    });
    let warnings = copy.import().unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].to_string(), "config.json: key my_own_note is not known and was ignored");
}

#[test]
fn end_tokens_of_both_files_are_merged() {
    let copy = Copy::of("llama-tied");
    copy.config(|map| {
        map.insert("eos_token_id".into(), json!([9, 5]));
    });
    copy.write("generation_config.json", json!({"eos_token_id": [2, 5]}).to_string());
    let summary = copy.import().unwrap().summary;
    assert_eq!((summary.bos, summary.eos.as_slice()), (Some(1), [2, 5, 9].as_slice()));
    copy.write("generation_config.json", json!({"eos_token_id": 1000}).to_string());
    copy.refused(&["generation_config.json: eos_token_id: found 1000"]);
}
