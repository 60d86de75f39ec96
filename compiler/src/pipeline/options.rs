//! What a caller of a compile decides, and how quantization is asked for in words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;
use serde_json::Value;
use slmc_passes::manager::{Options, PassSpec};

use super::CompileError;
use crate::target::TargetSpec;
use crate::tokenizer::Date;

/// Everything that shapes a compile.
#[derive(Debug, Clone)]
pub struct CompileOptions {
    /// The checkpoint's folder.
    pub model: PathBuf,
    /// Where the bundle will stand.
    pub output: PathBuf,
    /// Replace a bundle that stands there.
    pub force: bool,
    /// The device.
    pub target: TargetSpec,
    /// Scheme of the weights, see [`parse_quant`].
    pub quant: String,
    /// `REGEX=FORMAT` for weights that differ from the scheme; the first that matches wins.
    pub keep: Vec<String>,
    /// Format of the KV cache; by default f16, f32 in f32 builds.
    pub kv: Option<String>,
    /// Most tokens in the cache; by default what the model allows, at most 4096.
    pub ctx: Option<usize>,
    /// Most tokens in one step.
    pub chunk: u32,
    /// Name of the code generator; by default the first that this build has.
    pub backend: Option<String>,
    /// The linker; by default the first lld found.
    pub linker: Option<PathBuf>,
    /// Name of the model; by default that of the folder.
    pub name: Option<String>,
    /// Threads of the compile (not of the bundle); by default one a core.
    pub threads: Option<usize>,
    /// The date that the chat template sees where it asks for it.
    pub date: Option<Date>,
    /// Values that the chat template sees by name.
    pub template_values: BTreeMap<String, Value>,
    /// Where to write the IR after each phase.
    pub dump_ir: Option<PathBuf>,
    /// Phase after which to stop without writing a bundle.
    pub stop_after: Option<String>,
}

impl CompileOptions {
    /// A compile with defaults everywhere: `q4g32`, steps of 256 tokens.
    pub fn new(model: PathBuf, output: PathBuf, target: TargetSpec) -> Self {
        Self {
            model,
            output,
            force: false,
            target,
            quant: "q4g32".to_owned(),
            keep: Vec::new(),
            kv: None,
            ctx: None,
            chunk: 256,
            backend: None,
            linker: None,
            name: None,
            threads: None,
            date: None,
            template_values: BTreeMap::new(),
            dump_ir: None,
            stop_after: None,
        }
    }

    /// The options that shape the bundle's bytes, as on the command line and independent of paths.
    pub(super) fn recorded(&self) -> Vec<String> {
        let mut out = vec![format!("--target {}", self.target.text), format!("--quant {}", self.quant), format!("--chunk {}", self.chunk)];
        out.extend(self.keep.iter().map(|keep| format!("--keep '{keep}'")));
        out.extend(self.kv.iter().map(|kv| format!("--kv {kv}")));
        out.extend(self.ctx.iter().map(|ctx| format!("--ctx {ctx}")));
        out.extend(self.date.iter().map(|date| format!("--date {date}")));
        out.extend(self.template_values.iter().map(|(name, value)| format!("--template-value '{name}={value}'")));
        out
    }
}

/// Schemes by name: the format of the layers' matrices. `q4g*` bodies go with `q6g32` for embedding and head.
const SCHEMES: &[(&str, &str)] = &[
    ("q4g32", "q4g32"),
    ("q4g64", "q4g64"),
    ("q4g128", "q4g128"),
    ("q6g32", "q6g32"),
    ("q8g32", "q8g32"),
    ("f16", "f16"),
    ("f32", "f32"),
    ("q4", "q4g32"),
    ("q6", "q6g32"),
    ("q8", "q8g32"),
];

/// The body format of a scheme: `q4g32`, `q4g64`, `q4g128`, `q6g32`, `q8g32`, `f16`, `f32`, or `q4`, `q6`, `q8` for short.
///
/// # Errors
/// Names the schemes there are.
pub fn parse_quant(name: &str) -> Result<&'static str, CompileError> {
    SCHEMES
        .iter()
        .find(|(scheme, _)| *scheme == name)
        .map(|(_, body)| *body)
        .ok_or_else(|| CompileError::Quant { name: name.to_owned(), known: SCHEMES.iter().map(|(scheme, _)| *scheme).collect::<Vec<_>>().join(", ") })
}

/// A value for the chat template: `NAME=JSON`, or `NAME=TEXT` where that is no JSON.
///
/// # Errors
/// When there is no name, or a single quote, which the recorded command line could not hold.
pub fn parse_template_value(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=VALUE, for example enable_thinking=false")?;
    if text.contains('\'') {
        return Err("a template value cannot hold a single quote".to_owned());
    }
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
}

/// The quantize pass with the options that `--quant`, `--keep` and `--kv` mean.
///
/// # Errors
/// An unknown scheme, a `--keep` without `=`, a pattern that is no regular expression.
pub fn quantize_spec(options: &CompileOptions) -> Result<PassSpec, CompileError> {
    let mut pass = Options::new().with("body", parse_quant(&options.quant)?);
    for keep in &options.keep {
        let bad = |detail: String| CompileError::Keep { text: keep.clone(), detail };
        let (pattern, _format) = keep.rsplit_once('=').ok_or_else(|| bad("expected REGEX=FORMAT".to_owned()))?;
        Regex::new(pattern).map_err(|e| bad(e.to_string()))?;
        if keep.contains('\'') {
            return Err(bad("a pattern cannot hold a single quote".to_owned()));
        }
        pass = pass.with("keep", keep);
    }
    if let Some(kv) = &options.kv {
        pass = pass.with("kv", if kv == "q8" { "q8g32" } else { kv });
    }
    Ok(PassSpec::new("quantize", pass))
}

/// Whether a regular expression matches somewhere in a name.
pub fn name_matches(pattern: &str, name: &str) -> Result<bool, String> {
    Regex::new(pattern).map(|regex| regex.is_match(name)).map_err(|e| e.to_string())
}
