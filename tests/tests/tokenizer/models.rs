//! Tokenizers to test with: the warehouse student's and small ones trained here in the shapes of published models.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use slmc::tokenizer::CompiledTokenizer;
use slmc_runtime_stub::tokenizer::{EncodeError, EncodeOptions, Scratch, Tokenizer, TypedSpecials};
use tempfile::TempDir;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, models::TrainerWrapper};

use crate::corpus;

/// A folder with a tokenizer, the oracle, and the compiled form.
pub struct Model {
    /// For messages.
    pub name: &'static str,
    /// The oracle.
    pub oracle: tokenizers::Tokenizer,
    /// The oracle for which special tokens in a text are text.
    pub plain_oracle: tokenizers::Tokenizer,
    /// What is tested.
    pub compiled: CompiledTokenizer,
    _dir: Option<TempDir>,
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The folder of the shipped example.
pub fn warehouse_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse")
}

/// The shipped example's tokenizer.
pub fn warehouse() -> Model {
    load("warehouse", &warehouse_dir(), None)
}

/// All models, trained once.
pub fn all() -> &'static [Model] {
    static ALL: LazyLock<Vec<Model>> = LazyLock::new(|| vec![warehouse(), gpt2(), llama3(), qwen2(), smollm(), deepseek()]);
    &ALL
}

fn load(name: &'static str, dir: &Path, keep: Option<TempDir>) -> Model {
    let oracle = tokenizers::Tokenizer::from_file(dir.join("tokenizer.json")).expect("oracle loads");
    let compiled = CompiledTokenizer::from_dir(dir).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut plain_oracle = oracle.clone();
    plain_oracle.set_encode_special_tokens(true);
    Model { name, oracle, plain_oracle, compiled, _dir: keep }
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
    let dir = tempfile::tempdir().expect("folder");
    let mut json = serde_json::to_value(&tokenizer).expect("json");
    json["model"]["ignore_merges"] = ignore_merges.into();
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).expect("written");
    let path = dir.path().to_owned();
    load(name, &path, Some(dir))
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

/// Ids by the compiled tokenizer.
pub fn encode(tokenizer: &Tokenizer<'_>, text: &str, typed_specials: TypedSpecials, frame: bool) -> Vec<u32> {
    let need = tokenizer.scratch_len(text.len());
    let (mut words, mut bytes) = (vec![0; need.words], vec![0; need.bytes]);
    let mut out = vec![0; text.len() + 8];
    let options = EncodeOptions { typed_specials, frame };
    let mut scratch = Scratch { words: &mut words, bytes: &mut bytes };
    let count: Result<usize, EncodeError> = tokenizer.encode(text.as_bytes(), options, &mut scratch, &mut out);
    out.truncate(count.expect("encodes"));
    out
}
