//! What `tokenizer_config.json` and its neighbours say about a tokenizer, and what a compile adds.

use std::path::Path;
use std::str::FromStr;

use serde_json::{Value, json};
use slmc::pipeline::parse_template_value;
use slmc::tokenizer::{ChatSupport, CompiledTokenizer, Date, TokenizerError, TokenizerOptions};
use slmc_runtime_stub::tokenizer::TypedSpecials;

use crate::models::{self, encode};

/// The tokenizer of a model with other files beside it.
fn with(base: &str, files: &[(&str, Value)], options: &TokenizerOptions) -> Result<CompiledTokenizer, TokenizerError> {
    let dir = tempfile::tempdir().expect("folder");
    let copied = dir.path().join("tokenizer.json");
    std::fs::copy(models::named(base).dir.join("tokenizer.json"), copied).expect("copied");
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content.to_string()).expect("written");
    }
    CompiledTokenizer::from_dir_with(dir.path(), options)
}

fn configured(base: &str, config: &Value) -> Result<CompiledTokenizer, TokenizerError> {
    with(base, &[("tokenizer_config.json", config.clone())], &TokenizerOptions::default())
}

/// Ids of a text with what stands around it.
fn framed(tokenizer: &CompiledTokenizer, text: &str) -> Vec<u32> {
    encode(&tokenizer.open().expect("opens"), text, TypedSpecials::Tokens, true)
}

