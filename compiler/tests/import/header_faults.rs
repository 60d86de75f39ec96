//! Safetensors files that are cut, overlong, overlapping or lie about themselves.

use super::copies::{Copy, find, frame};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};

/// Rewrites the header of a copy of `llama-tied`, leaving the data.
fn header(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Copy {
    let copy = Copy::of("llama-tied");
    let path = copy.path("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let mut length = [0; 8];
    length.copy_from_slice(&bytes[..8]);
    let data = 8 + u64::from_le_bytes(length) as usize;
    let mut map = serde_json::from_slice(&bytes[8..data]).unwrap();
    change(&mut map);
    fs::write(path, frame(&Value::Object(map).to_string(), &bytes[data..])).unwrap();
    copy
}

#[test]
fn truncated_files_are_named_at_every_length() {
    let copy = Copy::of("llama-tied");
    let path = copy.path("model.safetensors");
    let full = fs::metadata(&path).unwrap().len();
    for len in [0, 7, 8, 100, 3000, full / 2, full - 1] {
        copy.write("model.safetensors", &fs::read(Copy::of("llama-tied").path("model.safetensors")).unwrap()[..len as usize]);
        copy.refused(&["model.safetensors: truncated"]);
    }
    let message = copy.refused(&["1 fault", "1 bytes are missing", "download it again"]);
    assert!(message.contains("1 tensors reach beyond"), "{message}");
}

#[test]
fn oversized_headers_are_refused_unread() {
    let copy = Copy::of("llama-tied");
    for claimed in [1u64 << 60, u64::MAX, 200_000_000] {
        let file = OpenOptions::new().write(true).open(copy.path("model.safetensors")).unwrap();
        file.set_len(300_000_000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &claimed.to_le_bytes(), 0).unwrap();
        copy.refused(&["model.safetensors", &claimed.to_string(), "safetensors allows"]);
    }
}

#[test]
fn surplus_bytes_gaps_and_overlaps_are_named() {
    let copy = Copy::of("llama-tied");
    let mut bytes = fs::read(copy.path("model.safetensors")).unwrap();
    bytes.extend([0; 12]);
    copy.write("model.safetensors", bytes);
    copy.refused(&["12 bytes at its end belong to no tensor"]);

    let copy = header(|map| {
        map["model.norm.weight"]["data_offsets"] = json!([0, 384]);
    });
    copy.refused(&["model.embed_tokens.weight: starts at byte 0 and overlaps model.norm.weight"]);

    let copy = header(|map| {
        map.remove("model.layers.0.input_layernorm.weight");
    });
    copy.refused(&["leaves a gap after model.embed_tokens.weight"]);
}

#[test]
fn every_broken_entry_is_named() {
    let copy = header(|map| {
        map["model.embed_tokens.weight"]["shape"] = json!([352, 97]);
        map["model.norm.weight"]["data_offsets"] = json!([384, 0]);
        map["model.layers.0.mlp.up_proj.weight"]["shape"] = json!([1u64 << 63, 1u64 << 63]);
        map["model.layers.0.mlp.down_proj.weight"]["shape"] = json!([-1, 4]);
        map["model.layers.0.mlp.gate_proj.weight"]["dtype"] = json!("F7");
        map["model.layers.1.mlp.up_proj.weight"] = json!(3);
        map["model.layers.1.mlp.gate_proj.weight"]["data_offsets"] = json!([1.5, 2]);
        map.insert("zero".into(), json!({"dtype": "F32", "shape": [0, u64::MAX], "data_offsets": [0, 8]}));
    });
    copy.refused(&[
        "8 faults",
        "model.embed_tokens.weight: data_offsets",
        "needs 136576",
        "model.norm.weight: data_offsets [384, 0] run backwards",
        "model.layers.0.mlp.up_proj.weight: shape [9223372036854775808, 9223372036854775808] overflows",
        "model.layers.0.mlp.down_proj.weight: shape [-1,4] is no list of sizes",
        "model.layers.0.mlp.gate_proj.weight: \"F7\" is no safetensors dtype",
        "model.layers.1.mlp.up_proj.weight: its header entry 3 has no dtype",
        "model.layers.1.mlp.gate_proj.weight: data_offsets [1.5,2]",
        "tensor zero: data_offsets [0, 8] hold 8 bytes",
    ]);
}

#[test]
fn headers_that_are_no_tables_are_named() {
    for (text, part) in [
        ("", "the header is not valid"),
        ("[]", "a JSON object of tensors"),
        ("{\"a\":", "the header is not valid"),
        ("\u{7f}ELF", "the header is not valid"),
    ] {
        let copy = Copy::of("llama-tied");
        copy.write("model.safetensors", frame(text, &[]));
        copy.refused(&["model.safetensors", part]);
    }
    let copy = Copy::of("llama-tied");
    copy.write(
        "model.safetensors",
        frame(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, &[0; 8]),
    );
    copy.refused(&["tensor a: listed twice"]);
}

#[test]
fn dtypes_that_are_no_weights_are_named() {
    let copy = Copy::of("llama-tied");
    copy.edit(|tensors| {
        let wide = find(tensors, "model.norm.weight");
        wide.dtype = "F64".into();
        wide.bytes.resize(wide.bytes.len() * 2, 0);
        let whole = find(tensors, "model.layers.1.mlp.up_proj.weight");
        whole.dtype = "I32".into();
        let small = find(tensors, "model.layers.2.mlp.up_proj.weight");
        small.dtype = "I8".into();
        small.bytes.truncate(small.bytes.len() / 4);
    });
    copy.refused(&[
        "3 faults",
        "tensor model.norm.weight is stored as F64",
        "tensor model.layers.1.mlp.up_proj.weight is stored as I32",
        "tensor model.layers.2.mlp.up_proj.weight is stored as I8; only F32, F16 and BF16",
    ]);
}
