//! A bundle of four small kernels, predictable by hand: an embedding that fills a cache, a weighted sum over the cache
//! (a tree in threadgroup memory), logits, and the pick.
//!
//! The hidden state of a token is the sum of cache value times (position + 1) over all positions so far; logit v is
//! `(hidden + 7919·v) mod 1009`.

use std::ffi::CString;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use slmc_runtime_stub::abi::{
    ABI_VERSION, Binding, CHUNK_BYTES, CODE_MAGIC, CodeHeader, Dispatch, Extent, FileEntry, KvSlot, PlanHeader, Shader, device_feature, device_kind,
    file_kind, kv_kind, list, region,
};
use slmc_runtime_stub::bundle::Bundle;
use slmc_runtime_stub::fault::Fault;
use slmc_runtime_stub::plan_encode::{PlanParts, encode, encoded_bytes};
use slmc_runtime_stub::walk::Kernels;

use crate::wgsl::to_msl;

const CTX: u32 = 96;
const CHUNK: u32 = 16;
pub const VOCAB: u32 = 160;
const HEAD_ROWS: u32 = 8;

const HIDDEN: u64 = 256;
const LOGITS: u64 = 512;
const PICKED: u64 = LOGITS + 5120;
const ARENA: u64 = PICKED + 256;

/// The shaders. Each has three bindings at most; the step follows in slot 3.
const SHADERS: &str = "
struct Step { t: u32, p: u32, row: u32, none: u32 }
var<immediate> step: Step;
@group(0) @binding(0) var<storage, read_write> ids: array<u32, 16>;
@group(0) @binding(1) var<storage, read_write> filled: array<u32, 96>;
@group(0) @binding(2) var<storage, read> weights: array<u32, 160>;
@compute @workgroup_size(32) fn embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (lane == 0u) { filled[step.p + group.x] = weights[ids[group.x]]; }
}

@group(0) @binding(0) var<storage, read> cache: array<u32, 96>;
@group(0) @binding(1) var<storage, read_write> hidden: array<u32, 16>;
var<workgroup> first: array<u32, 3>;
var<workgroup> part: array<u32, 32>;
@compute @workgroup_size(32) fn sum(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var s = 0u;
    for (var at = lane; at <= step.p + group.x; at += 32u) { s += cache[at] * (at + 1u); }
    part[lane] = s;
    if (lane == 0u) { first[2] = step.p * 0u; }
    workgroupBarrier();
    for (var width = 16u; width > 0u; width = width / 2u) {
        if (lane < width) { part[lane] = part[lane] + part[lane + width]; }
        workgroupBarrier();
    }
    if (lane == 0u) { hidden[group.x] = part[0] + first[2]; }
}

@group(0) @binding(0) var<storage, read> rows: array<u32, 16>;
@group(0) @binding(1) var<storage, read_write> logits: array<f32, 1280>;
@compute @workgroup_size(32) fn head(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let v = group.x * 32u + lane;
    logits[group.y * 160u + v] = f32((rows[step.row + group.y] + v * 7919u) % 1009u);
}

@group(0) @binding(0) var<storage, read> scores: array<f32, 1280>;
@group(0) @binding(1) var<storage, read_write> picked: array<u32, 1>;
@compute @workgroup_size(32) fn argmax(@builtin(local_invocation_index) lane: u32) {
    if (lane == 0u) {
        var best = 0u;
        for (var v = 1u; v < 160u; v += 1u) { if (scores[v] > scores[best]) { best = v; } }
        picked[0] = best;
    }
}
";

const CODE_ID: [u8; 32] = [7; 32];

static CODE: CodeHeader = CodeHeader { magic: CODE_MAGIC, abi_version: ABI_VERSION, kernel_count: 0, features: 0, code_id: CODE_ID, reserved: 0 };

/// The code: no functions.
pub fn kernels() -> Kernels {
    // SAFETY: there is no function to call.
    unsafe { Kernels::new(&CODE, &[]) }
}

/// What the toy must answer after `ids`: f32 [vocab].
pub fn expected_logits(weights: &[u32], ids: &[u32]) -> Vec<f32> {
    let hidden = (1u32..).zip(ids).fold(0u32, |sum, (at, &id)| sum.wrapping_add(weights[id as usize].wrapping_mul(at)));
    (0..VOCAB).map(|v| (hidden.wrapping_add(v * 7919) % 1009) as f32).collect()
}

/// The index of the greatest, the first of equal ones.
pub fn best(logits: &[f32]) -> u32 {
    logits.iter().enumerate().fold(0, |best, (i, &l)| if l > logits[best] { i } else { best }) as u32
}

/// A bundle, to be changed before it is written.
pub struct Toy {
    pub header: PlanHeader,
    pub lists: [Vec<Dispatch>; list::COUNT],
    pub bindings: Vec<Binding>,
    pub shaders: Vec<Shader>,
    pub text: String,
    pub weights: Vec<u32>,
}

/// A written bundle.
pub struct Written {
    pub dir: tempfile::TempDir,
    pub weights: Vec<u32>,
}

fn shader(name: &str, parameters: u32, reads: u32, writes: u32, arrays: &[u32]) -> Shader {
    let mut entry = [0; 64];
    entry[..name.len()].copy_from_slice(name.as_bytes());
    let mut workgroup_bytes = [0; 8];
    workgroup_bytes[..arrays.len()].copy_from_slice(arrays);
    let workgroup_count = arrays.len() as u32;
    Shader { offset: 0, bytes: 0, lanes: 32, binding_count: parameters, reads, writes, step_slot: 3, workgroup_count, workgroup_bytes, entry }
}

