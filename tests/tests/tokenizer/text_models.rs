//! BPE over characters and Unigram, in the shapes of published SentencePiece conversions.

use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};

use crate::corpus;
use crate::models::{Model, of_json};

/// All of them.
pub fn all() -> [Model; 10] {
    [
        llama2(),
        phi3(),
        gemma(),
        gemma_split(),
        first(),
        split_always(),
        unknown("unknown", false),
        unknown("unknown-fused", true),
        unigram(),
        unigram_bytes(),
    ]
}

/// Merges learned from words with a mark in front, over the 70 most frequent characters, with the three usual tokens first.
fn bpe() -> Value {
    let mut tokenizer = tokenizers::Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(Metaspace::new('▁', PrependScheme::Always, true)));
    let trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(700)
        .min_frequency(2)
        .limit_alphabet(70)
        .special_tokens(["<unk>", "<s>", "</s>"].map(|t| tokenizers::AddedToken::from(t, true)).to_vec())
        .build();
    tokenizer.train(&mut TrainerWrapper::from(trainer), corpus::training().into_iter()).expect("training");
    let mut json = serde_json::to_value(&tokenizer).expect("json");
    json["pre_tokenizer"] = Value::Null;
    json["model"]["unk_token"] = "<unk>".into();
    json["model"]["fuse_unk"] = true.into();
    json
}

/// The same with tokens for all bytes.
fn bpe_with_bytes() -> Value {
    let mut json = bpe();
    json["model"]["byte_fallback"] = true.into();
    let vocabulary = json["model"]["vocab"].as_object_mut().expect("vocabulary");
    // Runs of marks are tokens of all these models.
    for text in (0..=255).map(|byte| format!("<0x{byte:02X}>")).chain(["▁▁".to_owned(), "▁▁▁▁".to_owned()]) {
        let id = vocabulary.len();
        vocabulary.insert(text, id.into());
    }
    let merges = json["model"]["merges"].as_array_mut().expect("merges");
    merges.push(json!(["▁", "▁"]));
    merges.push(json!(["▁▁", "▁▁"]));
    json
}

fn add(json: &mut Value, content: &str, flags: &[&str]) {
    let known = json["model"]["vocab"].get(content).and_then(Value::as_u64);
    let tokens = json["added_tokens"].as_array_mut().expect("added tokens");
    let last = tokens.iter().filter_map(|t| t["id"].as_u64()).max();
    let id = known.or_else(|| last.filter(|&id| id >= 900).map(|id| id + 1)).unwrap_or(1000);
    tokens.retain(|t| t["content"] != content);
    let mut token = json!({"id": id, "content": content});
    for flag in ["single_word", "lstrip", "rstrip", "normalized", "special"] {
        token[flag] = flags.contains(&flag).into();
    }
    tokens.push(token);
}

/// Ids from `start` on for the added tokens that the model does not have: as the crate would give them.
fn close_gaps(json: &mut Value) {
    let mut next = json["model"]["vocab"].as_object().map_or_else(|| json["model"]["vocab"].as_array().map_or(0, Vec::len), |map| map.len());
    let known: Vec<String> = json["model"]["vocab"].as_object().map_or_else(Vec::new, |map| map.keys().cloned().collect());
    for token in json["added_tokens"].as_array_mut().expect("added tokens") {
        if !known.iter().any(|text| token["content"] == *text) && token["id"].as_u64().is_some_and(|id| id >= 900) {
            token["id"] = next.into();
            next += 1;
        }
    }
}

fn replace() -> Value {
    json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
}

fn decoders(strip: bool) -> Value {
    let mut list =
        vec![json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    list.extend(strip.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0})));
    json!({"type": "Sequence", "decoders": list})
}

fn frame(before: &[(&str, u64)], after: &[(&str, u64)]) -> Value {
    let special = |(name, _): &(&str, u64)| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = |id: &str, type_id: u64| json!({"Sequence": {"id": id, "type_id": type_id}});
    let with = |texts: Vec<Value>| before.iter().map(special).chain(texts).chain(after.iter().map(special)).collect::<Vec<_>>();
    let known = before.iter().chain(after).map(|(name, id)| ((*name).to_owned(), json!({"id": name, "ids": [id], "tokens": [name]})));
    json!({
        "type": "TemplateProcessing",
        "single": with(vec![text("A", 0)]),
        "pair": with(vec![text("A", 0), text("B", 1)]),
        "special_tokens": known.collect::<serde_json::Map<_, _>>(),
    })
}

/// A mark before every text, marks for spaces, no split.
fn llama2() -> Model {
    let mut json = bpe_with_bytes();
    json["normalizer"] = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace()]});
    json["decoder"] = decoders(true);
    json["post_processor"] = frame(&[("<s>", 1)], &[]);
    add(&mut json, "Norm", &["normalized"]);
    add(&mut json, "two words", &["normalized"]);
    add(&mut json, "word", &["single_word"]);
    add(&mut json, "<mask>", &["lstrip", "special"]);
    add(&mut json, "<sep>", &["rstrip", "special"]);
    close_gaps(&mut json);
    of_json("llama2", &json)
}

