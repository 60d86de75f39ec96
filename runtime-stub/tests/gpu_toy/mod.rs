//! A toy model for GPUs: its shaders are WGSL, its answers are integers, so every device gives the same bits.
//!
//! Two caches hold `table[id]` and `3 · table[id]` for every position. The hidden state of a token is the sum over all
//! positions so far of cache value times (position + 1), where even positions count from the first cache and odd ones
//! from the second; two dispatches that run beside each other make the two sums, a third adds them. Logit v is
//! `(hidden + bias[v]) mod 1009`, with the bias in two sections of the weights.
#![allow(dead_code, reason = "every test binary uses its own part")]

use std::ffi::CString;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use slmc_runtime_stub::abi::{
    ABI_VERSION, Binding, CHUNK_BYTES, CODE_MAGIC, CodeHeader, Dispatch, Extent, FileEntry, KernelFn, KvSlot, PlanHeader, Shader, device_kind,
    dispatch_flag, file_kind, kv_kind, list, region,
};
use slmc_runtime_stub::bundle::Bundle;
use slmc_runtime_stub::fault::Fault;
use slmc_runtime_stub::model::{Model, OpenOptions};
use slmc_runtime_stub::plan_encode::{PlanParts, encode, encoded_bytes};
use slmc_runtime_stub::walk::Kernels;

/// Positions, tokens of a step, vocabulary, rows of a head run.
pub const CTX: u32 = 64;
pub const CHUNK: u32 = 16;
pub const VOCAB: u32 = 256;
pub const HEAD_ROWS: u32 = 8;

const HALF: u64 = VOCAB as u64 / 2 * 4;
/// Bytes of weights, and where their sections are.
pub const WEIGHTS: u64 = 8192;
const TABLE: u64 = 0;
const BIAS_LOW: u64 = 3072;
const BIAS_HIGH: u64 = 6144;

const TOKEN_IDS: u64 = 0;
const EVEN: u64 = 256;
const ODD: u64 = 512;
const HIDDEN: u64 = 768;
const LOGITS: u64 = 1024;
const PICKED: u64 = LOGITS + (HEAD_ROWS * VOCAB * 4) as u64;
const ARENA: u64 = PICKED + 256;
/// Bytes of one cache, and of both.
const CACHE: u64 = 1024;
const KV: u64 = 2 * CACHE;
const CODE_ID: [u8; 32] = [8; 32];

static CODE: CodeHeader = CodeHeader { magic: CODE_MAGIC, abi_version: ABI_VERSION, kernel_count: 0, features: 0, code_id: CODE_ID, reserved: 0 };
static FUNCTIONS: [KernelFn; 0] = [];

/// The code of a bundle for a GPU: none.
pub fn kernels() -> Kernels {
    // SAFETY: there are no functions that could break a promise.
    unsafe { Kernels::new(&CODE, &FUNCTIONS) }
}

const STEP: &str = "
struct Step { t: u32, p: u32, row: u32, reserved: u32 }
var<immediate> step: Step;
";

