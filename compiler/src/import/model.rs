//! The import as a whole: folder, configuration, tensor table, scan, graph, in this order.
//!
//! Cheap checks come first and report together; the scan, which reads all weights once, runs only on a checkpoint that
//! passed them.

use super::{
    FAMILIES,
    checkpoint::Checkpoint,
    config,
    decoder::Decoder,
    family::{Described, ModelSummary},
    fault::{Fault, ImportError, Warning},
    folder::CONFIG,
    json_file::read_object,
    scan::TensorDigest,
    tensors,
    weights::Weights,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use slmc_ir::graph::{Bounds, Graph};
use std::path::Path;

const GENERATION: &str = "generation_config.json";
/// Context where none is asked for, if the model allows as much.
const DEFAULT_CONTEXT: usize = 4096;

/// What a caller decides about an import.
pub struct ImportOptions<'a> {
    /// Name of the graph; made from the folder's name where not given. Characters outside `[A-Za-z0-9_]` become `_`.
    pub name: Option<String>,
    /// Tokens of context; where not given, what the model allows, but at most 4096.
    pub ctx: Option<usize>,
    /// Most tokens in one step; cut to the context. At least 1.
    pub chunk: u32,
    /// Called from several threads with the bytes of weights scanned since its last call.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Default for ImportOptions<'_> {
    fn default() -> Self {
        Self { name: None, ctx: None, chunk: 512, progress: &|_| {} }
    }
}

/// A checkpoint that passed every check, as a graph.
#[derive(Debug)]
pub struct Imported {
    /// The model; its weights are typed as stored and carry content hashes, its KV cache is f32.
    pub graph: Graph,
    /// Where the weights are read from.
    pub checkpoint: Checkpoint,
    /// Facts of the model.
    pub summary: ModelSummary,
    /// What the length of the context decided, in words.
    pub decided: Vec<String>,
    /// What was odd but no fault.
    pub warnings: Vec<Warning>,
    /// SHA-256 over `config.json` and the name and content hash of every tensor: says which checkpoint it was.
    pub source_digest: [u8; 32],
}

/// Imports the checkpoint in `dir`.
///
/// # Errors
/// Every fault of folder, headers, configuration and tensor table at once; if there are none, every tensor that holds NaN
/// or infinite values, or a stored head that differs from the embedding it is tied to.
pub fn import(dir: &Path, options: &ImportOptions<'_>) -> Result<Imported, ImportError> {
    let mut faults = Vec::new();
    let checkpoint = Checkpoint::open_collecting(dir, &mut faults);
    let files_sound = faults.is_empty();
    let no_config = faults.iter().any(|fault| match fault {
        Fault::MissingFile { file, .. } => file == CONFIG,
        Fault::Io { path, .. } | Fault::NotAFolder { path } => path == dir,
        _ => false,
    });
    let described = if no_config { None } else { read(dir, &mut faults) };
    let Some(Source { config_text, mut decoder, mut warnings }) = described else {
        return Err(ImportError::new(dir, faults));
    };
    let before = faults.len();
    decoder.choose_root(|name| checkpoint.tensor(name).is_some());
    tensors::compare(&decoder, &checkpoint, &mut faults, &mut warnings);
    if !files_sound {
        // What is missing may be in the files or entries that were refused.
        let compared = faults.split_off(before);
        faults.extend(compared.into_iter().filter(|fault| !matches!(fault, Fault::MissingTensor { .. })));
    }
    let summary = decoder.summary();
    let ctx = options.ctx.unwrap_or(summary.ctx_max.min(DEFAULT_CONTEXT));
    if ctx == 0 || ctx > summary.ctx_max {
        faults.push(Fault::Context { asked: ctx, most: summary.ctx_max });
    }
    if !faults.is_empty() {
        return Err(ImportError::new(dir, faults));
    }

    let digests = checkpoint.scan(&decoder.cuts(), options.progress)?;
    if let Some(fault) = tensors::check_tied(decoder.tied_pair(), &digests) {
        return Err(checkpoint.error(fault));
    }
    warnings.sort_by(|a, b| (&a.file, &a.detail).cmp(&(&b.file, &b.detail)));
    let ctx = u32::try_from(ctx).expect("invariant: the configuration's limits keep the context below 2^32");
    let name = options.name.clone().unwrap_or_else(|| folder_name(dir));
    let mut graph = Graph::new(identifier(&name), Bounds { chunk: options.chunk.clamp(1, ctx), ctx });
    decoder.build(&mut graph, &mut Weights::new(&checkpoint, &digests));
    Ok(Imported { decided: decoder.decided_at(ctx), graph, summary, warnings, source_digest: source_digest(&config_text, &digests), checkpoint })
}

struct Source {
    config_text: Vec<u8>,
    decoder: Decoder,
    warnings: Vec<Warning>,
}

/// Reads the configuration files and lets the family that they name judge them.
fn read(dir: &Path, faults: &mut Vec<Fault>) -> Option<Source> {
    let config = read_object(dir, CONFIG, faults);
    let generation = if dir.join(GENERATION).exists() { read_object(dir, GENERATION, faults) } else { None };
    let (config_text, config) = config?;
    match describe(&config, generation.as_ref().map(|(_, map)| map)) {
        Ok((decoder, warnings)) => Some(Source { config_text, decoder, warnings }),
        Err(found) => {
            faults.extend(found);
            None
        }
    }
}

/// The decoder that `config.json` and, where there is one, `generation_config.json` describe.
///
/// # Errors
/// All that is wrong with them.
pub fn describe(config: &Map<String, Value>, generation: Option<&Map<String, Value>>) -> Described {
    let family = config.get("model_type").and_then(Value::as_str).and_then(|name| FAMILIES.iter().find(|f| f.model_types.contains(&name)));
    if let Some(family) = family {
        return config::describe(family, config, generation);
    }
    // The first family names all that is unsupported, the model type first. That another family's values are no values
    // of its own is no fault of the file.
    config::describe(&FAMILIES[0], config, generation).map_err(|mut faults| {
        if faults.iter().any(|f| matches!(f, Fault::Unsupported { key, .. } if key == "model_type")) {
            faults.retain(|f| matches!(f, Fault::Unsupported { .. }));
        }
        faults
    })
}

fn folder_name(dir: &Path) -> String {
    let full = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    full.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn identifier(name: &str) -> String {
    let mut id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if id.starts_with(|c: char| !c.is_ascii_alphabetic()) || id.is_empty() {
        id.insert(0, 'm');
    }
    id
}

fn source_digest(config_text: &[u8], digests: &[TensorDigest]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"slmc source 1");
    hash.update(Sha256::digest(config_text));
    for digest in digests {
        hash.update((digest.name.len() as u64).to_le_bytes());
        hash.update(&digest.name);
        if let Some(rows) = &digest.rows {
            hash.update((rows.start as u64).to_le_bytes());
            hash.update((rows.end as u64).to_le_bytes());
        }
        hash.update(digest.hash);
    }
    hash.finalize().into()
}