impl Toy {
    pub fn new() -> Self {
        let mut state = 1u32;
        let next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        // More than a page, and not whole pages.
        let weights: Vec<u32> = std::iter::repeat_with(next).take(5000).collect();
        let mut name = [0; 64];
        name[..3].copy_from_slice(b"toy");
        let header = PlanHeader {
            device: device_kind::METAL,
            device_features: device_feature::SUBGROUP,
            code_id: CODE_ID,
            name,
            ctx: CTX,
            chunk: CHUNK,
            vocab: VOCAB,
            head_rows: HEAD_ROWS,
            page_bytes: 16 << 10,
            threads: 1,
            kernel_count: 4,
            arena_bytes: ARENA,
            kv_bytes: u64::from(CTX) * 4,
            weights_bytes: weights.len() as u64 * 4,
            token_ids: 0,
            logits: LOGITS,
            picked: PICKED,
            parameters: 4,
            ..PlanHeader::EMPTY
        };
        let one = Extent::fixed(1);
        let (tokens, blocks) = (Extent::tokens(1, CHUNK), Extent::fixed(VOCAB / 32));
        let dispatch = |kernel, first_binding, binding_count, grid| Dispatch { kernel, first_binding, binding_count, flags: 0, grid };
        let lists = [
            vec![dispatch(0, 0, 3, [one; 3]), dispatch(1, 3, 2, [one; 3])],
            vec![dispatch(0, 0, 3, [tokens, one, one]), dispatch(1, 3, 2, [tokens, one, one])],
            vec![dispatch(2, 5, 2, [blocks, one, one])],
            vec![dispatch(2, 5, 2, [blocks, Extent::tokens(1, HEAD_ROWS), one])],
            vec![dispatch(3, 7, 2, [one; 3])],
        ];
        let binding = |region, offset, len| Binding { region, reserved: 0, offset, len };
        let (kv, rows, logits) = (u64::from(CTX) * 4, u64::from(CHUNK) * 4, u64::from(HEAD_ROWS * VOCAB) * 4);
        let bindings = vec![
            binding(region::ARENA, 0, rows),
            binding(region::KV, 0, kv),
            binding(region::WEIGHTS, 0, u64::from(VOCAB) * 4),
            binding(region::KV, 0, kv),
            binding(region::ARENA, HIDDEN, rows),
            binding(region::ARENA, HIDDEN, rows),
            binding(region::ARENA, LOGITS, logits),
            binding(region::ARENA, LOGITS, logits),
            binding(region::ARENA, PICKED, 4),
        ];
        let shaders = vec![
            shader("embed", 3, 0b101, 0b010, &[]),
            shader("sum", 2, 0b01, 0b10, &[16, 128]),
            shader("head", 2, 0b01, 0b10, &[]),
            shader("argmax", 2, 0b01, 0b10, &[]),
        ];
        Self { header, lists, bindings, shaders, text: to_msl(SHADERS), weights }
    }

    /// Writes it to a folder of its own.
    pub fn write(mut self) -> Written {
        let dir = tempfile::tempdir().expect("a folder");
        let weights: Vec<u8> = self.weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        for shader in &mut self.shaders {
            shader.bytes = self.text.len() as u64;
        }
        let mut hashes = Vec::new();
        let text = self.text.as_bytes();
        let files = [
            file(file_kind::WEIGHTS, &weights, &mut hashes),
            file(file_kind::TOKENIZER, &[], &mut hashes),
            file(file_kind::KERNELS, text, &mut hashes),
        ];
        let kv = self.header.kv_bytes;
        let kv_slots = [KvSlot { offset: 0, bytes: kv, position_bytes: 4, kind: kv_kind::FULL, positions: CTX, window: 0 }];
        let parts = PlanParts {
            header: self.header,
            lists: std::array::from_fn(|i| self.lists[i].as_slice()),
            bindings: &self.bindings,
            kv_slots: &kv_slots,
            files: &files,
            hashes: &hashes,
            shaders: &self.shaders,
        };
        let mut plan = vec![0; encoded_bytes(&parts)];
        encode(&parts, &mut plan);
        for (name, bytes) in [("weights.bin", weights.as_slice()), ("kernels.metal", text), ("plan.bin", &plan)] {
            std::fs::write(dir.path().join(name), bytes).expect("a file in the folder");
        }
        Written { dir, weights: self.weights }
    }
}

impl Written {
    /// Opens its files.
    pub fn bundle(&self) -> Result<Bundle, Fault> {
        Bundle::open(&c_path(self.dir.path()), &CODE, 0)
    }
}

fn file(kind: u32, bytes: &[u8], hashes: &mut Vec<[u8; 32]>) -> FileEntry {
    let first_hash = hashes.len() as u32;
    hashes.extend(bytes.chunks(CHUNK_BYTES as usize).map(|piece| <[u8; 32]>::from(Sha256::digest(piece))));
    let hash_count = hashes.len() as u32 - first_hash;
    FileEntry { kind, chunk_bytes: CHUNK_BYTES, bytes: bytes.len() as u64, sha256: Sha256::digest(bytes).into(), first_hash, hash_count, reserved: 0 }
}

/// A path for the stub.
pub fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().expect("UTF-8")).expect("no zero bytes")
}

/// The message of a fault.
pub fn text(fault: &Fault) -> String {
    let mut buffer = [0; 512];
    let len = fault.write(&mut buffer);
    String::from_utf8(buffer[..len].to_vec()).expect("UTF-8")
}