/// Name, parameters (`r` read, `w` written), lanes, bytes of workgroup memory, body.
const SHADERS: [(&str, &str, u32, u32, &str); 7] = [
    (
        "k0_embed",
        "rrww",
        16,
        0,
        "
@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> once: array<u32>;
@group(0) @binding(3) var<storage, read_write> thrice: array<u32>;
@compute @workgroup_size(16) fn k0_embed(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x < step.t {
        once[step.p + at.x] = table[ids[at.x]];
        thrice[step.p + at.x] = 3u * table[ids[at.x]];
    }
}",
    ),
    ("k1_even", "rw", 16, 0, SUM),
    ("k2_odd", "rw", 16, 0, SUM),
    (
        "k3_add",
        "rrw",
        16,
        0,
        "
@group(0) @binding(0) var<storage, read> even: array<u32>;
@group(0) @binding(1) var<storage, read> odd: array<u32>;
@group(0) @binding(2) var<storage, read_write> hidden: array<u32>;
@compute @workgroup_size(16) fn k3_add(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x < step.t { hidden[at.x] = even[at.x] + odd[at.x]; }
}",
    ),
    (
        "k4_half",
        "rrw",
        32,
        0,
        "
@group(0) @binding(0) var<storage, read> hidden: array<u32>;
@group(0) @binding(1) var<storage, read> bias: array<u32>;
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;
@compute @workgroup_size(32) fn k4_half(@builtin(global_invocation_id) at: vec3<u32>) {
    logits[at.x] = f32((hidden[step.row] + bias[at.x]) % 1009u);
}",
    ),
    (
        "k5_rows",
        "rrrw",
        32,
        0,
        "
@group(0) @binding(0) var<storage, read> hidden: array<u32>;
@group(0) @binding(1) var<storage, read> low: array<u32>;
@group(0) @binding(2) var<storage, read> high: array<u32>;
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;
@compute @workgroup_size(32) fn k5_rows(@builtin(global_invocation_id) at: vec3<u32>) {
    var bias = low[at.x % 128u];
    if at.x >= 128u { bias = high[at.x - 128u]; }
    logits[at.y * 256u + at.x] = f32((hidden[step.row + at.y] + bias) % 1009u);
}",
    ),
    (
        "k6_pick",
        "rw",
        64,
        512,
        "
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> picked: array<u32>;
var<workgroup> best: array<f32, 64>;
var<workgroup> place: array<u32, 64>;
@compute @workgroup_size(64) fn k6_pick(@builtin(local_invocation_index) lane: u32) {
    var mine = lane;
    for (var v = lane + 64u; v < 256u; v += 64u) { if logits[v] > logits[mine] { mine = v; } }
    best[lane] = logits[mine];
    place[lane] = mine;
    for (var half = 32u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if lane < half {
            let other = lane + half;
            if best[other] > best[lane] || (best[other] == best[lane] && place[other] < place[lane]) {
                best[lane] = best[other];
                place[lane] = place[other];
            }
        }
    }
    if lane == 0u { picked[0] = place[0]; }
}",
    ),
];

/// Adds the positions of one parity: PARITY and NAME are filled in.
const SUM: &str = "
@group(0) @binding(0) var<storage, read> cache: array<u32>;
@group(0) @binding(1) var<storage, read_write> sum: array<u32>;
@compute @workgroup_size(16) fn NAME(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x >= step.t { return; }
    var total = 0u;
    for (var i = PARITYu; i <= step.p + at.x; i += 2u) { total += cache[i] * (i + 1u); }
    sum[at.x] = total;
}";

/// SPIR-V of a shader in WGSL.
pub fn spirv(wgsl: &str) -> Vec<u8> {
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    let module = naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|error| panic!("{}", error.emit_to_string(wgsl)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::IMMEDIATES).validate(&module).expect("a valid module");
    let options = naga::back::spv::Options { lang_version: (1, 3), flags: naga::back::spv::WriterFlags::empty(), ..Default::default() };
    naga::back::spv::write_vec(&module, &info, &options, None).expect("SPIR-V").into_iter().flat_map(u32::to_le_bytes).collect()
}

/// A shader of the toy in WGSL, from [`SHADERS`].
pub fn wgsl(index: usize) -> String {
    let (name, _, _, _, body) = SHADERS[index];
    STEP.to_owned() + &body.replace("NAME", name).replace("PARITY", if name == "k2_odd" { "1" } else { "0" })
}

/// The contents of a bundle, to be changed by tests before it is written.
pub struct Parts {
    pub header: PlanHeader,
    pub lists: [Vec<Dispatch>; list::COUNT],
    pub bindings: Vec<Binding>,
    pub kv_slots: Vec<KvSlot>,
    pub shaders: Vec<Shader>,
    pub spirv: Vec<u8>,
}

