//! Reads the pipeline around the model in `tokenizer.json` and collects, by name, everything in it that is not supported.

use serde_json::Value;
use slmc_runtime_stub::tokenizer::format::{decode, space};

use super::pattern::{GPT2, StagePattern};

/// How words become ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// BPE over bytes.
    #[default]
    Bytes,
    /// BPE over characters.
    Chars,
    /// Unigram.
    Unigram,
}

/// The pipeline in the terms of the compiled file.
#[derive(Default)]
pub(super) struct Pipeline {
    /// The model.
    pub kind: Kind,
    /// Text is normalized to NFC.
    pub nfc: bool,
    /// What becomes of spaces, bits of [`space`].
    pub spaces: u32,
    /// What stands for a space.
    pub mark: Option<char>,
    /// What decoding does, bits of [`decode`].
    pub decode: u32,
    /// Tokens written `<0x41>` decode to bytes.
    pub byte_tokens: bool,
    /// The pre-tokenizer's stages, each cutting the pieces of the one before.
    pub stages: Vec<StagePattern>,
    /// Ids of the tokens before a raw prompt.
    pub prefix: Vec<u64>,
    /// Ids of the tokens after a raw prompt.
    pub suffix: Vec<u64>,
    /// Everything unsupported.
    pub unsupported: Vec<String>,
}

impl Pipeline {
    /// Of a parsed `tokenizer.json`.
    pub fn read(tokenizer: &Value) -> Pipeline {
        let mut pipeline = Pipeline::default();
        pipeline.normalizer(&tokenizer["normalizer"]);
        if pipeline.nfc && pipeline.spaces != 0 {
            pipeline.refuse("normalizer NFC together with Prepend or Replace");
        }
        let mut byte_level = false;
        pipeline.pre_tokenizer(&tokenizer["pre_tokenizer"], &mut byte_level);
        pipeline.post_processor(&tokenizer["post_processor"]);
        pipeline.model(&tokenizer["model"], byte_level);
        if pipeline.kind == Kind::Bytes {
            pipeline.byte_decoder(&tokenizer["decoder"]);
        } else {
            pipeline.decode = decode::TEXT;
            pipeline.text_decoder(&tokenizer["decoder"]);
        }
        if tokenizer["truncation"].is_object() {
            pipeline.refuse("truncation");
        }
        pipeline
    }

    /// Text as the normalizer makes it.
    pub fn normalized(&self, text: &str) -> String {
        if self.nfc {
            return unicode_normalization::UnicodeNormalization::nfc(text).collect();
        }
        let (mark, none) = (self.mark.map(String::from).unwrap_or_default(), String::new());
        let text = if self.spaces & space::NORMALIZE != 0 { text.replace(' ', &mark) } else { text.to_owned() };
        let before = if self.spaces & space::PREPEND != 0 && !text.is_empty() { &mark } else { &none };
        format!("{before}{text}")
    }

    fn refuse(&mut self, item: impl Into<String>) {
        self.unsupported.push(item.into());
    }

    fn normalizer(&mut self, value: &Value) {
        match kind(value) {
            "" => {}
            "NFC" => self.nfc = true,
            "Sequence" => members(value, "normalizers").for_each(|v| self.normalizer(v)),
            "Prepend" => {
                self.set_mark(&value["prepend"], "normalizer Prepend");
                self.spaces |= space::PREPEND;
            }
            "Replace" if value["pattern"]["String"] == " " => {
                self.set_mark(&value["content"], "normalizer Replace");
                self.spaces |= space::NORMALIZE;
            }
            "Replace" => self.refuse(format!("normalizer Replace of {} (of a space only)", value["pattern"])),
            other => self.refuse(format!("normalizer {other}")),
        }
    }

