//! `plan.bin`: the plan in the stub's binary form, bound to code, files and manifest by their hashes.

use slmc_ir::plan::{Binding, Dispatch, Extent, Plan};
use slmc_runtime_stub::abi::{self, device_kind, dispatch_flag, feature, file_kind, list, region};
use slmc_runtime_stub::plan_encode::{PlanParts, encode, encoded_bytes};
use slmc_runtime_stub::wire::Wire as _;

use super::manifest::{FileEntry, Manifest};
use super::shaders::{DeviceCode, feature_names};
use super::{BundleError, KERNELS_METAL, KERNELS_SPV, TOKENIZER, WEIGHTS};

/// What the plan says of the code it belongs to.
#[derive(Debug, Clone)]
pub struct CodeIdentity {
    /// SHA-256 that the code generator put into the code's header.
    pub code_id: [u8; 32],
    /// Kernels in the code, or shaders beside it.
    pub kernel_count: u32,
    /// The shaders, on GPUs.
    pub device: Option<DeviceCode>,
}

/// Bits of the ABI for feature names.
///
/// # Errors
/// The names that the ABI has no bit for.
pub fn feature_bits<S: AsRef<str>>(names: &[S]) -> Result<u64, Vec<String>> {
    let mut bits = 0;
    let mut unknown = Vec::new();
    for name in names {
        match feature::NAMES.iter().find(|(_, known)| *known == name.as_ref()) {
            Some((bit, _)) => bits |= bit,
            None => unknown.push(name.as_ref().to_owned()),
        }
    }
    if unknown.is_empty() { Ok(bits) } else { Err(unknown) }
}

/// The bytes of `plan.bin`. `manifest` holds the entries of all files but the plan itself.
///
/// # Errors
/// [`BundleError::Plan`] if a number does not fit the format.
pub fn write(plan: &Plan, code: &CodeIdentity, manifest: &Manifest, page_bytes: u32, threads: u32) -> Result<Vec<u8>, BundleError> {
    let bad = |detail: String| BundleError::Plan { detail };
    let features = feature_bits(&manifest.target.features).map_err(|names| bad(format!("no runtime check for CPU features {}", names.join(", "))))?;
    let mut bindings = Vec::new();
    let mut lists = [const { Vec::new() }; list::COUNT];
    for (out, (_, dispatches)) in lists.iter_mut().zip(plan.lists()) {
        for dispatch in dispatches {
            out.push(encode_dispatch(plan, dispatch, code.device.is_some(), &mut bindings).map_err(bad)?);
        }
    }
    let kv_slots: Vec<abi::KvSlot> = plan
        .kv
        .iter()
        .map(|kv| abi::KvSlot {
            offset: kv.offset,
            bytes: kv.bytes,
            position_bytes: kv.bytes_per_position,
            kind: if kv.ring.is_some() { abi::kv_kind::RING } else { abi::kv_kind::FULL },
            positions: kv.ring.map_or(plan.ctx, |ring| ring.positions),
            window: kv.ring.map_or(0, |ring| ring.window),
        })
        .collect();
    let mut hashes = Vec::new();
    let device = code.device.as_ref().map_or(device_kind::CPU, |device| device.kind);
    let kinds = [file_kind::WEIGHTS, file_kind::TOKENIZER, file_kind::KERNELS];
    let files = kinds.map(|kind| match file_of(kind, device).and_then(|path| manifest.file(path)) {
        None => abi::FileEntry::absent(kind),
        Some(file) => {
            let first_hash = hashes.len() as u32;
            hashes.extend(file.chunks.iter().map(|chunk| chunk.0));
            abi::FileEntry {
                bytes: file.bytes,
                sha256: file.sha256.0,
                first_hash,
                hash_count: file.chunks.len() as u32,
                ..abi::FileEntry::absent(kind)
            }
        }
    });
    let header = abi::PlanHeader {
        features,
        code_id: code.code_id,
        manifest_digest: manifest.identity().0,
        name: name_field(&manifest.model.name),
        ctx: plan.ctx,
        chunk: plan.chunk,
        vocab: plan.vocab,
        head_rows: plan.head_rows,
        page_bytes,
        threads,
        kernel_count: code.kernel_count,
        device,
        device_features: code.device.as_ref().map_or(0, |device| device.features),
        picked: plan.picked.map_or(abi::NO_PICK, |id| plan.arena[id].offset),
        arena_bytes: plan.arena_bytes,
        kv_bytes: plan.kv_bytes,
        weights_bytes: plan.weights_bytes,
        token_ids: plan.arena[plan.tokens].offset,
        logits: plan.arena[plan.logits].offset,
        parameters: manifest.model.parameters,
        ..abi::PlanHeader::EMPTY
    };
    let lists = lists.each_ref().map(Vec::as_slice);
    let shaders = code.device.as_ref().map_or(&[][..], |device| &device.shaders);
    let parts = PlanParts { header, lists, bindings: &bindings, kv_slots: &kv_slots, files: &files, hashes: &hashes, shaders };
    let mut out = vec![0; encoded_bytes(&parts)];
    encode(&parts, &mut out);
    Ok(out)
}

/// The file that an entry of a kind speaks of.
fn file_of(kind: u32, device: u32) -> Option<&'static str> {
    match (kind, device) {
        (file_kind::WEIGHTS, _) => Some(WEIGHTS),
        (file_kind::TOKENIZER, _) => Some(TOKENIZER),
        (file_kind::KERNELS, device_kind::VULKAN) => Some(KERNELS_SPV),
        (file_kind::KERNELS, device_kind::METAL) => Some(KERNELS_METAL),
        _ => None,
    }
}

