//! Small tokenizers of every supported configuration, to mutate.

use serde_json::{Map, Value, json};

/// As the files would be.
pub(super) fn all() -> Vec<Vec<u8>> {
    let made = [
        over_chars(Some("prepend"), Value::Null, true),
        over_chars(Some("replace"), split(), false),
        over_chars(None, json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}), true),
        over_chars(None, json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}), false),
        unigram(),
        over_bytes(),
    ];
    let example = super::tokenizer::example("tokenizer.json");
    [example].into_iter().chain(made.iter().map(|json| json.to_string().into_bytes())).collect()
}

fn split() -> Value {
    json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false})
}

fn special(id: usize, content: &str, strips: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": strips, "normalized": false, "special": true})
}

fn frame() -> Value {
    let bos = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let known = json!({"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}});
    json!({"type": "TemplateProcessing", "single": [bos, text], "pair": [], "special_tokens": known})
}

fn decoder(strip: bool) -> Value {
    let mut list =
        vec![json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    list.extend(strip.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0})));
    json!({"type": "Sequence", "decoders": list})
}

/// Texts of a model over characters, byte tokens last.
fn texts() -> impl Iterator<Item = String> {
    let plain = ["<unk>", "<s>", "</s>", "▁", "a", "b", "D", "o", "n", "'", "t", "1", "2", "▁a", "on", "Don", "▁▁", "12", "'t"];
    plain.into_iter().map(str::to_owned).chain((0..256).map(|byte| format!("<0x{byte:02X}>")))
}

fn over_chars(normalizer: Option<&str>, pre_tokenizer: Value, strip: bool) -> Value {
    let vocabulary: Map<String, Value> = texts().zip(0..).map(|(text, id): (String, u32)| (text, id.into())).collect();
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let normalizer = match normalizer {
        Some("prepend") => json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}),
        Some(_) => replace,
        None => Value::Null,
    };
    let merges = json!([["▁", "a"], ["o", "n"], ["D", "on"], ["▁", "▁"], ["1", "2"], ["'", "t"]]);
    let model = json!({
        "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": vocabulary, "merges": merges,
    });
    json!({
        "added_tokens": [special(0, "<unk>", false), special(1, "<s>", false), special(2, "</s>", true), special(275, "<|end|>", true)],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": frame(), "decoder": decoder(strip), "model": model,
    })
}

fn unigram() -> Value {
    let scored = |(text, i): (String, u32)| json!([text, -f64::from(i % 17)]);
    let pieces: Vec<Value> = texts().zip(0..).map(scored).collect();
    json!({
        "added_tokens": [special(0, "<unk>", false), special(1, "<s>", false)],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": frame(),
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": pieces},
    })
}

/// Few bytes have tokens; the pattern is possessive and inverted.
fn over_bytes() -> Value {
    let texts = ["<unk>", "a", "b", "Ġ", "D", "o", "n", "1", "Ġa", "on", "Don"];
    let vocabulary: Map<String, Value> = texts.iter().zip(0u32..).map(|(text, id)| ((*text).to_owned(), id.into())).collect();
    let pattern = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s";
    json!({
        "added_tokens": [special(11, "<|end|>", false)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]},
        "post_processor": null,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "unk_token": "<unk>", "vocab": vocabulary, "merges": ["Ġ a", "o n", "D on"]},
    })
}