/// Special tokens that swallow the white space behind them.
fn phi3() -> Model {
    let mut json = bpe_with_bytes();
    json["normalizer"] = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace()]});
    json["decoder"] = decoders(true);
    json["post_processor"] = frame(&[], &[]);
    add(&mut json, "</s>", &["rstrip"]);
    add(&mut json, "<|endoftext|>", &["special"]);
    for content in ["<|assistant|>", "<|system|>", "<|end|>", "<|user|>"] {
        add(&mut json, content, &["rstrip", "special"]);
    }
    close_gaps(&mut json);
    of_json("phi3", &json)
}

/// Marks for spaces and nothing else; runs of spaces and line ends are tokens.
fn gemma() -> Model {
    of_json("gemma", &gemma_json(Value::Null))
}

/// The same with the split that cuts nothing.
fn gemma_split() -> Model {
    let split = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false});
    of_json("gemma-split", &gemma_json(split))
}

fn gemma_json(split: Value) -> Value {
    let mut json = bpe_with_bytes();
    json["normalizer"] = replace();
    json["pre_tokenizer"] = split;
    json["decoder"] = decoders(false);
    json["post_processor"] = frame(&[("<s>", 1)], &[]);
    for content in ["<start_of_turn>", "<end_of_turn>", "<|end|>"] {
        add(&mut json, content, &["special"]);
    }
    for content in ["\n\n", "▁▁▁", "<unused0>", "<h1>"] {
        add(&mut json, content, &[]);
    }
    close_gaps(&mut json);
    json
}

/// A mark at the start of the text only.
fn first() -> Model {
    let mut json = bpe_with_bytes();
    json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    json["decoder"] = decoders(true);
    json["post_processor"] = frame(&[("<s>", 1)], &[("</s>", 2)]);
    add(&mut json, "word", &["normalized"]);
    add(&mut json, "<sep>", &["rstrip", "lstrip", "special"]);
    close_gaps(&mut json);
    of_json("metaspace-first", &json)
}

/// Words with a mark in front, and every digit alone.
fn split_always() -> Model {
    let mut json = bpe_with_bytes();
    json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Metaspace", "replacement": "▁", "add_prefix_space": true},
        {"type": "Digits", "individual_digits": true},
    ]});
    json["model"]["ignore_merges"] = true.into();
    json["decoder"] =
        json!({"type": "Sequence", "decoders": [{"type": "Metaspace", "replacement": "▁", "add_prefix_space": true}, {"type": "ByteFallback"}]});
    add(&mut json, "Norm", &["normalized"]);
    close_gaps(&mut json);
    of_json("metaspace-always", &json)
}

/// No tokens for bytes but two: other characters are unknown.
fn unknown(name: &'static str, fuse: bool) -> Model {
    let mut json = bpe();
    json["model"]["fuse_unk"] = fuse.into();
    json["model"]["byte_fallback"] = true.into();
    // The bytes of U+017F.
    let vocabulary = json["model"]["vocab"].as_object_mut().expect("vocabulary");
    for text in ["<0xC5>", "<0xBF>"] {
        let id = vocabulary.len();
        vocabulary.insert(text.to_owned(), id.into());
    }
    json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true});
    json["decoder"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": true});
    of_json(name, &json)
}

fn unigram_json() -> Value {
    let mut tokenizer = tokenizers::Tokenizer::new(Unigram::default());
    tokenizer.with_pre_tokenizer(Some(Metaspace::new('▁', PrependScheme::Always, true)));
    let mut trainer = UnigramTrainer::default();
    trainer.show_progress = false;
    trainer.vocab_size = 500;
    trainer.unk_token = Some("<unk>".to_owned());
    trainer.special_tokens = ["<unk>", "<s>", "</s>"].map(|t| tokenizers::AddedToken::from(t, true)).to_vec();
    tokenizer.train(&mut TrainerWrapper::from(trainer), corpus::training().into_iter()).expect("training");
    serde_json::to_value(&tokenizer).expect("json")
}

fn unigram() -> Model {
    let mut json = unigram_json();
    json["decoder"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    json["post_processor"] = frame(&[], &[("</s>", 2)]);
    // Characters that training has not seen stay unknown; a second entry of a text takes its place.
    let pieces = json["model"]["vocab"].as_array_mut().expect("pieces");
    pieces.retain(|piece| !piece[0].as_str().is_some_and(|text| text.contains(['日', 'ü', '😀'])));
    pieces.push(json!(["the", -3.5]));
    pieces.push(json!(["▁the", -20.0]));
    of_json("unigram", &json)
}

fn unigram_bytes() -> Model {
    let mut json = unigram_json();
    json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    json["decoder"] = decoders(true);
    json["model"]["byte_fallback"] = true.into();
    let pieces = json["model"]["vocab"].as_array_mut().expect("pieces");
    pieces.retain(|piece| !piece[0].as_str().is_some_and(|text| text.contains(['日', 'ü', '한'])));
    pieces.extend((0..=255).map(|byte| json!([format!("<0x{byte:02X}>"), 0.0])));
    add(&mut json, "<sep>", &["rstrip", "special"]);
    close_gaps(&mut json);
    of_json("unigram-bytes", &json)
}