#[test]
fn switches_overrule_the_post_processor_of_classes_that_have_them() {
    let plain = models::named("llama2").oracle.encode("hi", false).expect("encodes").get_ids().to_vec();
    let around = |bos: bool, eos: bool| [if bos { &[1][..] } else { &[] }, plain.as_slice(), if eos { &[2] } else { &[] }].concat();
    let cases = [
        (json!({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false}), (false, false)),
        (json!({"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": true, "add_eos_token": true}), (true, true)),
        (json!({"tokenizer_class": "GemmaTokenizer", "add_eos_token": true}), (true, true)),
        (json!({"tokenizer_class": "GemmaTokenizerFast", "add_bos_token": false, "add_eos_token": true}), (false, true)),
        (json!({"tokenizer_class": "LlamaTokenizer"}), (true, false)),
        (json!({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": false, "add_eos_token": true}), (true, false)),
        (json!({"add_bos_token": false}), (true, false)),
    ];
    for (mut config, (bos, eos)) in cases {
        config["bos_token"] = "<s>".into();
        config["eos_token"] = json!({"content": "</s>", "lstrip": false});
        assert_eq!(framed(&configured("llama2", &config).expect("compiles"), "hi"), around(bos, eos), "{config}");
    }
    let error = configured("llama2", &json!({"tokenizer_class": "LlamaTokenizer", "add_bos_token": true})).expect_err("no token to add");
    assert!(error.to_string().contains("add_bos_token"), "{error}");
}

/// As transformers does it: the flags of `added_tokens_decoder` win, and tokens that only it has are added.
#[test]
fn flags_of_the_configuration_overrule_those_of_the_tokenizer() {
    let size = models::named("phi3").oracle.get_vocab_size(true);
    let decoder = json!({
        "2": {"content": "</s>", "lstrip": false, "rstrip": false, "normalized": false, "single_word": false, "special": true},
        (size.to_string()): {"content": "<fresh>", "lstrip": true, "rstrip": false, "normalized": false, "single_word": false, "special": false},
    });
    let compiled = configured("phi3", &json!({"added_tokens_decoder": decoder})).expect("compiles");
    let mut oracle = models::named("phi3").oracle.clone();
    let tokens =
        [tokenizers::AddedToken::from("</s>", true).normalized(false), tokenizers::AddedToken::from("<fresh>", false).lstrip(true).normalized(false)];
    oracle.add_tokens(tokens).expect("added");
    let tokenizer = compiled.open().expect("opens");
    for text in ["a</s>  b", "a </s>\n<fresh> b", "  <fresh>", "a<|end|>  <fresh>x"] {
        let expected = oracle.encode(text, false).expect("encodes");
        assert_eq!(encode(&tokenizer, text, TypedSpecials::Tokens, false), expected.get_ids(), "{text:?}");
    }
    assert!(tokenizer.is_special(2));
    assert!(
        matches!(configured("phi3", &json!({"added_tokens_decoder": {"x": {}}})), Err(TokenizerError::Json { path, .. }) if path.ends_with("tokenizer_config.json"))
    );
}

/// A file shared with larger models has tokens that this one has no rows for; those it needs stay, so that the mismatch shows.
#[test]
fn added_tokens_beyond_the_embedding_are_left_out_unless_needed() {
    let gemma = models::named("gemma");
    let id = |content: &str| gemma.oracle.token_to_id(content).expect("token");
    let all = gemma.compiled.vocab_size();
    let rows = (0..all).rev().find(|&row| row == id("<h1>")).expect("a row");
    assert_eq!(rows + 1, all, "the token is the last");
    let options = TokenizerOptions { rows: Some(rows), ..TokenizerOptions::default() };
    let compiled = with("gemma", &[], &options).expect("compiles");
    assert_eq!((compiled.vocab_size(), compiled.left_out()), (rows, &["<h1>".to_owned()][..]));
    let found = encode(&compiled.open().expect("opens"), "a<h1>", TypedSpecials::Tokens, false);
    assert!(found.iter().all(|&id| id < rows), "{found:?}");
    let needed = [
        ("tokenizer_config.json", json!({"eos_token": "<h1>"})),
        ("tokenizer_config.json", json!({"chat_template": "{% for m in messages %}{{ m.content }}<h1>{% endfor %}"})),
        ("generation_config.json", json!({"eos_token_id": [1, rows]})),
    ];
    for file in needed {
        let compiled = with("gemma", std::slice::from_ref(&file), &options).expect("compiles");
        assert_eq!((compiled.vocab_size(), compiled.left_out().len()), (all, 0), "{file:?}");
    }
    let fewer = TokenizerOptions { rows: Some(300), ..TokenizerOptions::default() };
    let compiled = with("gemma", &[], &fewer).expect("compiles");
    assert!(compiled.vocab_size() > 300, "tokens of the model stay");
}

/// A special token that matches normalized text only stands in no prompt.
#[test]
fn templates_with_special_tokens_of_normalized_text_have_no_chat() {
    let text = std::fs::read_to_string(models::named("llama2").dir.join("tokenizer.json")).expect("tokenizer");
    let mut json: Value = serde_json::from_str(&text).expect("json");
    for token in json["added_tokens"].as_array_mut().expect("list") {
        token["normalized"] = (token["content"] == "</s>").into();
    }
    let model = models::of_json("llama2-normalized", &json);
    for text in ["</s>", "a </s> b</s>", " </s></s>", "\u{2581}</s>"] {
        let expected = model.oracle.encode(text, true).expect("encodes");
        assert_eq!(framed(&model.compiled, text), expected.get_ids(), "{text:?}");
    }
    let template = "{% for m in messages %}{{ m.content }}</s>{% endfor %}";
    std::fs::write(model.dir.join("tokenizer_config.json"), json!({"chat_template": template}).to_string()).expect("written");
    let compiled = CompiledTokenizer::from_dir(Path::new(&model.dir)).expect("compiles");
    assert!(
        matches!(compiled.chat(), ChatSupport::Unfit { reason } if reason.contains("\"</s>\"") && reason.contains("normalized")),
        "{:?}",
        compiled.chat()
    );
}

#[test]
fn dates_and_template_values_are_read_strictly() {
    assert_eq!(Date::from_str("2025-03-07"), Ok(Date { year: 2025, month: 3, day: 7 }));
    assert_eq!(Date { year: 2025, month: 3, day: 7 }.to_string(), "2025-03-07");
    for text in ["", "2025-3-7", "2025-13-01", "2025-00-01", "2025-01-32", "2025-01-01-01", "20250101", "+025-01-01"] {
        assert!(Date::from_str(text).is_err(), "{text}");
    }
    assert_eq!(parse_template_value("enable_thinking=false"), Ok(("enable_thinking".to_owned(), json!(false))));
    assert_eq!(parse_template_value("mood=quite calm=1"), Ok(("mood".to_owned(), json!("quite calm=1"))));
    for text in ["x", "=1", "a='b'"] {
        assert!(parse_template_value(text).is_err(), "{text}");
    }
}
