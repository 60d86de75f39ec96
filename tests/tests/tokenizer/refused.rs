//! Folders that cannot be compiled: every fault is named, at once.

use serde_json::{Value, json};
use slmc::tokenizer::{CompiledTokenizer, TokenizerError};

use crate::models::warehouse_dir;

/// The message for the warehouse tokenizer after `change`.
fn message(change: impl FnOnce(&mut Value)) -> String {
    let text = std::fs::read_to_string(warehouse_dir().join("tokenizer.json")).expect("tokenizer");
    let mut tokenizer: Value = serde_json::from_str(&text).expect("json");
    change(&mut tokenizer);
    let dir = tempfile::tempdir().expect("folder");
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).expect("written");
    CompiledTokenizer::from_dir(dir.path()).expect_err("refused").to_string()
}

#[test]
fn all_unsupported_items_are_named() {
    let found = message(|t| {
        t["normalizer"] = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "x"}, {"type": "Lowercase"}]});
        t["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "_"});
        t["post_processor"] = json!({"type": "RobertaProcessing"});
        t["decoder"] = json!({"type": "Metaspace"});
        t["model"]["byte_fallback"] = true.into();
        t["model"]["dropout"] = json!(0.5);
        t["model"]["end_of_word_suffix"] = "</w>".into();
    });
    let items = [
        "Prepend",
        "Lowercase",
        "pre_tokenizer Metaspace",
        "without ByteLevel",
        "RobertaProcessing",
        "decoder Metaspace",
        "byte_fallback",
        "dropout",
        "end_of_word_suffix",
    ];
    for item in items {
        assert!(found.contains(item), "{item} in {found}");
    }
}

#[test]
fn patterns_that_are_not_regular_are_named() {
    for pattern in [r"\p{L}++", r"(?<=a)b", r"a\b", r"^a", r"a*", r"(a", r"a(?=b)"] {
        let found = message(|t| {
            let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
            t["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [split, t["pre_tokenizer"]["pretokenizers"][1]]});
        });
        assert!(found.contains(&format!("{pattern:?}")), "{found}");
    }
    let found = message(|t| t["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true.into());
    assert!(found.contains("add_prefix_space"), "{found}");
}

#[test]
fn contradictions_are_listed() {
    let found = message(|t| {
        t["model"]["merges"].as_array_mut().expect("list").push(json!(["zz", "qq"]));
        t["model"]["vocab"]["new"] = 7.into();
        t["added_tokens"][3]["id"] = 900.into();
        t["added_tokens"].as_array_mut().expect("list").push(json!({"id": 1, "content": "<x>"}));
    });
    for item in ["merge 762", "same id 7", "\"<|system|>\" has id 900, the model gives it 3", "same id 1"] {
        assert!(found.contains(item), "{item} in {found}");
    }
    let found = message(|t| t["model"]["vocab"]["huge"] = 4_000_000_000u32.into());
    assert!(found.contains("3999999999") || found.contains("4000000000"), "{found}");
}

#[test]
fn unreadable_files_are_named() {
    let dir = tempfile::tempdir().expect("folder");
    let error = CompiledTokenizer::from_dir(dir.path()).expect_err("refused");
    assert!(matches!(&error, TokenizerError::Read { path, .. } if path.ends_with("tokenizer.json")), "{error}");
    std::fs::write(dir.path().join("tokenizer.json"), "{").expect("written");
    assert!(matches!(CompiledTokenizer::from_dir(dir.path()), Err(TokenizerError::Json { .. })));
    for text in ["[]", "null", "{}", "{\"model\": 3}", "{\"model\": {\"type\": \"BPE\", \"vocab\": [], \"merges\": []}}"] {
        std::fs::write(dir.path().join("tokenizer.json"), text).expect("written");
        assert!(CompiledTokenizer::from_dir(dir.path()).is_err(), "{text}");
    }
}