impl Parts {
    /// The toy as it should be.
    pub fn new() -> Self {
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
            kernel_count: SHADERS.len() as u32,
            device: device_kind::VULKAN,
            arena_bytes: ARENA,
            kv_bytes: KV,
            weights_bytes: WEIGHTS,
            token_ids: TOKEN_IDS,
            logits: LOGITS,
            picked: PICKED,
            parameters: 12,
            ..PlanHeader::EMPTY
        };
        let mut parts = Self {
            header,
            lists: Default::default(),
            bindings: Vec::new(),
            kv_slots: [0, CACHE]
                .map(|offset| KvSlot { offset, bytes: CACHE, position_bytes: 4, kind: kv_kind::FULL, positions: CTX, window: 0 })
                .into(),
            shaders: Vec::new(),
            spirv: Vec::new(),
        };
        for index in 0..SHADERS.len() {
            parts.add_shader(index);
        }
        let (arena, weights, kv) = (region::ARENA, region::WEIGHTS, region::KV);
        let rows = u64::from(CHUNK) * 4;
        let (ids, hidden) = ((arena, TOKEN_IDS, rows), (arena, HIDDEN, rows));
        let (even, odd, picked) = ((arena, EVEN, rows), (arena, ODD, rows), (arena, PICKED, 4));
        let (once, thrice) = ((kv, 0, CACHE), (kv, CACHE, CACHE));
        let table = (weights, TABLE, u64::from(VOCAB) * 4);
        let (low, high) = ((weights, BIAS_LOW, HALF), (weights, BIAS_HIGH, HALF));
        let logits = (arena, LOGITS, u64::from(HEAD_ROWS * VOCAB) * 4);
        let (logits_low, logits_high) = ((arena, LOGITS, HALF), (arena, LOGITS + HALF, HALF));
        for (list, tokens) in [(list::DECODE, Extent::fixed(1)), (list::CHUNK, Extent::tokens(16, CHUNK))] {
            parts.add(list, 0, &[ids, table, once, thrice], 0, [tokens, Extent::fixed(1)]);
            parts.add(list, 1, &[once, even], 0, [tokens, Extent::fixed(1)]);
            parts.add(list, 2, &[thrice, odd], dispatch_flag::BESIDE, [tokens, Extent::fixed(1)]);
            parts.add(list, 3, &[even, odd, hidden], 0, [tokens, Extent::fixed(1)]);
        }
        parts.add(list::HEAD_ONE, 4, &[hidden, low, logits_low], 0, [Extent::fixed(4), Extent::fixed(1)]);
        parts.add(list::HEAD_ONE, 4, &[hidden, high, logits_high], dispatch_flag::BESIDE, [Extent::fixed(4), Extent::fixed(1)]);
        parts.add(list::HEAD_ROWS, 5, &[hidden, low, high, logits], 0, [Extent::fixed(8), Extent::tokens(1, HEAD_ROWS)]);
        parts.add(list::ARGMAX, 6, &[logits_low_to_high(), picked], 0, [Extent::fixed(1), Extent::fixed(1)]);
        parts
    }

    fn add_shader(&mut self, index: usize) {
        let (name, parameters, lanes, shared, _) = SHADERS[index];
        self.add_module(name, parameters, lanes, shared, &spirv(&wgsl(index)));
    }

    /// Adds a shader with its module.
    pub fn add_module(&mut self, name: &str, parameters: &str, lanes: u32, shared: u32, module: &[u8]) {
        let mut entry = [0; 64];
        entry[..name.len()].copy_from_slice(name.as_bytes());
        let mask = |kind| (0..).zip(parameters.chars()).filter(|(_, c)| *c == kind).map(|(i, _)| 1 << i).sum();
        let mut workgroup_bytes = [0; 8];
        workgroup_bytes[0] = shared;
        self.shaders.push(Shader {
            offset: self.spirv.len() as u64,
            bytes: module.len() as u64,
            lanes,
            binding_count: parameters.len() as u32,
            reads: mask('r'),
            writes: mask('w'),
            step_slot: 0,
            workgroup_count: u32::from(shared > 0),
            workgroup_bytes,
            entry,
        });
        self.spirv.extend(module);
        self.header.kernel_count = self.shaders.len() as u32;
    }

    /// Adds a dispatch with its bindings (region, offset, bytes).
    pub fn add(&mut self, list: usize, kernel: u32, bindings: &[(u32, u64, u64)], flags: u32, [x, y]: [Extent; 2]) {
        let first_binding = self.bindings.len() as u32;
        self.bindings.extend(bindings.iter().map(|&(region, offset, len)| Binding { region, reserved: 0, offset, len }));
        let grid = [x, y, Extent::fixed(1)];
        self.lists[list].push(Dispatch { kernel, first_binding, binding_count: bindings.len() as u32, flags, grid });
    }

    /// The bytes of `plan.bin`.
    pub fn encode(&self, weights: &[u8]) -> Vec<u8> {
        let mut hashes = Vec::new();
        let files = [
            file(file_kind::WEIGHTS, weights, &mut hashes),
            file(file_kind::TOKENIZER, &[], &mut hashes),
            file(file_kind::KERNELS, &self.spirv, &mut hashes),
        ];
        let parts = PlanParts {
            header: self.header,
            lists: self.lists.each_ref().map(Vec::as_slice),
            bindings: &self.bindings,
            kv_slots: &self.kv_slots,
            files: &files,
            hashes: &hashes,
            shaders: &self.shaders,
        };
        let mut bytes = vec![0; encoded_bytes(&parts)];
        encode(&parts, &mut bytes);
        bytes
    }
}

