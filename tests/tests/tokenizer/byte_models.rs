//! Byte-level BPE in the shapes of published models.

use tokenizers::AddedToken;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::tokenizer::SplitDelimiterBehavior;

use crate::corpus;
use crate::models::{Model, of_json};

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As GPT-4's, with possessive repetitions.
const POSSESSIVE: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s";

/// As GPT-4o's: words begin with capitals and go on with small letters, marks belong to letters.
const CASED: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// All of them.
pub fn all() -> [Model; 9] {
    [gpt2(), prefix_space(), llama3(), qwen2(), smollm(), deepseek(), stablelm2(), gpt4(), gpt4o()]
}

/// Trains a small byte-level BPE tokenizer behind `pre`, and lets `finish` set the rest.
fn train(name: &'static str, pre: PreTokenizerWrapper, ignore_merges: bool, finish: impl FnOnce(&mut tokenizers::Tokenizer)) -> Model {
    let mut tokenizer = tokenizers::Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(pre));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(900)
        .min_frequency(2)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut trainer = TrainerWrapper::from(trainer);
    tokenizer.train(&mut trainer, corpus::training().into_iter()).expect("training");
    finish(&mut tokenizer);
    let mut json = serde_json::to_value(&tokenizer).expect("json");
    json["model"]["ignore_merges"] = ignore_merges.into();
    of_json(name, &json)
}

fn split(pattern: &str) -> PreTokenizerWrapper {
    Split::new(SplitPattern::Regex(pattern.to_owned()), SplitDelimiterBehavior::Isolated, false).expect("pattern").into()
}

fn sequence(parts: impl IntoIterator<Item = PreTokenizerWrapper>) -> PreTokenizerWrapper {
    Sequence::new(parts.into_iter().collect()).into()
}

fn bytes() -> PreTokenizerWrapper {
    ByteLevel::new(false, true, false).into()
}

fn specials(contents: &[&str]) -> Vec<AddedToken> {
    contents.iter().map(|c| AddedToken::from(*c, true)).collect()
}

fn gpt2() -> Model {
    train("gpt2", ByteLevel::new(false, true, true).into(), false, |t| {
        t.add_special_tokens(specials(&["<|endoftext|>"])).expect("added");
        let odd = [
            AddedToken::from("<mask>", true).lstrip(true),
            AddedToken::from("<sep>", true).rstrip(true),
            AddedToken::from("<both>", true).lstrip(true).rstrip(true),
            AddedToken::from("word", false).single_word(true).normalized(false),
            AddedToken::from("Norm", false).normalized(true),
            AddedToken::from("Norma", false).normalized(true).single_word(true),
            AddedToken::from("<think>", false).normalized(false),
            AddedToken::from("  ", false).normalized(false),
            AddedToken::from("\n<sep>\n", false).normalized(false),
        ];
        t.add_tokens(odd).expect("added");
    })
}

/// A space before every text, as RoBERTa's relatives have it.
fn prefix_space() -> Model {
    train("prefix-space", ByteLevel::new(true, true, true).into(), false, |t| {
        t.add_special_tokens(specials(&["<|endoftext|>"])).expect("added");
        t.add_tokens([AddedToken::from("<sep>", true).rstrip(true), AddedToken::from("Norm", false).normalized(true)]).expect("added");
    })
}

fn llama3() -> Model {
    train("llama3", sequence([split(LLAMA3), bytes()]), true, |t| {
        t.add_special_tokens(specials(&["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]))
            .expect("added");
        let bos = t.token_to_id("<|begin_of_text|>").expect("added");
        let frame = TemplateProcessing::builder()
            .try_single("<|begin_of_text|> $A")
            .and_then(|b| b.try_pair("<|begin_of_text|> $A $B:1"))
            .expect("template")
            .special_tokens(vec![("<|begin_of_text|>", bos)])
            .build()
            .expect("processor");
        t.with_post_processor(Some(frame));
    })
}

fn qwen2() -> Model {
    train("qwen2", sequence([split(QWEN2), bytes()]), false, |t| {
        t.with_normalizer(Some(NFC)).expect("normalizer");
        t.add_special_tokens(specials(&["<|endoftext|>", "<|im_start|>", "<|im_end|>"])).expect("added");
        t.add_tokens([AddedToken::from("cafe\u{301}", false).normalized(true)]).expect("added");
    })
}

fn smollm() -> Model {
    train("smollm", sequence([Digits::new(true).into(), ByteLevel::new(false, true, true).into()]), false, |t| {
        t.add_special_tokens(specials(&["<|im_start|>", "<|im_end|>", "<repo_name>", "<|im_start|>x"])).expect("added");
    })
}

/// Several patterns that leave text unmatched.
fn deepseek() -> Model {
    let patterns = [r"\p{N}{1,3}", r"[一-龥\x{3040}-ゟ゠-ヿ]+", r"[!-/:-~]?[A-Za-z]+|\s?\p{P}+"];
    let digits = PreTokenizerWrapper::from(Digits::new(false));
    let parts = patterns.iter().map(|p| split(p)).chain([digits, bytes()]);
    train("deepseek", sequence(parts), false, |t| {
        t.add_special_tokens(specials(&["<｜begin▁of▁sentence｜>", "<｜User｜>"])).expect("added");
    })
}

/// The pattern as converters of tiktoken files write it: matches are kept, and there is nothing between them.
fn stablelm2() -> Model {
    let kept = Split::new(SplitPattern::Regex(QWEN2.to_owned()), SplitDelimiterBehavior::Removed, true).expect("pattern");
    train("stablelm2", sequence([kept.into(), bytes()]), false, |t| {
        t.add_special_tokens(specials(&["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|reg_extra|>"])).expect("added");
        t.add_tokens([AddedToken::from("<repo_name>", false).normalized(false)]).expect("added");
    })
}

fn gpt4() -> Model {
    train("gpt4", sequence([split(POSSESSIVE), bytes()]), true, |t| {
        t.add_special_tokens(specials(&["<|endoftext|>"])).expect("added");
    })
}

fn gpt4o() -> Model {
    let parts = Split::new(SplitPattern::Regex(CASED.to_owned()), SplitDelimiterBehavior::Removed, true).expect("pattern");
    train("gpt4o", sequence([parts.into(), bytes()]), true, |t| {
        t.add_special_tokens(specials(&["<|endoftext|>", "<|end|>"])).expect("added");
    })
}
