//! Reads the pipeline around the model in `tokenizer.json` and collects, by name, everything in it that is not supported.

use serde_json::Value;

use super::pattern::{GPT2, StagePattern};

/// The pipeline in the terms of the compiled file.
#[derive(Default)]
pub(super) struct Pipeline {
    /// Text is normalized to NFC.
    pub nfc: bool,
    /// The pre-tokenizer's stages, each cutting the pieces of the one before.
    pub stages: Vec<StagePattern>,
    /// Names and ids of the tokens before a raw prompt.
    pub prefix: Vec<u64>,
    /// Names and ids of the tokens after a raw prompt.
    pub suffix: Vec<u64>,
    /// Everything unsupported.
    pub unsupported: Vec<String>,
}

impl Pipeline {
    /// Of a parsed `tokenizer.json`.
    pub fn read(tokenizer: &Value) -> Pipeline {
        let mut pipeline = Pipeline::default();
        pipeline.normalizer(&tokenizer["normalizer"]);
        let mut byte_level = false;
        pipeline.pre_tokenizer(&tokenizer["pre_tokenizer"], &mut byte_level);
        if !byte_level {
            pipeline.refuse("pre_tokenizer without ByteLevel");
        }
        pipeline.post_processor(&tokenizer["post_processor"]);
        pipeline.decoder(&tokenizer["decoder"]);
        pipeline.model(&tokenizer["model"]);
        if tokenizer["truncation"].is_object() {
            pipeline.refuse("truncation");
        }
        pipeline
    }

    fn refuse(&mut self, item: impl Into<String>) {
        self.unsupported.push(item.into());
    }

    fn normalizer(&mut self, value: &Value) {
        match kind(value) {
            "" => {}
            "NFC" => self.nfc = true,
            "Sequence" => members(value, "normalizers").for_each(|v| self.normalizer(v)),
            other => self.refuse(format!("normalizer {other}")),
        }
    }

    fn pre_tokenizer(&mut self, value: &Value, byte_level: &mut bool) {
        let name = kind(value);
        if *byte_level && !name.is_empty() {
            self.refuse(format!("pre_tokenizer {name} after ByteLevel"));
        }
        match name {
            "" => {}
            "Sequence" => members(value, "pretokenizers").for_each(|v| self.pre_tokenizer(v, byte_level)),
            "Digits" => self.stages.push(StagePattern::Digits { individual: value["individual_digits"] == true }),
            "ByteLevel" => {
                *byte_level = true;
                if value["add_prefix_space"] == true {
                    self.refuse("pre_tokenizer ByteLevel with add_prefix_space");
                }
                if value["use_regex"] != false {
                    self.regex(GPT2);
                }
            }
            "Split" => {
                let behavior = value["behavior"].as_str().unwrap_or("?");
                if behavior != "Isolated" {
                    self.refuse(format!("pre_tokenizer Split with behavior {behavior}"));
                } else if let Some(pattern) = value["pattern"]["Regex"].as_str() {
                    self.regex(pattern);
                } else if let Some(text) = value["pattern"]["String"].as_str() {
                    self.regex(&regex_syntax::escape(text));
                } else {
                    self.refuse("pre_tokenizer Split without a pattern");
                }
            }
            other => self.refuse(format!("pre_tokenizer {other}")),
        }
    }

    fn regex(&mut self, pattern: &str) {
        match StagePattern::regex(pattern) {
            Ok(stage) => self.stages.push(stage),
            Err(reason) => self.refuse(format!("pre_tokenizer pattern {pattern:?} ({reason})")),
        }
    }

    fn post_processor(&mut self, value: &Value) {
        match kind(value) {
            "" | "ByteLevel" => {}
            "Sequence" => members(value, "processors").for_each(|v| self.post_processor(v)),
            "TemplateProcessing" => self.frame(value),
            other => self.refuse(format!("post_processor {other}")),
        }
    }

    /// The single-sequence template: special tokens, the text, special tokens.
    fn frame(&mut self, value: &Value) {
        let (mut before, mut after, mut texts) = (Vec::new(), Vec::new(), 0);
        for item in members(value, "single") {
            if item["Sequence"].is_object() {
                texts += 1;
                continue;
            }
            let name = item["SpecialToken"]["id"].as_str().unwrap_or("?");
            match value["special_tokens"][name]["ids"].as_array() {
                Some(ids) => if texts == 0 { &mut before } else { &mut after }.extend(ids.iter().filter_map(Value::as_u64)),
                None => self.refuse(format!("post_processor TemplateProcessing with unknown token {name:?}")),
            }
        }
        if texts != 1 {
            self.refuse(format!("post_processor TemplateProcessing with the text {texts} times"));
        }
        self.prefix.splice(0..0, before);
        self.suffix.extend(after);
    }

    fn decoder(&mut self, value: &Value) {
        match kind(value) {
            "ByteLevel" => {}
            "" => self.refuse("decoder absent (ByteLevel expected)"),
            "Sequence" if members(value, "decoders").count() == 1 => members(value, "decoders").for_each(|v| self.decoder(v)),
            other => self.refuse(format!("decoder {other}")),
        }
    }

    fn model(&mut self, value: &Value) {
        let name = match kind(value) {
            "" if value["merges"].is_array() => "BPE",
            "" => "of no type",
            name => name,
        };
        if name != "BPE" {
            self.refuse(format!("model {name}"));
            return;
        }
        if value["dropout"].as_f64().is_some_and(|d| d != 0.0) {
            self.refuse("model BPE with dropout");
        }
        if value["byte_fallback"] == true {
            self.refuse("model BPE with byte_fallback");
        }
        for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if value[affix].as_str().is_some_and(|s| !s.is_empty()) {
                self.refuse(format!("model BPE with {affix}"));
            }
        }
    }
}

fn kind(value: &Value) -> &str {
    value["type"].as_str().unwrap_or(if value.is_object() && value.get("merges").is_none() { "of no type" } else { "" })
}

fn members<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}