    /// Takes the text that stands for a space; all parts of a pipeline must agree.
    fn set_mark(&mut self, value: &Value, place: &str) {
        let mut chars = value.as_str().unwrap_or_default().chars();
        match (chars.next(), chars.next()) {
            (Some(mark), None) if mark != ' ' && u32::from(mark) < 0x1_0000 && self.mark.is_none_or(|known| known == mark) => self.mark = Some(mark),
            _ => self.refuse(format!("{place} with {value} (one character for a space, everywhere the same)")),
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
                    self.prefix_space();
                }
                if value["use_regex"] != false {
                    self.regex(GPT2);
                }
            }
            "Metaspace" => self.metaspace(value),
            "Split" => self.split(value),
            other => self.refuse(format!("pre_tokenizer {other}")),
        }
    }

    /// A space before every text that does not begin with one: a mark that is a space.
    fn prefix_space(&mut self) {
        if !self.stages.is_empty() || self.spaces != 0 || self.nfc {
            self.refuse("pre_tokenizer ByteLevel with add_prefix_space after a normalizer or another pre_tokenizer");
        }
        self.mark = Some(' ');
        self.spaces |= space::REPLACE | space::ALWAYS;
    }

    fn metaspace(&mut self, value: &Value) {
        if !self.stages.is_empty() || self.spaces != 0 || self.nfc {
            self.refuse("pre_tokenizer Metaspace after a normalizer or another pre_tokenizer");
        }
        self.set_mark(&value["replacement"], "pre_tokenizer Metaspace");
        let scheme = value["prepend_scheme"].as_str().unwrap_or("always");
        self.spaces |= space::REPLACE
            | match scheme {
                _ if value["add_prefix_space"] == false => 0,
                "always" => space::ALWAYS,
                "first" => space::FIRST,
                "never" => 0,
                other => {
                    self.refuse(format!("pre_tokenizer Metaspace with prepend_scheme {other}"));
                    0
                }
            };
        if value["split"] != false
            && let Some(mark) = self.mark
        {
            self.regex(&StagePattern::before_each(mark));
        }
    }

    fn split(&mut self, value: &Value) {
        let behavior = value["behavior"].as_str().unwrap_or("?");
        let text = value["pattern"]["String"].as_str();
        let Some(pattern) = value["pattern"]["Regex"].as_str().map(str::to_owned).or_else(|| text.map(regex_syntax::escape)) else {
            self.refuse("pre_tokenizer Split without a pattern");
            return;
        };
        let single = text.and_then(|text| text.parse::<char>().ok()).filter(|_| value["invert"] != true);
        match (behavior, single) {
            ("Isolated", _) => self.regex(&pattern),
            ("MergedWithPrevious", Some(c)) => self.regex(&StagePattern::behind_each(c)),
            ("MergedWithNext", Some(c)) => self.regex(&StagePattern::before_each(c)),
            ("Removed", _) if value["invert"] == true => {
                self.regex(&pattern);
                if let Some(StagePattern::Regex { whole, .. }) = self.stages.last_mut() {
                    *whole = true;
                }
            }
            _ => {
                let inverted = if value["invert"] == true { ", inverted," } else { "" };
                self.refuse(format!("pre_tokenizer Split at {pattern:?}{inverted} with behavior {behavior}"));
            }
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

    fn byte_decoder(&mut self, value: &Value) {
        match kind(value) {
            "ByteLevel" => {}
            "" => self.refuse("decoder absent (ByteLevel expected)"),
            "Sequence" if members(value, "decoders").count() == 1 => members(value, "decoders").for_each(|v| self.byte_decoder(v)),
            other => self.refuse(format!("decoder {other}")),
        }
    }

    /// `Replace` or `Metaspace`, `ByteFallback`, `Fuse`, `Strip`: each may be absent, none may come before one of those in front of it.
    fn text_decoder(&mut self, value: &Value) {
        let list: Vec<&Value> = if kind(value) == "Sequence" { members(value, "decoders").collect() } else { vec![value] };
        let mut before = 0;
        for part in list {
            let name = kind(part);
            let place = match name {
                "Replace" if part["content"] == " " => {
                    self.set_mark(&part["pattern"]["String"], "decoder Replace");
                    self.decode |= decode::MARKS;
                    1
                }
                "Metaspace" => {
                    self.set_mark(&part["replacement"], "decoder Metaspace");
                    let never = part["prepend_scheme"] == "never" || part["add_prefix_space"] == false;
                    self.decode |= decode::MARKS | if never { 0 } else { decode::FIRST_MARKS };
                    1
                }
                "ByteFallback" => {
                    self.byte_tokens = true;
                    2
                }
                "Fuse" => 3,
                "Strip" if before == 3 && part["content"] == " " && part["start"] == 1 && part["stop"] == 0 => {
                    self.decode |= decode::STRIP;
                    4
                }
                "" => {
                    self.refuse("decoder absent");
                    5
                }
                other => {
                    let what = if matches!(other, "Replace" | "Strip") { format!(" {part}") } else { String::new() };
                    self.refuse(format!("decoder {other}{what}"));
                    before
                }
            };
            if place < before || (place == before && place < 3 && place > 0) {
                self.refuse(format!("decoder {name} in this place of its Sequence"));
            }
            before = place;
        }
    }

    fn model(&mut self, value: &Value, byte_level: bool) {
        let name = match kind(value) {
            "" if value["merges"].is_array() => "BPE",
            "" => "of no type",
            name => name,
        };
        self.kind = match name {
            _ if byte_level => Kind::Bytes,
            "Unigram" => Kind::Unigram,
            _ => Kind::Chars,
        };
        if byte_level && self.mark.is_some_and(|mark| mark != ' ') {
            self.refuse("pre_tokenizer ByteLevel with marks for spaces");
        }
        match name {
            "Unigram" if !byte_level => {
                if value["unk_id"].is_null() {
                    self.refuse("model Unigram without unk_id");
                }
                return;
            }
            "Unigram" => self.refuse("model Unigram with pre_tokenizer ByteLevel"),
            "BPE" => {}
            other => self.refuse(format!("model {other}")),
        }
        if name != "BPE" {
            return;
        }
        if value["dropout"].as_f64().is_some_and(|d| d != 0.0) {
            self.refuse("model BPE with dropout");
        }
        if value["byte_fallback"] == true && byte_level {
            self.refuse("model BPE with byte_fallback behind pre_tokenizer ByteLevel");
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
