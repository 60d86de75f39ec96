//! A toy model with kernels in Rust: small enough to predict, deep enough to notice a wrong position, row or order.
//!
//! Its cache holds `weights[id]` for every position; the hidden state of a token is the sum of cache value times
//! (position + 1) over all positions so far; a logit is `(hidden + 7919·v) mod 1009` as a float, divided by 100.
#![allow(dead_code, reason = "every test binary uses its own part")]

use std::ffi::CString;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use slmc_runtime_stub::abi::{
    ABI_VERSION, Binding, CHUNK_BYTES, CODE_MAGIC, CodeHeader, Dispatch, Extent, FileEntry, KernelFn, KvSlot, PlanHeader, Shader, Step, file_kind,
    kv_kind, list, region,
};
use slmc_runtime_stub::bundle::Bundle;
use slmc_runtime_stub::fault::Fault;
use slmc_runtime_stub::model::{Model, OpenOptions};
use slmc_runtime_stub::plan_encode::{PlanParts, encode, encoded_bytes};
use slmc_runtime_stub::walk::Kernels;

/// Positions, tokens of a step, vocabulary, rows of a head run.
pub const CTX: u32 = 64;
pub const CHUNK: u32 = 16;
pub const VOCAB: u32 = 160;
pub const HEAD_ROWS: u32 = 8;

/// Bytes of weights: a few pieces, the last one short.
pub const WEIGHTS: usize = 3 * CHUNK_BYTES as usize + 777 * 4;

const TOKEN_IDS: u64 = 0;
const HIDDEN: u64 = 128;
const LOGITS: u64 = 256;
const ARENA: u64 = LOGITS + (HEAD_ROWS * VOCAB * 4) as u64;
const CODE_ID: [u8; 32] = [7; 32];

static CODE: CodeHeader = CodeHeader { magic: CODE_MAGIC, abi_version: ABI_VERSION, kernel_count: 3, features: 0, code_id: CODE_ID, reserved: 0 };
static FUNCTIONS: [KernelFn; 3] = [embed, hidden, head];

/// The toy's code.
pub fn kernels() -> Kernels {
    // SAFETY: the kernels below stay inside the bindings of the plan below.
    unsafe { Kernels::new(&CODE, &FUNCTIONS) }
}

/// The toy's code with another header.
pub fn code(change: impl FnOnce(&mut CodeHeader)) -> CodeHeader {
    let mut code = CODE;
    change(&mut code);
    code
}

unsafe extern "C" fn embed(bindings: *const *mut u8, step: *const Step, x: u32, _y: u32, _z: u32) {
    // SAFETY: bindings are ids u32 [chunk], cache u32 [ctx], weights u32 [vocab ..].
    unsafe {
        let id = *(*bindings).cast::<u32>().add(x as usize);
        let weight = *(*bindings.add(2)).cast::<u32>().add(id as usize);
        *(*bindings.add(1)).cast::<u32>().add(((*step).p + x) as usize) = weight;
    }
}

unsafe extern "C" fn hidden(bindings: *const *mut u8, step: *const Step, x: u32, _y: u32, _z: u32) {
    // SAFETY: bindings are cache u32 [ctx], hidden u32 [chunk].
    unsafe {
        let cache = (*bindings).cast::<u32>();
        let mut sum = 0u32;
        for at in 0..=(*step).p + x {
            sum = sum.wrapping_add((*cache.add(at as usize)).wrapping_mul(at + 1));
        }
        *(*bindings.add(1)).cast::<u32>().add(x as usize) = sum;
    }
}

unsafe extern "C" fn head(bindings: *const *mut u8, step: *const Step, x: u32, y: u32, _z: u32) {
    // SAFETY: bindings are hidden u32 [chunk], logits f32 [rows, vocab].
    unsafe {
        let hidden = *(*bindings).cast::<u32>().add(((*step).row + y) as usize);
        for v in x * 16..(x + 1) * 16 {
            *(*bindings.add(1)).cast::<f32>().add((y * VOCAB + v) as usize) = logit(hidden, v);
        }
    }
}

fn logit(hidden: u32, v: u32) -> f32 {
    (hidden.wrapping_add(v * 7919) % 1009) as f32 / 100.0
}

/// What the toy must answer after `ids`: f32 [vocab].
pub fn expected_logits(weights: &[u8], ids: &[u32]) -> Vec<f32> {
    let mut sum = 0u32;
    for (at, &id) in (1u32..).zip(ids) {
        let start = id as usize * 4;
        let word = u32::from_le_bytes(weights[start..start + 4].try_into().expect("four bytes"));
        sum = sum.wrapping_add(word.wrapping_mul(at));
    }
    (0..VOCAB).map(|v| logit(sum, v)).collect()
}

/// The weights, the same in every test.
pub fn weights() -> Vec<u8> {
    let mut state = 1u32;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(WEIGHTS).collect()
}

/// The contents of a plan, to be changed by tests before it is written.
pub struct Parts {
    pub header: PlanHeader,
    pub lists: [Vec<Dispatch>; list::COUNT],
    pub bindings: Vec<Binding>,
    pub kv_slots: Vec<KvSlot>,
    pub files: Vec<FileEntry>,
    pub hashes: Vec<[u8; 32]>,
    pub shaders: Vec<Shader>,
}

