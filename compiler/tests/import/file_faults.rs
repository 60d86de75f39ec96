//! Folders that lack files, hold the wrong ones, or whose index disagrees with its shards.

use super::copies::{Copy, fixture};
use serde_json::{Value, json};
use slmc::import::{Checkpoint, ImportOptions, import};
use std::fs;

/// Splits a copy into two shards with an index.
fn sharded() -> Copy {
    let copy = Copy::of("llama-tied");
    let tensors = copy.tensors();
    let (first, second) = tensors.split_at(tensors.len() / 2);
    copy.store("model-00001-of-00002.safetensors", first);
    copy.store("model-00002-of-00002.safetensors", second);
    copy.remove("model.safetensors");
    let mut map = serde_json::Map::new();
    for (shard, part) in [("model-00001-of-00002.safetensors", first), ("model-00002-of-00002.safetensors", second)] {
        for tensor in part {
            map.insert(tensor.name.clone(), Value::from(shard));
        }
    }
    copy.write("model.safetensors.index.json", json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string());
    copy
}

fn index(copy: &Copy, change: impl FnOnce(&mut Value)) {
    let path = copy.path("model.safetensors.index.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn shards_import_as_one_file_does() {
    let whole = import(&fixture("llama-tied"), &ImportOptions { name: Some("m".into()), ..Default::default() }).unwrap();
    let copy = sharded();
    let parts = import(copy.dir(), &ImportOptions { name: Some("m".into()), ..Default::default() }).unwrap();
    assert_eq!(whole.graph, parts.graph);
    assert_eq!(parts.checkpoint.files().len(), 2);
}

#[test]
fn missing_shards_and_foreign_entries_are_named() {
    let copy = sharded();
    copy.remove("model-00002-of-00002.safetensors");
    index(&copy, |value| {
        value["weight_map"]["model.extra"] = "model-00001-of-00002.safetensors".into();
        value["weight_map"]["model.elsewhere"] = "../model-00001-of-00002.safetensors".into();
        value["weight_map"]["model.number"] = 7.into();
        value["weight_map"].as_object_mut().unwrap().remove("model.embed_tokens.weight");
    });
    let message = copy.refused(&[
        "model-00002-of-00002.safetensors is missing",
        "model.extra: model-00001-of-00002.safetensors does not hold it",
        "model.elsewhere: \"../model-00001-of-00002.safetensors\" is no safetensors file in this folder",
        "model.number: 7 is no safetensors file",
        "model.embed_tokens.weight: model-00001-of-00002.safetensors holds it, the index does not list it",
    ]);
    assert!(!message.contains("is missing: the configuration"), "{message}");
}

#[test]
fn a_tensor_in_two_shards_is_named() {
    let copy = sharded();
    let tensors: Vec<_> = {
        copy.store("model.safetensors", &[]);
        copy.remove("model.safetensors");
        let source = Copy::of("llama-tied");
        source.tensors()
    };
    let half = tensors.len() / 2;
    copy.store("model-00002-of-00002.safetensors", &[&tensors[..1], &tensors[half..]].concat());
    copy.refused(&[&tensors[0].name, "placed in model-00001-of-00002.safetensors, but model-00002-of-00002.safetensors holds it too"]);
}

#[test]
fn a_broken_index_is_named() {
    for (text, part) in [
        ("{", "not valid JSON"),
        ("[]", "a JSON object is expected"),
        ("{}", "has no weight_map"),
        ("{\"weight_map\": 3}", "weight_map is 3"),
        ("{\"weight_map\": {}}", "weight_map is empty"),
    ] {
        let copy = sharded();
        copy.write("model.safetensors.index.json", text);
        copy.refused(&["model.safetensors.index.json", part]);
    }
}

#[test]
fn pickles_are_refused_alone_and_ignored_beside_safetensors() {
    let copy = Copy::of("llama-tied");
    copy.write("pytorch_model.bin", "pickle");
    copy.import().unwrap();
    copy.remove("model.safetensors");
    copy.write("old.pth", "pickle");
    copy.refused(&["old.pth, pytorch_model.bin", "runs whatever code", "save_pretrained", "safe_serialization=True"]);
}

#[test]
fn folders_without_their_files_are_named() {
    let copy = Copy::of("llama-tied");
    copy.remove("config.json");
    copy.refused(&["config.json is missing"]);
    copy.remove("model.safetensors");
    copy.refused(&["2 faults", "config.json is missing", "model.safetensors is missing"]);
    copy.write("adapter_config.json", "{}");
    copy.write("adapter_model.safetensors", "");
    copy.refused(&["merge_and_unload", "adapter_model.safetensors"]);
}

#[test]
fn paths_that_are_no_folder_are_named() {
    let absent = fixture("no-such-folder");
    assert!(Checkpoint::open(&absent).unwrap_err().to_string().contains("no-such-folder: cannot be read"));
    let file = fixture("llama-tied").join("model.safetensors");
    let message = import(&file, &ImportOptions::default()).unwrap_err().to_string();
    assert!(message.contains("not a folder") && message.contains("1 fault"), "{message}");
}

#[test]
fn weights_that_are_a_folder_are_named() {
    let copy = Copy::of("llama-tied");
    copy.remove("model.safetensors");
    fs::create_dir(copy.path("model.safetensors")).unwrap();
    copy.refused(&["model.safetensors"]);
    copy.remove("config.json");
    fs::create_dir(copy.path("config.json")).unwrap();
    copy.refused(&["config.json", "cannot be read"]);
}

#[test]
fn unreadable_json_is_named_with_its_line() {
    let copy = Copy::of("llama-tied");
    copy.write("config.json", "{\n  \"model_type\": \"llama\",\n  \"rms_norm_eps\": NaN\n}");
    copy.refused(&["config.json: not valid JSON", "line 3", "\"rms_norm_eps\": NaN"]);
    copy.write("config.json", b"{\"a\": \"\xff\"}");
    copy.refused(&["config.json: not valid JSON"]);
    copy.write("config.json", "[".repeat(100_000));
    copy.refused(&["config.json: not valid JSON"]);
    let copy = Copy::of("llama-tied");
    copy.write("generation_config.json", "{");
    copy.refused(&["generation_config.json: not valid JSON"]);
}
