//! What is read from the configuration of every decoder: `config.json` of either generation, and the end tokens of
//! `generation_config.json`.
//!
//! Values are believed only after each was checked alone and against the others. Limits are far above any real model
//! and low enough that a product of two of them fits in 64 bits; the sum over all tensors is checked by the import.

use super::{
    decoder::Decoder,
    family::{Described, Family},
    fault::{Fault, Warning},
    fields::Fields,
    json_file::brief,
    options, rope, tensors,
};
use serde_json::{Map, Value};

/// File names as they appear in messages.
const CONFIG: &str = super::folder::CONFIG;
const GENERATION: &str = "generation_config.json";

/// Keys that this reader owns.
const READ: &[&str] = &[
    "architectures",
    "auto_map",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "tie_word_embeddings",
    "vocab_size",
];

const MAX_WIDTH: usize = 1 << 20;
const MAX_LAYERS: usize = 1 << 12;
const MAX_HEADS: usize = 1 << 12;
const MAX_HEAD_DIM: usize = 1 << 12;
const MAX_VOCAB: usize = 1 << 24;
const MAX_CONTEXT: usize = 1 << 28;

/// Sizes and token ids of a decoder. All sizes are at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Width of the residual stream, D.
    pub hidden: usize,
    /// Stored decoder layers.
    pub blocks: usize,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements per head, even; not necessarily `hidden / heads`.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub ffn: usize,
    /// Token ids, V.
    pub vocab: usize,
    /// Longest context that the model was made for, in tokens.
    pub ctx_max: usize,
    /// Ids that end an answer, sorted; from both files.
    pub eos: Vec<u32>,
    /// Id that starts a text.
    pub bos: Option<u32>,
}

/// A configuration under reading by a family.
pub struct Config<'a> {
    /// The values of the language model.
    pub fields: Fields<'a>,
    /// The sizes, which were read. Stand-ins where they are faulty, see [`Config::is_sound`].
    pub sizes: Sizes,
    sound: bool,
    nested: bool,
}

impl Config<'_> {
    /// The sizes are those of the file: checks against them make sense.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// The values are those of a part of `config.json`.
    pub fn is_nested(&self) -> bool {
        self.nested
    }

    /// What a norm adds before its root, under `key`.
    pub fn eps(&mut self, key: &str) -> f32 {
        self.fields.number(key, "a number above 0 and below 1", |v| v < 1.0 && v as f32 > 0.0) as f32
    }

    /// The head is the embedding; `default` where the key is absent.
    pub fn tied(&mut self, default: bool) -> bool {
        self.fields.flag("tie_word_embeddings", default)
    }

    /// The activation under `key`, absent or one of `names`.
    pub fn activation(&mut self, key: &str, names: &[&str]) {
        if let Some(act) = self.fields.optional_text(key)
            && !names.contains(&act)
        {
            self.fields.unsupported(key, &Value::String(act.to_owned()), format!("{} is expected", names[0]));
        }
    }

    /// A cap, or `None` where `key` is absent or null.
    pub fn cap(&mut self, key: &str) -> Option<f32> {
        self.fields.optional_number(key, "a number above 0 and at most 1e6, or null", |v| v as f32 > 0.0 && v <= 1e6).map(|v| v as f32)
    }
}

/// Reads the content of `config.json` and, where there is one, `generation_config.json` as a model of `family`.
///
/// # Errors
/// Every value that is absent, of the wrong type, out of range, in conflict with another or not supported.
pub fn describe(family: &Family, config: &Map<String, Value>, generation: Option<&Map<String, Value>>) -> Described {
    let mut faults = Vec::new();
    let mut warnings = Vec::new();
    check_family(family, &mut Fields::new(CONFIG, "", config, &mut faults));
    let nested = nested(family, config, &mut faults);
    let (prefix, text) = match &nested {
        Some((prefix, text)) => (prefix.as_str(), text),
        None => ("", config),
    };
    let read: &[&[&str]] = &[READ, rope::KEYS, family.keys, family.ignored];
    options::check(&mut Fields::new(CONFIG, "", config, &mut faults), read, &mut warnings);
    if nested.is_some() {
        options::check(&mut Fields::new(CONFIG, prefix, text, &mut faults), read, &mut warnings);
    }
    let before = faults.len();
    let sizes = sizes(family, &mut Fields::new(CONFIG, prefix, text, &mut faults));
    let sound = faults.len() == before;
    let mut reading = Config { fields: Fields::new(CONFIG, prefix, text, &mut faults), sizes, sound, nested: nested.is_some() };
    tokens(&mut reading, generation);
    let decoder = (family.describe)(&mut reading);
    if !faults.is_empty() {
        return Err(faults);
    }
    tensors::parameters(&decoder.tensors()).map_err(|fault| vec![fault])?;
    if decoder.sizes.eos.is_empty() {
        warnings.push(Warning { file: CONFIG.to_owned(), detail: "no eos_token_id: answers end at the token limit only".to_owned() });
    }
    Ok((Decoder { family: family.name(), ..decoder }, warnings))
}

