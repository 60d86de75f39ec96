//! Tokenizers to test with: the warehouse student's and small ones trained here in the shapes of published models.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;
use slmc::tokenizer::CompiledTokenizer;
use slmc_runtime_stub::tokenizer::{EncodeError, EncodeOptions, Scratch, Tokenizer, TypedSpecials};
use tempfile::TempDir;

use crate::{byte_models, text_models};

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
    /// Its decoder turns tokens written `<0x41>` into bytes.
    pub byte_tokens: bool,
    /// The folder.
    pub dir: PathBuf,
    _keep: Option<TempDir>,
}

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
    static ALL: LazyLock<Vec<Model>> = LazyLock::new(|| [warehouse()].into_iter().chain(byte_models::all()).chain(text_models::all()).collect());
    &ALL
}

fn load(name: &'static str, dir: &Path, keep: Option<TempDir>) -> Model {
    let oracle = tokenizers::Tokenizer::from_file(dir.join("tokenizer.json")).expect("oracle loads");
    let compiled = CompiledTokenizer::from_dir(dir).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut plain_oracle = oracle.clone();
    plain_oracle.set_encode_special_tokens(true);
    let byte_tokens = oracle.get_decoder().is_some_and(|decoder| format!("{decoder:?}").contains("ByteFallback"));
    Model { name, oracle, plain_oracle, compiled, byte_tokens, dir: dir.to_owned(), _keep: keep }
}

impl Model {
    /// True for the text of a special token.
    pub fn is_special(&self, text: &str) -> bool {
        self.oracle.get_added_vocabulary().is_special_token(text)
    }
}

/// The model of this name.
pub fn named(name: &str) -> &'static Model {
    all().iter().find(|model| model.name == name).unwrap_or_else(|| panic!("no model {name}"))
}

/// The model of a `tokenizer.json`.
pub fn of_json(name: &'static str, json: &Value) -> Model {
    let dir = tempfile::tempdir().expect("folder");
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).expect("written");
    let path = dir.path().to_owned();
    load(name, &path, Some(dir))
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