fn logits_low_to_high() -> (u32, u64, u64) {
    (region::ARENA, LOGITS, 2 * HALF)
}

fn file(kind: u32, bytes: &[u8], hashes: &mut Vec<[u8; 32]>) -> FileEntry {
    let first_hash = hashes.len() as u32;
    hashes.extend(bytes.chunks(CHUNK_BYTES as usize).map(|piece| <[u8; 32]>::from(Sha256::digest(piece))));
    FileEntry {
        bytes: bytes.len() as u64,
        sha256: Sha256::digest(bytes).into(),
        first_hash,
        hash_count: hashes.len() as u32 - first_hash,
        ..FileEntry::absent(kind)
    }
}

/// A bundle in a folder of its own.
pub struct Toy {
    pub dir: tempfile::TempDir,
    pub weights: Vec<u8>,
}

impl Toy {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With a changed plan.
    pub fn with(change: impl FnOnce(&mut Parts)) -> Self {
        let mut parts = Parts::new();
        change(&mut parts);
        let dir = tempfile::tempdir().expect("a folder");
        let weights: Vec<u8> = (0..parts.header.weights_bytes as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(dir.path().join("weights.bin"), &weights).expect("weights");
        std::fs::write(dir.path().join("plan.bin"), parts.encode(&weights)).expect("plan");
        std::fs::write(dir.path().join("kernels.spv"), &parts.spirv).expect("kernels");
        Self { dir, weights }
    }

    /// A file of the bundle.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its mapped files.
    pub fn bundle(&self) -> Result<Bundle, Fault> {
        let dir = CString::new(self.dir.path().to_str().expect("UTF-8")).expect("no zero bytes");
        Model::open_files(&dir, kernels())
    }

    /// Runs `test` with the opened model.
    pub fn open<T>(&self, options: OpenOptions<'_>, test: impl FnOnce(&Model<'_>) -> T) -> Result<T, Fault> {
        let bundle = self.bundle()?;
        let model = Model::open(&bundle, kernels(), OpenOptions { threads: 2, ..options })?;
        Ok(test(&model))
    }

    fn word(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.weights[at as usize..at as usize + 4].try_into().expect("four bytes"))
    }

    /// What the toy must answer after `ids`: f32 [vocab].
    pub fn expected_logits(&self, ids: &[u32]) -> Vec<f32> {
        let hidden = (1u32..).zip(ids).fold(0u32, |sum, (at, &id)| {
            let value = self.word(TABLE + u64::from(id) * 4).wrapping_mul(if at % 2 == 1 { 1 } else { 3 });
            sum.wrapping_add(value.wrapping_mul(at))
        });
        (0..u64::from(VOCAB))
            .map(|v| if v < 128 { BIAS_LOW + v * 4 } else { BIAS_HIGH + (v - 128) * 4 })
            .map(|at| (hidden.wrapping_add(self.word(at)) % 1009) as f32)
            .collect()
    }

    /// The greedy answer of `n` tokens.
    pub fn expected_answer(&self, prompt: &[u32], n: usize) -> Vec<u32> {
        let mut tokens = prompt.to_vec();
        for _ in 0..n {
            let logits = self.expected_logits(&tokens);
            tokens.push((0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best }) as u32);
        }
        tokens.split_off(prompt.len())
    }
}

/// The message of a fault.
pub fn text(fault: &Fault) -> String {
    let mut buffer = [0; 512];
    let len = fault.write(&mut buffer);
    String::from_utf8(buffer[..len].to_vec()).expect("UTF-8")
}

/// Some token ids.
pub fn ids(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + 11) % VOCAB).collect()
}
