//! The last phase: everything but the weights goes to the staged folder, the manifest last, and the folder into place.

use std::fs;
use std::io;
use std::path::Path;

use slmc_backends::Shaders;
use slmc_ir::graph::{Dim, Op};
use slmc_ir::plan::Plan;
use slmc_passes::manager::PassSpec;
use slmc_runtime_stub::abi::ABI_VERSION;

use super::card::model_card;
use super::{CompileError, CompileOptions, MemoryPlan};
use crate::bundle::digest::{FileDigest, FileHasher};
use crate::bundle::kernel_work::KernelEntry;
use crate::bundle::manifest::{Build, FORMAT_VERSION, FileEntry, Model, Privacy, Quantization, TargetInfo, TensorFormat};
use crate::bundle::plan_bin::{self, CodeIdentity};
use crate::bundle::{
    BundleError, CARD, Digest, GOLDEN, HEADER, MANIFEST, Manifest, PLAN, STATIC_CODE, Stage, TOKENIZER, WEIGHTS, code_name, shaders,
};
use crate::import::Imported;
use crate::link::{self, Linked};
use crate::stub;
use crate::tokenizer::CompiledTokenizer;

/// A golden file longer than this is none.
const GOLDEN_LIMIT: u64 = 64 << 20;

/// What the phases before have made.
pub(super) struct Parts<'a> {
    pub(super) options: &'a CompileOptions,
    pub(super) imported: &'a Imported,
    pub(super) plan: &'a Plan,
    pub(super) kernels_take: &'a [KernelEntry],
    pub(super) identity: &'a CodeIdentity,
    pub(super) backend: &'a str,
    /// Runtime and, on CPUs, kernels, with the linker's version line; none where there is no runtime.
    pub(super) linked: Option<&'a (Linked, String)>,
    pub(super) shaders: Option<&'a Shaders>,
    pub(super) tokenizer: Option<&'a CompiledTokenizer>,
    pub(super) weights: &'a FileDigest,
    pub(super) memory: &'a MemoryPlan,
    pub(super) passes: &'a [PassSpec],
}

/// Writes what is missing in `stage` and puts the bundle in place.
pub(super) fn bundle(stage: Stage, parts: &Parts<'_>) -> Result<Manifest, CompileError> {
    let mut manifest = manifest(parts);
    let mut put = |path: &str, bytes: &[u8], chunked: bool| -> Result<(), BundleError> {
        stage.write(path, bytes)?;
        manifest.files.push(FileEntry::new(path, &digest_of(bytes), chunked));
        Ok(())
    };
    if let Some((linked, _)) = parts.linked {
        put(code_name(parts.options.target.target.triple), &linked.bytes, false)?;
    }
    if let Some(shaders) = parts.shaders {
        put(shaders.file, &shaders.bytes, true)?;
    }
    if let Some(tokenizer) = parts.tokenizer {
        put(TOKENIZER, tokenizer.bytes(), true)?;
    }
    let prefix = manifest_prefix(parts);
    let header = prefix.as_ref().map_or_else(|| stub::HEADER.to_owned(), |prefix| link::archive::prefixed_header(stub::HEADER, prefix));
    put(HEADER, header.as_bytes(), false)?;
    if let Some(golden) = golden(&parts.options.model)? {
        put(GOLDEN, &golden, false)?;
    }
    manifest.files.push(FileEntry::new(WEIGHTS, parts.weights, true));
    let card = model_card(&manifest);
    stage.write(CARD, card.as_bytes())?;
    manifest.files.push(FileEntry::new(CARD, &digest_of(card.as_bytes()), false));
    manifest.files.sort_by(|a, b| a.path.cmp(&b.path));

    let target = &parts.options.target.target;
    let plan = plan_bin::write(parts.plan, parts.identity, &manifest, target.page_bytes, target.cores)?;
    stage.write(PLAN, &plan)?;
    manifest.files.push(FileEntry::new(PLAN, &digest_of(&plan), false));
    manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
    stage.write(MANIFEST, manifest.seal().as_bytes())?;
    stage.commit()?;
    Ok(manifest)
}