fn encode_dispatch(plan: &Plan, dispatch: &Dispatch, gpu: bool, bindings: &mut Vec<abi::Binding>) -> Result<abi::Dispatch, String> {
    let first_binding = bindings.len() as u32;
    for binding in &dispatch.bindings {
        let (region, offset, len) = match *binding {
            Binding::Arena(id) => (region::ARENA, plan.arena[id].offset, plan.arena[id].bytes),
            Binding::Packed(id) => (region::WEIGHTS, plan.packed[id].offset, plan.packed[id].bytes),
            Binding::Kv(i) => {
                let kv = plan.kv.get(i as usize).ok_or_else(|| format!("a dispatch binds KV buffer {i} of {}", plan.kv.len()))?;
                (region::KV, kv.offset, kv.bytes)
            }
        };
        bindings.push(abi::Binding { region, reserved: 0, offset, len });
    }
    let mut grid = [abi::Extent::fixed(1); 3];
    for (out, extent) in grid.iter_mut().zip(&dispatch.grid) {
        *out = encode_extent(extent)?;
    }
    if let Some(axis) = grid.iter().find(|extent| gpu && extent.max > abi::MAX_WORKGROUPS) {
        return Err(format!("kernel {} has up to {} workgroups along an axis, devices take {}", dispatch.kernel, axis.max, abi::MAX_WORKGROUPS));
    }
    let tiles: u64 = grid.iter().map(|extent| u64::from(extent.max)).product();
    if tiles > u64::from(abi::MAX_TILES) {
        return Err(format!("kernel {} has up to {tiles} tiles, the runtime takes {}", dispatch.kernel, abi::MAX_TILES));
    }
    Ok(abi::Dispatch {
        kernel: slmc_ir::arena::Id::index(dispatch.kernel) as u32,
        first_binding,
        binding_count: dispatch.bindings.len() as u32,
        flags: if dispatch.beside { dispatch_flag::BESIDE } else { 0 },
        grid,
    })
}

fn encode_extent(extent: &Extent) -> Result<abi::Extent, String> {
    let fit = |n: u32| i32::try_from(n).map_err(|_| format!("extent {extent:?} does not fit 31 bits"));
    Ok(abi::Extent { a: fit(extent.a)?, b: fit(extent.b)?, c: fit(extent.c)?, d: extent.d, max: extent.max })
}

/// At most 63 bytes of the name, cut between characters, and zeros.
fn name_field(name: &str) -> [u8; 64] {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let mut field = [0; 64];
    field[..end].copy_from_slice(&name.as_bytes()[..end]);
    field
}

/// In what `plan.bin` and the manifest contradict each other: the identity, the device, the hashes of mapped files, the sizes.
pub fn disagreements(plan: &[u8], manifest: &Manifest) -> Vec<String> {
    if plan.len() < abi::PlanHeader::BYTES {
        return vec!["is too short to be a plan".to_owned()];
    }
    let header = abi::PlanHeader::get(plan);
    let mut out = Vec::new();
    let mut require = |holds: bool, what: &str| {
        if !holds {
            out.push(what.to_owned());
        }
    };
    require(header.magic == abi::PLAN_MAGIC, "is no plan");
    require(header.abi_version == abi::ABI_VERSION, "is of another ABI version than this slmc");
    require(header.total_bytes == plan.len() as u64, "states another length than it has");
    require(header.manifest_digest == manifest.identity().0, "belongs to another manifest");
    require((header.ctx, header.chunk) == (manifest.context, manifest.prefill_chunk), "has another context or chunk than the manifest");
    require(feature_bits(&manifest.target.features) == Ok(header.features), "needs other CPU features than the manifest says");
    let (device, features) = match &manifest.target.gpu {
        None => (device_kind::CPU, Vec::new()),
        Some(gpu) if gpu.api == "metal" => (device_kind::METAL, gpu.features.clone()),
        Some(gpu) => (device_kind::VULKAN, gpu.features.clone()),
    };
    require((header.device, feature_names(header.device_features)) == (device, features), "runs on another kind of device than the manifest says");
    let records = |section: &abi::Section, bytes: usize| {
        let start = usize::try_from(section.offset).ok()?;
        plan.get(start..start.checked_add((section.count as usize).checked_mul(bytes)?)?)
    };
    let (Some(files), Some(hashes)) = (records(&header.files, abi::FileEntry::BYTES), records(&header.hashes, 32)) else {
        out.push("has sections outside of itself".to_owned());
        return out;
    };
    let hashes: Vec<&[u8]> = hashes.chunks_exact(32).collect();
    for entry in files.chunks_exact(abi::FileEntry::BYTES).map(abi::FileEntry::get) {
        let path = file_of(entry.kind, header.device).unwrap_or("file");
        let first = entry.first_hash as usize;
        let pieces = hashes.get(first..first.saturating_add(entry.hash_count as usize)).unwrap_or_default();
        let agrees = match manifest.file(path) {
            None => entry.bytes == 0,
            Some(file) => same_file(&entry, pieces, file),
        };
        if !agrees {
            out.push(format!("vouches for another {path} than the manifest"));
        }
    }
    out
}

fn same_file(entry: &abi::FileEntry, pieces: &[&[u8]], file: &FileEntry) -> bool {
    entry.bytes == file.bytes
        && entry.sha256 == file.sha256.0
        && pieces.len() == file.chunks.len()
        && pieces.iter().zip(&file.chunks).all(|(found, stated)| *found == stated.0)
}