impl Parts {
    /// The toy's plan for these weights and this tokenizer (which may be empty).
    pub fn new(weights: &[u8], tokenizer: &[u8]) -> Self {
        let mut name = [0; 64];
        name[..3].copy_from_slice(b"toy");
        let header = PlanHeader {
            code_id: CODE_ID,
            manifest_digest: [9; 32],
            name,
            ctx: CTX,
            chunk: CHUNK,
            vocab: VOCAB,
            head_rows: HEAD_ROWS,
            page_bytes: 4096,
            threads: 2,
            kernel_count: 3,
            arena_bytes: ARENA,
            kv_bytes: u64::from(CTX) * 4,
            weights_bytes: weights.len() as u64,
            token_ids: TOKEN_IDS,
            logits: LOGITS,
            parameters: 12,
            ..PlanHeader::EMPTY
        };
        let one = Extent::fixed(1);
        let (per_token, per_block) = (Extent::tokens(1, CHUNK), Extent::fixed(VOCAB / 16));
        let dispatch = |kernel, first_binding, binding_count, grid| Dispatch { kernel, first_binding, binding_count, flags: 0, grid };
        let lists = [
            vec![dispatch(0, 0, 3, [one; 3]), dispatch(1, 3, 2, [one; 3])],
            vec![dispatch(0, 0, 3, [per_token, one, one]), dispatch(1, 3, 2, [per_token, one, one])],
            vec![dispatch(2, 5, 2, [per_block, one, one])],
            vec![dispatch(2, 5, 2, [per_block, Extent::tokens(1, HEAD_ROWS), one])],
            vec![],
        ];
        let binding = |region, offset, len| Binding { region, reserved: 0, offset, len };
        let kv = u64::from(CTX) * 4;
        let bindings = vec![
            binding(region::ARENA, TOKEN_IDS, u64::from(CHUNK) * 4),
            binding(region::KV, 0, kv),
            binding(region::WEIGHTS, 0, u64::from(VOCAB) * 4),
            binding(region::KV, 0, kv),
            binding(region::ARENA, HIDDEN, u64::from(CHUNK) * 4),
            binding(region::ARENA, HIDDEN, u64::from(CHUNK) * 4),
            binding(region::ARENA, LOGITS, u64::from(HEAD_ROWS * VOCAB) * 4),
        ];
        let kv_slots = vec![KvSlot { offset: 0, bytes: kv, position_bytes: 4, kind: kv_kind::FULL, positions: CTX, window: 0 }];
        let mut hashes = Vec::new();
        let files = vec![file(file_kind::WEIGHTS, weights, &mut hashes), file(file_kind::TOKENIZER, tokenizer, &mut hashes)];
        Self { header, lists, bindings, kv_slots, files, hashes, shaders: Vec::new() }
    }

    /// The file.
    pub fn encode(&self) -> Vec<u8> {
        let parts = PlanParts {
            header: self.header,
            lists: self.lists.each_ref().map(Vec::as_slice),
            bindings: &self.bindings,
            kv_slots: &self.kv_slots,
            files: &self.files,
            hashes: &self.hashes,
            shaders: &self.shaders,
        };
        let mut bytes = vec![0; encoded_bytes(&parts)];
        encode(&parts, &mut bytes);
        bytes
    }
}

fn file(kind: u32, bytes: &[u8], hashes: &mut Vec<[u8; 32]>) -> FileEntry {
    let first_hash = hashes.len() as u32;
    hashes.extend(bytes.chunks(CHUNK_BYTES as usize).map(|piece| <[u8; 32]>::from(Sha256::digest(piece))));
    FileEntry {
        kind,
        chunk_bytes: CHUNK_BYTES,
        bytes: bytes.len() as u64,
        sha256: Sha256::digest(bytes).into(),
        first_hash,
        hash_count: hashes.len() as u32 - first_hash,
        reserved: 0,
    }
}

/// A bundle in a folder of its own.
pub struct Toy {
    pub dir: tempfile::TempDir,
    pub weights: Vec<u8>,
}

impl Toy {
    /// With this tokenizer, which may be empty.
    pub fn new(tokenizer: &[u8]) -> Self {
        Self::with(tokenizer, |_| {})
    }

    /// With a changed plan.
    pub fn with(tokenizer: &[u8], change: impl FnOnce(&mut Parts)) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let weights = weights();
        let mut parts = Parts::new(&weights, tokenizer);
        change(&mut parts);
        std::fs::write(dir.path().join("weights.bin"), &weights).expect("weights");
        std::fs::write(dir.path().join("plan.bin"), parts.encode()).expect("plan");
        if !tokenizer.is_empty() {
            std::fs::write(dir.path().join("tokenizer.bin"), tokenizer).expect("tokenizer");
        }
        Self { dir, weights }
    }

    /// A file of the bundle.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its mapped files.
    pub fn bundle(&self) -> Result<Bundle, Fault> {
        Model::open_files(&c_path(self.dir.path()), kernels())
    }

    /// Runs `test` with the opened model.
    pub fn run<T>(&self, threads: u32, test: impl FnOnce(&Model<'_>) -> T) -> T {
        let bundle = self.bundle().unwrap_or_else(|fault| panic!("{}", text(&fault)));
        let model =
            Model::open(&bundle, kernels(), OpenOptions { threads, ..OpenOptions::default() }).unwrap_or_else(|fault| panic!("{}", text(&fault)));
        test(&model)
    }
}

/// A path for the C side.
pub fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().expect("UTF-8")).expect("no zero bytes")
}

/// The message of a fault.
pub fn text(fault: &Fault) -> String {
    let mut buffer = [0; 512];
    let len = fault.write(&mut buffer);
    String::from_utf8(buffer[..len].to_vec()).expect("UTF-8")
}