/// The configuration of the language model where the family nests it: its prefix, and its values over the defaults.
/// Token ids of the whole model count where it has none.
fn nested(family: &Family, config: &Map<String, Value>, faults: &mut Vec<Fault>) -> Option<(String, Map<String, Value>)> {
    let nested = family.nested.as_ref()?;
    let inner = config.get(nested.key).filter(|v| !v.is_null())?;
    let Value::Object(inner) = inner else {
        Fields::new(CONFIG, "", config, faults).fault(nested.key, format!("found {}, an object is expected", brief(inner)));
        return None;
    };
    let mut text = (nested.defaults)();
    let outer = ["bos_token_id", "eos_token_id", "tie_word_embeddings"];
    text.extend(outer.iter().filter_map(|&key| Some((key.to_owned(), config.get(key)?.clone()))));
    text.extend(inner.clone());
    Some((format!("{}.", nested.key), text))
}

fn sizes(family: &Family, f: &mut Fields<'_>) -> Sizes {
    let before = f.faults().len();
    let hidden = f.size("hidden_size", 1..=MAX_WIDTH);
    let blocks = f.size("num_hidden_layers", 1..=MAX_LAYERS);
    let heads = f.size("num_attention_heads", 1..=MAX_HEADS);
    let kv_heads = f.optional_size("num_key_value_heads", 1..=MAX_HEADS);
    let head_dim = f.optional_size("head_dim", 2..=MAX_HEAD_DIM);
    let ffn = f.size("intermediate_size", 1..=MAX_WIDTH);
    let vocab = f.size("vocab_size", 1..=MAX_VOCAB);
    let ctx_max = f.size("max_position_embeddings", 1..=MAX_CONTEXT);
    let sound = f.faults().len() == before;
    let kv_heads = kv_heads.unwrap_or(heads);
    if sound && !heads.is_multiple_of(kv_heads) {
        f.fault("num_attention_heads", format!("found {heads}, a multiple of num_key_value_heads = {kv_heads} is expected"));
    }
    let head_dim = head_dim.or(family.head_dim).unwrap_or_else(|| {
        if sound && !hidden.is_multiple_of(heads) {
            f.fault("hidden_size", format!("found {hidden}, a multiple of num_attention_heads = {heads} is expected where head_dim is not given"));
        }
        (hidden / heads).max(1)
    });
    if sound && !head_dim.is_multiple_of(2) {
        f.fault("head_dim", format!("found {head_dim}, an even number is expected: rotation pairs the halves of a head"));
    }
    if sound && head_dim > MAX_HEAD_DIM {
        f.fault("head_dim", format!("hidden_size / num_attention_heads is {head_dim}, at most {MAX_HEAD_DIM} is expected"));
    }
    Sizes { hidden, blocks, heads, kv_heads, head_dim, ffn, vocab, ctx_max, eos: Vec::new(), bos: None }
}

fn tokens(config: &mut Config<'_>, generation: Option<&Map<String, Value>>) {
    // Without a sound vocab_size every id would look wrong.
    let limit = if config.sound { config.sizes.vocab } else { MAX_VOCAB };
    let bos = config.fields.token_ids("bos_token_id", limit, &[1]).first().copied();
    let mut eos = config.fields.token_ids("eos_token_id", limit, &[2]);
    if let Some(generation) = generation {
        eos.extend(Fields::new(GENERATION, "", generation, config.fields.faults()).token_ids("eos_token_id", limit, &[]));
    }
    eos.sort_unstable();
    eos.dedup();
    config.sizes.bos = bos;
    config.sizes.eos = eos;
}

/// Architecture, model type, and code that comes with the checkpoint.
fn check_family(family: &Family, fields: &mut Fields<'_>) {
    match fields.optional_text("model_type") {
        Some(name) if family.model_types.contains(&name) => {}
        Some(other) => {
            fields.unsupported("model_type", &Value::String(other.to_owned()), format!("supported model types are {}", super::supported()))
        }
        None if fields.value("model_type").is_none() => {
            fields.fault("model_type", format!("is missing; supported model types are {}", super::supported()));
        }
        None => {}
    }
    match fields.value("architectures") {
        None => {}
        Some(Value::Array(list)) if list.iter().all(|v| v.as_str().is_some_and(|name| family.classes.contains(&name))) => {}
        Some(found @ Value::Array(list)) if list.iter().all(Value::is_string) => {
            fields.unsupported("architectures", found, format!("{} alone is expected", family.classes.join(" or ")));
        }
        Some(other) => fields.fault("architectures", format!("found {}, a list of names is expected", brief(other))),
    }
    if let Some(found) = fields.value("auto_map")
        && !options::is_absent(found)
        && !found.as_object().is_some_and(|map| map.values().all(|v| is_code_of(family, v)))
    {
        fields.unsupported("auto_map", found, "the checkpoint brings its own Python code, which may compute anything");
    }
}

/// A value of `auto_map`: `FILE.CLASS` of the family, or a list of such (tokenizers have two, and null).
fn is_code_of(family: &Family, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(path) => path.rsplit_once('.').is_some_and(|(_, class)| family.code.contains(&class)),
        Value::Array(list) => list.iter().all(|v| is_code_of(family, v)),
        _ => false,
    }
}
