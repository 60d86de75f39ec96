//! Folders that cannot be compiled: every fault is named, at once.

use std::time::Instant;

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

/// That every item is in the message for the warehouse tokenizer after `change`.
fn names(items: &[&str], change: impl FnOnce(&mut Value)) {
    let found = message(change);
    for item in items {
        assert!(found.contains(item), "{item} in {found}");
    }
}

#[test]
fn all_unsupported_items_are_named() {
    let items = [
        "Lowercase",
        "Replace of {\"Regex\":\" {2,}\"}",
        "NFC together with Prepend",
        "pre_tokenizer Metaspace after a normalizer",
        "Metaspace with \"_\"",
        "prepend_scheme last",
        "WhitespaceSplit",
        "RobertaProcessing",
        "dropout",
        "end_of_word_suffix",
        "decoder ByteFallback in this place",
        "decoder Replace in this place",
        "decoder Strip {",
        "decoder WordPiece",
        "truncation",
    ];
    names(&items, |t| {
        let normalizers = [
            json!({"type": "Prepend", "prepend": "x"}),
            json!({"type": "Lowercase"}),
            json!({"type": "NFC"}),
            json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
        ];
        t["normalizer"] = json!({"type": "Sequence", "normalizers": normalizers});
        let metaspace = json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"});
        t["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]});
        t["post_processor"] = json!({"type": "RobertaProcessing"});
        let decoders = [
            json!({"type": "ByteFallback"}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Replace", "pattern": {"String": "x"}, "content": " "}),
            json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}),
            json!({"type": "WordPiece"}),
        ];
        t["decoder"] = json!({"type": "Sequence", "decoders": decoders});
        t["model"]["dropout"] = json!(0.5);
        t["model"]["end_of_word_suffix"] = "</w>".into();
        t["truncation"] = json!({});
    });
    names(&["normalizer Precompiled", "decoder absent", "Unigram without unk_id"], |t| {
        t["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
        t["pre_tokenizer"] = Value::Null;
        t["decoder"] = Value::Null;
        t["model"] = json!({"type": "Unigram", "vocab": [["<unk>", 0.0]]});
    });
    names(&["ByteLevel with marks", "byte_fallback behind", "decoder Metaspace"], |t| {
        t["normalizer"] = json!({"type": "Prepend", "prepend": "x"});
        t["model"]["byte_fallback"] = true.into();
        t["decoder"] = json!({"type": "Metaspace", "replacement": "x"});
    });
    names(&["model WordPiece"], |t| t["model"]["type"] = "WordPiece".into());
    names(&["Unigram with pre_tokenizer ByteLevel"], |t| t["model"] = json!({"type": "Unigram", "vocab": [["<unk>", 0.0]], "unk_id": 0}));
}

/// The message where the warehouse tokenizer splits so first.
fn split_message(split: &Value) -> String {
    message(|t| t["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [split, t["pre_tokenizer"]["pretokenizers"][1]]}))
}

#[test]
fn patterns_that_are_not_regular_are_named() {
    let patterns = [
        (r"\p{L}++a", "before what it may take"),
        (r"(\p{L}++)|a", "inside a group"),
        (r"\p{N}{1,3}+", "counted"),
        (r"(?i)a++|b", "flags"),
        (r"(ab)++c", "more than a character"),
        (r"(?<=a)b", "look"),
        (r"a\b", "anchors"),
        (r"^a", "anchors"),
        (r"\s++$|a", "anchors"),
        (r"a*", "empty"),
        (r"(a", "unclosed"),
        (r"a(?=b)", "look"),
    ];
    for (pattern, why) in patterns {
        let found = split_message(&json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}));
        assert!(found.contains(&format!("{pattern:?}")) && found.contains(why), "{why} in {found}");
    }
    for pattern in [r"(a|b)+a(a|b){13}", r"(a|b)+a(a|b){40}", r"\p{L}{1,60000}", r"((a{999}){999}){999}"] {
        let start = Instant::now();
        let found = split_message(&json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}));
        assert!(found.contains("limit"), "{found}");
        assert!(start.elapsed().as_secs() < 10, "{pattern} took {:?}", start.elapsed());
    }
    let removing = |pattern: &str, invert: bool| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": invert});
    let found = split_message(&removing(r"\p{L}+|\s+", true));
    assert!(found.contains("there is text that it does not match"), "{found}");
    let found = split_message(&removing(r"\s+", false));
    assert!(found.contains("behavior Removed"), "{found}");
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
