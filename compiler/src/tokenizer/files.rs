//! The files of a checkpoint folder that say how text becomes ids.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::added::AddedToken;
use super::error::TokenizerError;

/// What the folder's files say, as found; only the JSON is parsed.
pub(super) struct Folder {
    /// Path of `tokenizer.json`, for messages.
    pub tokenizer_path: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: Value,
    /// Source text of the chat template.
    pub template: Option<String>,
    /// `bos_token`, `eos_token` and so on, by name.
    pub named_tokens: BTreeMap<String, String>,
    /// End-of-answer ids of `generation_config.json`, else of `config.json`; empty when neither says.
    pub eos_ids: Vec<u64>,
    /// `bos_token_id` of the same files.
    pub bos_id: Option<u64>,
    /// Whether BOS and EOS stand around a raw prompt, where `tokenizer_config.json` overrules the post-processor.
    pub frame: Option<Frame>,
    /// `added_tokens_decoder` of `tokenizer_config.json`, whose flags overrule those of `tokenizer.json`.
    pub flagged_tokens: Vec<AddedToken>,
}

/// `add_bos_token` and `add_eos_token`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// BOS before the text.
    pub bos: bool,
    /// EOS after it.
    pub eos: bool,
}

/// The classes whose post-processor is made from `add_bos_token` and `add_eos_token`; all others keep that of `tokenizer.json`.
const FRAMING: [&str; 6] =
    ["LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast"];

/// A token in `tokenizer_config.json`: plain, or with its flags.
#[derive(Deserialize)]
#[serde(untagged)]
enum NamedToken {
    Plain(String),
    Flagged { content: String },
}

impl Folder {
    /// Reads `tokenizer.json` (required) and its companions.
    pub fn read(dir: &Path) -> Result<Folder, TokenizerError> {
        let tokenizer_path = dir.join("tokenizer.json");
        let tokenizer = required(&tokenizer_path)?;
        let config_path = dir.join("tokenizer_config.json");
        let config = optional(&config_path)?.unwrap_or(Value::Null);
        let generation = optional(&dir.join("generation_config.json"))?.unwrap_or(Value::Null);
        let model = optional(&dir.join("config.json"))?.unwrap_or(Value::Null);
        let eos_ids = [&generation, &model].iter().map(|v| ids(&v["eos_token_id"])).find(|ids| !ids.is_empty()).unwrap_or_default();
        let bos_id = [&generation, &model].iter().find_map(|v| v["bos_token_id"].as_u64());
        let template = template(dir, &config)?;
        let flagged_tokens = flagged_tokens(&config).map_err(|source| TokenizerError::Json { path: config_path, source })?;
        Ok(Folder {
            tokenizer_path,
            tokenizer,
            template,
            named_tokens: named_tokens(&config),
            eos_ids,
            bos_id,
            frame: frame(&config),
            flagged_tokens,
        })
    }
}

fn text(path: &Path) -> Result<Option<String>, TokenizerError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TokenizerError::Read { path: path.to_owned(), source }),
    }
}

fn optional(path: &Path) -> Result<Option<Value>, TokenizerError> {
    let parse = |text: String| serde_json::from_str(&text).map_err(|source| TokenizerError::Json { path: path.to_owned(), source });
    text(path)?.map(parse).transpose()
}

fn required(path: &Path) -> Result<Value, TokenizerError> {
    let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
    optional(path)?.ok_or_else(|| TokenizerError::Read { path: path.to_owned(), source: missing() })
}

/// The template of `chat_template.jinja`, else that of the configuration: a text, or a list of named texts with one called `default`.
fn template(dir: &Path, config: &Value) -> Result<Option<String>, TokenizerError> {
    if let Some(text) = text(&dir.join("chat_template.jinja"))? {
        return Ok(Some(text));
    }
    let found = match &config["chat_template"] {
        Value::String(text) => Some(text.as_str()),
        Value::Array(list) => list.iter().find(|t| t["name"] == "default").and_then(|t| t["template"].as_str()),
        _ => None,
    };
    Ok(found.map(str::to_owned))
}

fn named_tokens(config: &Value) -> BTreeMap<String, String> {
    let mut tokens = BTreeMap::new();
    for name in ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] {
        if let Ok(token) = NamedToken::deserialize(&config[name]) {
            let (NamedToken::Plain(content) | NamedToken::Flagged { content }) = token;
            tokens.insert(name.to_owned(), content);
        }
    }
    tokens
}

/// Of the classes that look at the two switches, if one is set.
fn frame(config: &Value) -> Option<Frame> {
    let (bos, eos) = (config["add_bos_token"].as_bool(), config["add_eos_token"].as_bool());
    let class = config["tokenizer_class"].as_str().unwrap_or_default();
    let asked = FRAMING.contains(&class) && (bos.is_some() || eos.is_some());
    asked.then(|| Frame { bos: bos.unwrap_or(true), eos: eos.unwrap_or(false) })
}

fn flagged_tokens(config: &Value) -> Result<Vec<AddedToken>, serde_json::Error> {
    let entries = config["added_tokens_decoder"].as_object().into_iter().flatten();
    let token = |(id, entry): (&String, &Value)| {
        let mut entry = entry.clone();
        if let (Some(fields), Ok(id)) = (entry.as_object_mut(), id.parse::<u32>()) {
            fields.insert("id".to_owned(), id.into());
        }
        AddedToken::deserialize(entry)
    };
    entries.map(token).collect()
}

fn ids(value: &Value) -> Vec<u64> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_u64).collect(),
        other => other.as_u64().into_iter().collect(),
    }
}
