//! `slmc inspect` of checkpoints: what sharing saves, and checkpoints that cannot be imported.

use std::fs;

use safetensors::tensor::TensorView;
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};

use crate::run::{arg, repository, slmc};

fn inspected(model: &std::path::Path) -> Value {
    serde_json::from_str(&slmc(&["inspect", arg(model), "--json"]).ok().out).expect("JSON")
}

#[test]
fn a_checkpoint_can_be_inspected() {
    let model = repository("tests/fixtures/llama-tied");
    let out = slmc(&["inspect", arg(&model), "--tensors"]).ok().out;
    for part in ["model.safetensors", "llama, 246432 parameters, 3 layers", "model.embed_tokens.weight is the head too: 132.0 KiB saved"] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    let json = inspected(&model);
    assert!(json["tensors"].as_array().is_some_and(|tensors| tensors.len() > 10));
    assert_eq!(json["sharing"]["bytes"], 352 * 96 * 4);
    assert_eq!(json["model"]["layers"], 3);
}

#[test]
fn shared_blocks_are_told_with_their_bytes() {
    let model = repository("tests/fixtures/mobilellm-shared");
    let json = inspected(&model);
    let block = 4 * (2 * 96 + 2 * 96 * 96 + 2 * 32 * 96 + 3 * 160 * 96);
    assert_eq!(json["sharing"]["blocks"], json!({"weights": 27, "stored": 3, "run": 6, "bytes": 3 * block}));
    assert_eq!(json["sharing"]["tied"], json!({"name": "model.embed_tokens.weight", "bytes": 352 * 96 * 4}));
    assert_eq!(json["sharing"]["bytes"], 3 * block + 352 * 96 * 4);
    assert_eq!((&json["model"]["blocks"], &json["model"]["layers"]), (&json!(3), &json!(6)));
    assert!(slmc(&["inspect", arg(&model)]).ok().out.contains("3 stored blocks run as 6 layers"));
}

#[test]
fn duplicates_are_told_by_name() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/llama-untied");
    fs::copy(model.join("config.json"), dir.path().join("config.json")).expect("copies");
    assert_eq!(inspected(&model)["sharing"], json!({"bytes": 0, "tied": null, "blocks": null, "duplicates": []}));
    assert!(slmc(&["inspect", arg(&model)]).ok().out.contains("no weight is used twice"));
    let bytes = fs::read(model.join("model.safetensors")).expect("fixture");
    let tensors = SafeTensors::deserialize(&bytes).expect("fixture");
    let source = |name: &str| {
        match name {
            "lm_head.weight" => "model.embed_tokens.weight",
            "model.layers.1.mlp.up_proj.weight" | "model.layers.2.mlp.gate_proj.weight" => "model.layers.0.mlp.up_proj.weight",
            other => other,
        }
        .to_owned()
    };
    let views: Vec<(String, TensorView<'_>)> =
        tensors.names().into_iter().map(|name| (name.to_owned(), tensors.tensor(&source(name)).expect("there"))).collect();
    fs::write(dir.path().join("model.safetensors"), serialize(views, None).expect("serializable")).expect("writable");
    let duplicates = json!([
        {"kept": "model.embed_tokens.weight", "dropped": ["lm_head.weight"], "bytes": 352 * 96 * 4},
        {"kept": "model.layers.0.mlp.up_proj.weight",
            "dropped": ["model.layers.1.mlp.up_proj.weight", "model.layers.2.mlp.gate_proj.weight"], "bytes": 2 * 160 * 96 * 4},
    ]);
    let found = inspected(dir.path());
    assert_eq!(found["sharing"]["duplicates"], duplicates);
    assert_eq!(found["sharing"]["bytes"], 352 * 96 * 4 + 2 * 160 * 96 * 4);
    assert!(slmc(&["inspect", arg(dir.path())]).ok().out.contains("lm_head.weight equals model.embed_tokens.weight: 132.0 KiB saved"));
}

#[test]
fn what_cannot_be_imported_can_be_inspected() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/stablelm2");
    fs::copy(model.join("model.safetensors"), dir.path().join("model.safetensors")).expect("copies");
    let config = fs::read_to_string(model.join("config.json")).expect("fixture");
    let parallel = config.replace("\"use_parallel_residual\": false", "\"use_parallel_residual\": true");
    fs::write(dir.path().join("config.json"), parallel).expect("writable");
    let ran = slmc(&["inspect", arg(dir.path())]).ok();
    assert!(ran.out.contains("model.safetensors") && ran.err.contains("use_parallel_residual"), "{}\n{}", ran.out, ran.err);
    let json = inspected(dir.path());
    assert!(json["model"].is_null() && json["sharing"].is_null());
    assert!(json["faults"].as_array().is_some_and(|faults| faults.len() == 1));
}

#[cfg(feature = "naga")]
#[test]
fn a_bundle_says_which_factors_its_context_chose() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/phi3-longrope");
    for (ctx, words) in
        [("33", "longrope uses long_factor: the context of 33 exceeds"), ("32", "longrope uses short_factor: the context of 32 does not")]
    {
        let out = dir.path().join(format!("{ctx}.slm"));
        let args = ["compile", arg(&model), "-o", arg(&out), "--target", "vulkan-generic", "--ctx", ctx];
        assert!(slmc(&args).ok().out.contains(words));
        assert!(slmc(&["inspect", arg(&out)]).ok().out.contains(words));
        let manifest = inspected(&out);
        assert!(manifest["decided_by_context"][0].as_str().is_some_and(|said| said.contains(words)), "{manifest}");
        assert!(fs::read_to_string(out.join("model-card.md")).expect("a card").contains(words));
    }
    let plain = dir.path().join("plain.slm");
    let model = repository("tests/fixtures/phi3");
    slmc(&["compile", arg(&model), "-o", arg(&plain), "--target", "vulkan-generic", "--ctx", "32", "--quiet"]).ok();
    assert!(inspected(&plain).get("decided_by_context").is_none());
}