fn digest_of(bytes: &[u8]) -> FileDigest {
    let mut hasher = FileHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

fn manifest(parts: &Parts<'_>) -> Manifest {
    let (options, imported, plan) = (parts.options, parts.imported, parts.plan);
    let target = &options.target.target;
    let bits = parts.weights.bytes as f64 * 8.0 / imported.summary.parameters.max(1) as f64;
    Manifest {
        format_version: FORMAT_VERSION,
        model: Model {
            name: imported.graph.name.clone(),
            architecture: imported.summary.family.to_owned(),
            parameters: imported.summary.parameters,
            licence: licence(&options.model),
            source_digest: Digest(imported.source_digest),
        },
        target: TargetInfo {
            name: options.target.text.clone(),
            triple: target.triple.to_owned(),
            cpu: target.cpu.to_owned(),
            features: target.features.iter().map(|&feature| feature.to_owned()).collect(),
            backend: parts.backend.to_owned(),
            runtime: parts.linked.map(|_| code_name(target.triple).to_owned()),
            symbol_prefix: manifest_prefix(parts),
            gpu: match (&target.gpu, &parts.identity.device, parts.shaders) {
                (Some(gpu), Some(device), Some(shaders)) => Some(shaders::requirements(device, plan, gpu, shaders.file)),
                _ => None,
            },
        },
        minimum_runtime: ABI_VERSION,
        quantization: Quantization {
            scheme: options.quant.clone(),
            kv: kv_format(imported),
            bits_per_weight: (bits * 1000.0).round() / 1000.0,
            tensors: tensors(imported),
        },
        memory: parts.memory.manifest(),
        context: plan.ctx,
        decided_by_context: imported.decided.clone(),
        prefill_chunk: plan.chunk,
        kernels: parts.kernels_take.to_vec(),
        files: Vec::new(),
        privacy: Privacy {
            undefined_symbols: parts.linked.map_or_else(Vec::new, |(linked, _)| linked.symbols.undefined.clone()),
            network_symbols: Vec::new(),
        },
        build: Build {
            compiler: format!("slmc {}", env!("CARGO_PKG_VERSION")),
            linker: parts.linked.map_or_else(|| "none".to_owned(), |(_, version)| version.clone()),
            options: options.recorded(),
            passes: parts.passes.iter().map(ToString::to_string).collect(),
        },
        digest: Digest([0; 32]),
    }
}

/// The prefix of the names in a static library.
fn manifest_prefix(parts: &Parts<'_>) -> Option<String> {
    let is_static = parts.linked.is_some() && code_name(parts.options.target.target.triple) == STATIC_CODE;
    is_static.then(|| link::archive::symbol_prefix(&parts.imported.graph.name))
}

fn tensors(imported: &Imported) -> Vec<TensorFormat> {
    let shape = |dims: &[Dim]| dims.iter().map(|dim| if let Dim::Const(n) = dim { *n } else { 0 }).collect();
    let formats = imported.graph.weights.iter().map(|(_, weight)| TensorFormat {
        name: weight.name.clone(),
        shape: shape(&weight.ty.shape),
        dtype: weight.ty.dtype.to_string(),
    });
    formats.collect()
}

/// The format that `kv_append` stores, as the graph says it.
fn kv_format(imported: &Imported) -> String {
    let graph = &imported.graph;
    let append = graph.nodes.iter().find(|(_, node)| matches!(node.op, Op::KvAppend(_)));
    append.map_or_else(|| "none".to_owned(), |(_, node)| graph.values[node.output].ty.dtype.to_string())
}

/// The line `license:` at the head of the checkpoint's README.md, if it has one.
fn licence(model: &Path) -> Option<String> {
    let text = fs::read_to_string(model.join("README.md")).ok()?;
    let head = text.strip_prefix("---\n")?.split("\n---").next()?;
    let value = head.lines().find_map(|line| line.strip_prefix("license:"))?.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// The checkpoint's golden questions.
fn golden(model: &Path) -> Result<Option<Vec<u8>>, BundleError> {
    let path = model.join(GOLDEN);
    let bad = |detail: String| BundleError::Write { path: path.clone(), detail };
    match fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(bad(e.to_string())),
        Ok(meta) if meta.len() > GOLDEN_LIMIT => Err(bad("is larger than 64 MiB; golden questions are few and short".to_owned())),
        Ok(_) => fs::read(&path).map(Some).map_err(|e| bad(e.to_string())),
    }
}
