//! The binary contract between `slmc`, which writes `plan.bin` and the kernels object, and the stub, which runs them.
//!
//! `plan.bin` is: [`PlanHeader`], then the sections it points at, then 32 bytes of SHA-256 over everything before.
//! Records are little endian, without padding, each section starting on a multiple of 8. [`crate::plan_encode`]
//! writes the whole file from slices; the stub reads and checks it.
//!
//! The kernels object holds two hidden symbols that the stub links against: `slmc_code`, a [`CodeHeader`], and
//! `slmc_kernels`, an array of [`CodeHeader::kernel_count`] pointers of type [`KernelFn`]. A plan and a code belong
//! together only if their code ids are equal.
//!
//! Versioning: a change of any record or of the meaning of a field raises [`ABI_VERSION`]; a number added at the end of its
//! list (a feature bit, a kind of device, an error code) does not, as the stub refuses those it does not know. The stub
//! runs exactly its own version, as stub and plan travel in one bundle.

use crate::wire::record;

/// The version of everything in this file.
pub const ABI_VERSION: u32 = 1;

/// The first eight bytes of `plan.bin`.
pub const PLAN_MAGIC: [u8; 8] = *b"SLMPLAN\0";

/// The first eight bytes of the code header `slmc_code`.
pub const CODE_MAGIC: [u8; 8] = *b"SLMCODE\0";

/// Bytes of the SHA-256 that ends `plan.bin`.
pub const PLAN_HASH_BYTES: usize = 32;

/// Bytes of one hashed piece of `weights.bin`; its last piece may be shorter.
pub const CHUNK_BYTES: u32 = 1 << 20;

/// Rows of hidden states that one run of the head turns into logits, at most.
pub const HEAD_ROWS: u32 = 8;

/// Tiles of one dispatch, at most: the product of the three [`Extent::max`] must not exceed it.
pub const MAX_TILES: u32 = (1 << 24) - 1;

/// [`PlanHeader::picked`] of a plan without [`list::ARGMAX`].
pub const NO_PICK: u64 = u64::MAX;

/// Alignment of sections in `plan.bin`, bytes.
pub const SECTION_ALIGN: u64 = 8;

/// CPU features that code may require, as bits of [`PlanHeader::features`] and [`CodeHeader::features`].
pub mod feature {
    /// x86-64 AVX2.
    pub const AVX2: u64 = 1 << 0;
    /// x86-64 FMA3.
    pub const FMA: u64 = 1 << 1;
    /// x86-64 F16C, conversions between f16 and f32.
    pub const F16C: u64 = 1 << 2;
    /// x86-64 AVX-512 foundation.
    pub const AVX512F: u64 = 1 << 3;
    /// x86-64 AVX-512 bytes and words.
    pub const AVX512BW: u64 = 1 << 4;
    /// x86-64 AVX-512 on 128- and 256-bit vectors.
    pub const AVX512VL: u64 = 1 << 5;
    /// x86-64 AVX-512 double and quad words.
    pub const AVX512DQ: u64 = 1 << 6;
    /// x86-64 AVX-512 VNNI, u8·i8 dot products.
    pub const AVX512VNNI: u64 = 1 << 7;
    /// arm64 dot products (sdot, udot).
    pub const DOTPROD: u64 = 1 << 32;
    /// arm64 int8 matrix multiply (smmla, usdot).
    pub const I8MM: u64 = 1 << 33;
    /// arm64 half-precision arithmetic.
    pub const FP16: u64 = 1 << 34;

    /// Every bit with the name it has in messages and target strings.
    pub const NAMES: &[(u64, &str)] = &[
        (AVX2, "avx2"),
        (FMA, "fma"),
        (F16C, "f16c"),
        (AVX512F, "avx512f"),
        (AVX512BW, "avx512bw"),
        (AVX512VL, "avx512vl"),
        (AVX512DQ, "avx512dq"),
        (AVX512VNNI, "avx512vnni"),
        (DOTPROD, "dotprod"),
        (I8MM, "i8mm"),
        (FP16, "fp16"),
    ];
}

/// What runs the kernels, as [`PlanHeader::device`].
pub mod device_kind {
    /// The processor, with the functions of `slmc_kernels`.
    pub const CPU: u32 = 0;
    /// A Vulkan 1.1 device, with the SPIR-V modules in `kernels.spv`.
    pub const VULKAN: u32 = 1;
    /// A Metal device, with the source text `kernels.metal`.
    pub const METAL: u32 = 2;
}

/// GPU features that shaders may require, as bits of [`PlanHeader::device_features`].
pub mod device_feature {
    /// Arithmetic over the lanes of a subgroup.
    pub const SUBGROUP: u64 = 1 << 0;
    /// Half-precision arithmetic and 16-bit values in buffers.
    pub const F16: u64 = 1 << 1;
    /// Dot products of four packed 8-bit integers.
    pub const INT_DOT: u64 = 1 << 2;

    /// Every bit with the name it has in messages and target strings.
    pub const NAMES: &[(u64, &str)] = &[(SUBGROUP, "subgroups"), (F16, "f16"), (INT_DOT, "int_dot")];
}

/// Flags of a dispatch, as bits of [`Dispatch::flags`].
pub mod dispatch_flag {
    /// The dispatch may run beside those before it, back to the last one without this flag and including that one: no
    /// byte that one of them writes is touched by another. Never set on the first dispatch of a list. Without the flag
    /// a dispatch starts when all before it are done. CPUs run one dispatch after another and ignore the flag.
    pub const BESIDE: u32 = 1;
}

/// Workgroups along one axis of a dispatch on a GPU, at most.
pub const MAX_WORKGROUPS: u32 = 65_535;

/// Alignment of binding offsets in plans for GPUs, bytes.
pub const DEVICE_ALIGN: u64 = 256;

/// Parameters of a shader, at most: the bits of [`Shader::reads`].
pub const MAX_PARAMETERS: u32 = 32;

/// Workgroup arrays of a shader, at most.
pub const MAX_WORKGROUP_ARRAYS: u32 = 8;

/// Memory that a binding points into, as [`Binding::region`].
pub mod region {
    /// The session's activations, `arena_bytes` long: read and written. Its contents outlive a step only where the
    /// plan itself keeps them (token ids, hidden states of the body, logits).
    pub const ARENA: u32 = 0;
    /// `weights.bin`, mapped read-only: a kernel that writes there faults.
    pub const WEIGHTS: u32 = 1;
    /// The session's KV cache, `kv_bytes` long: zero when a session opens, then whatever kernels wrote.
    pub const KV: u32 = 2;
}

/// How a KV slot lays out positions, as [`KvSlot::kind`].
pub mod kv_kind {
    /// One place for each of the `ctx` positions; rewinding moves the position and nothing else.
    pub const FULL: u32 = 0;
    /// A ring shorter than `ctx`: position p lies in place p mod positions. A session can go back as far as the places of
    /// the window before the new position were not used again, and to position 0.
    pub const RING: u32 = 1;
}

/// Files the plan vouches for, as [`FileEntry::kind`].
pub mod file_kind {
    /// `weights.bin`.
    pub const WEIGHTS: u32 = 0;
    /// `tokenizer.bin`; absent from bundles without text (then its entry has 0 bytes and no file is looked for).
    pub const TOKENIZER: u32 = 1;
    /// The shaders of a bundle for a GPU, `kernels.spv` or `kernels.metal` ([`super::device_kind`]); absent on CPUs.
    pub const KERNELS: u32 = 2;
}

/// Dispatch lists of a plan, as indices into [`PlanHeader::lists`].
pub mod list {
    /// The body for one token: T = 1.
    pub const DECODE: usize = 0;
    /// The body for T = 2 ..= chunk tokens; empty if chunk is 1.
    pub const CHUNK: usize = 1;
    /// The head for one row.
    pub const HEAD_ONE: usize = 2;
    /// The head for 2 ..= [`super::HEAD_ROWS`] rows.
    pub const HEAD_ROWS: usize = 3;
    /// After [`HEAD_ONE`]: writes the id of the greatest logit of row 0 to [`super::PlanHeader::picked`], ties to the
    /// lower id. Empty where the device has no such kernel.
    pub const ARGMAX: usize = 4;
    /// Number of lists.
    pub const COUNT: usize = 5;
}

record! {
    /// A run of records in `plan.bin`.
    pub struct Section: 16 bytes {
        /// Byte offset of the first record from the start of the file, a multiple of [`SECTION_ALIGN`].
        pub offset: u64,
        /// Number of records.
        pub count: u32,
        /// 0.
        pub reserved: u32,
    }
}

record! {
    /// The start of `plan.bin`.
    pub struct PlanHeader: 416 bytes {
        /// [`PLAN_MAGIC`].
        pub magic: [u8; 8],
        /// [`ABI_VERSION`].
        pub abi_version: u32,
        /// Bytes of this header.
        pub header_bytes: u32,
        /// Bytes of the whole file, the closing hash included.
        pub total_bytes: u64,
        /// CPU features the kernels need, bits of [`feature`]; equal to [`CodeHeader::features`].
        pub features: u64,
        /// GPU features the shaders need, bits of [`device_feature`].
        pub device_features: u64,
        /// Equal to [`CodeHeader::code_id`]: SHA-256 the compiler takes over the kernels it generated.
        pub code_id: [u8; 32],
        /// Identity of the bundle, reported and never recomputed here: SHA-256 of the canonical manifest without its
        /// entry for `plan.bin` and its own digest (the two files cannot hold each other's hash).
        pub manifest_digest: [u8; 32],
        /// Name of the model, UTF-8, filled up with zero bytes; at least one zero.
        pub name: [u8; 64],
        /// Positions a session can hold: P + T ≤ ctx.
        pub ctx: u32,
        /// Tokens of one step, at most; 1 ..= ctx.
        pub chunk: u32,
        /// Vocabulary: every token id is below it, and a row of logits has this many values.
        pub vocab: u32,
        /// [`HEAD_ROWS`], or fewer if chunk is smaller: rows of one head run, at most.
        pub head_rows: u32,
        /// Page size the sections of `weights.bin` are aligned to, bytes, a power of two.
        pub page_bytes: u32,
        /// Threads to use when the caller gives none; 0 = one a core.
        pub threads: u32,
        /// Number of kernels: on CPUs equal to [`CodeHeader::kernel_count`], on GPUs to the number of shaders (and the
        /// code has none).
        pub kernel_count: u32,
        /// What runs the kernels, one of [`device_kind`].
        pub device: u32,
        /// Bytes of a session's arena.
        pub arena_bytes: u64,
        /// Bytes of a session's KV cache.
        pub kv_bytes: u64,
        /// Bytes of `weights.bin`.
        pub weights_bytes: u64,
        /// Arena offset of the input token ids, `u32 [chunk]`; a multiple of 4.
        pub token_ids: u64,
        /// Arena offset of the logits, f32 [head_rows, vocab]; a multiple of 4.
        pub logits: u64,
        /// Arena offset of the id that [`list::ARGMAX`] picks, a u32; a multiple of 4. [`NO_PICK`] = there is none.
        pub picked: u64,
        /// Dispatch lists, sections of [`Dispatch`], in the order of [`list`].
        pub lists: [Section; 5],
        /// Section of [`Binding`].
        pub bindings: Section,
        /// Section of [`KvSlot`].
        pub kv_slots: Section,
        /// Section of [`FileEntry`]: weights, tokenizer, kernels.
        pub files: Section,
        /// Section of SHA-256 hashes, 32 bytes each: the pieces of every hashed file.
        pub hashes: Section,
        /// Section of [`Shader`]; empty on CPUs.
        pub shaders: Section,
        /// Parameters of the model before packing, for reports.
        pub parameters: u64,
    }
}

record! {
    /// One kernel run over a grid of tiles (on GPUs, workgroups). Dispatches of a list run one after another, each after
    /// all tiles of the one before unless [`dispatch_flag::BESIDE`] allows otherwise; tiles of one dispatch run in any order and at the same time.
    pub struct Dispatch: 76 bytes {
        /// Index into `slmc_kernels`, or on GPUs into the plan's shaders.
        pub kernel: u32,
        /// First binding, an index into the plan's bindings.
        pub first_binding: u32,
        /// Number of bindings, handed to the kernel in this order.
        pub binding_count: u32,
        /// Bits of [`dispatch_flag`].
        pub flags: u32,
        /// Tiles along x (fastest), y and z. Neighbouring tiles go to one thread, so x should walk memory in order.
        pub grid: [Extent; 3],
    }
}

record! {
    /// Tiles along one axis: `clamp(ceil((a·T + b·P + c) / d), 0, max)`, computed in 64 bits.
    pub struct Extent: 20 bytes {
        /// Factor of T, the tokens of the step (rows of the run, in the head lists).
        pub a: i32,
        /// Factor of P, [`Step::p`].
        pub b: i32,
        /// Constant.
        pub c: i32,
        /// Divisor, at least 1.
        pub d: u32,
        /// Upper bound under the bounds of T and P.
        pub max: u32,
    }
}

record! {
    /// A kernel argument: bytes `offset .. offset + len` of a region.
    pub struct Binding: 24 bytes {
        /// One of [`region`].
        pub region: u32,
        /// 0.
        pub reserved: u32,
        /// Byte offset in the region. Its alignment is the compiler's promise to its kernels; on GPUs a multiple of
        /// [`DEVICE_ALIGN`].
        pub offset: u64,
        /// Bytes the kernel may touch; the stub checks that they lie inside the region.
        pub len: u64,
    }
}

record! {
    /// One cache (keys or values of one layer) inside the KV region.
    pub struct KvSlot: 32 bytes {
        /// Byte offset in the KV region.
        pub offset: u64,
        /// Bytes of the slot.
        pub bytes: u64,
        /// Bytes that one position takes.
        pub position_bytes: u32,
        /// One of [`kv_kind`].
        pub kind: u32,
        /// Positions it holds: ctx, or the length of the ring, at least window + chunk − 1.
        pub positions: u32,
        /// Positions that a token sees, itself included, of a ring; else 0.
        pub window: u32,
    }
}

record! {
    /// A file of the bundle that the stub maps, with the hashes of its pieces.
    pub struct FileEntry: 64 bytes {
        /// One of [`file_kind`].
        pub kind: u32,
        /// Bytes of a piece; [`CHUNK_BYTES`].
        pub chunk_bytes: u32,
        /// Bytes of the file; 0 = the bundle has no such file.
        pub bytes: u64,
        /// SHA-256 of the whole file, as in the manifest; reported, not computed by the stub.
        pub sha256: [u8; 32],
        /// First piece, an index into the plan's hashes.
        pub first_hash: u32,
        /// Number of pieces: `ceil(bytes / chunk_bytes)`.
        pub hash_count: u32,
        /// 0.
        pub reserved: u64,
    }
}

record! {
    /// One compute shader of the kernels file.
    ///
    /// Parameter i is binding i of descriptor set 0 (Vulkan) or buffer slot i (Metal). The [`Step`] comes as 16 bytes of
    /// push constants (Vulkan) or in buffer slot `step_slot` (Metal).
    pub struct Shader: 136 bytes {
        /// Byte offset of its module in the kernels file, a multiple of 4.
        pub offset: u64,
        /// Bytes of the module, a multiple of 4 on Vulkan.
        pub bytes: u64,
        /// Invocations of a workgroup, all along x.
        pub lanes: u32,
        /// Number of parameters, at most [`MAX_PARAMETERS`].
        pub binding_count: u32,
        /// Bit i: it reads parameter i.
        pub reads: u32,
        /// Bit i: it writes parameter i; never one that is bound to the weights.
        pub writes: u32,
        /// Metal: the buffer slot of the [`Step`].
        pub step_slot: u32,
        /// Number of workgroup arrays, at most [`MAX_WORKGROUP_ARRAYS`].
        pub workgroup_count: u32,
        /// Bytes of each workgroup array in the order of Metal's threadgroup slots, multiples of 16.
        pub workgroup_bytes: [u32; 8],
        /// Name of the entry point, UTF-8, filled up with zero bytes; at least one zero.
        pub entry: [u8; 64],
    }
}

record! {
    /// The symbol `slmc_code` of the kernels object.
    pub struct CodeHeader: 64 bytes {
        /// [`CODE_MAGIC`].
        pub magic: [u8; 8],
        /// [`ABI_VERSION`].
        pub abi_version: u32,
        /// Entries of `slmc_kernels`.
        pub kernel_count: u32,
        /// CPU features the kernels need, bits of [`feature`].
        pub features: u64,
        /// SHA-256 the compiler takes over the kernels it generated.
        pub code_id: [u8; 32],
        /// 0.
        pub reserved: u64,
    }
}

record! {
    /// What a kernel reads about the step: 16 bytes, the same on GPUs.
    pub struct Step: 16 bytes {
        /// T: tokens of this step (1 ..= chunk). In the head lists, rows of this run (1 ..= head_rows).
        pub t: u32,
        /// P: positions in the cache before this step. In the head lists, after the step whose rows they read.
        pub p: u32,
        /// In the head lists, the first row of the body's hidden states that the run reads; 0 in the body.
        pub row: u32,
        /// 0.
        pub reserved: u32,
    }
}

/// A generated kernel: computes tile (x, y, z) of its grid.
///
/// `bindings` has one pointer for each binding of the dispatch; kernels never write through a weights pointer and
/// stay inside each binding's length. The function touches no other memory, calls nothing, keeps no state and may run
/// on any number of threads at once for different tiles.
pub type KernelFn = unsafe extern "C" fn(bindings: *const *mut u8, step: *const Step, x: u32, y: u32, z: u32);

impl Extent {
    /// `n` tiles, whatever T and P are; `n` is at most [`MAX_TILES`].
    pub const fn fixed(n: u32) -> Self {
        Self { a: 0, b: 0, c: n as i32, d: 1, max: n }
    }

    /// One tile for each `tile` tokens of the step, with `max_t` tokens at most.
    pub const fn tokens(tile: u32, max_t: u32) -> Self {
        Self { a: 1, b: 0, c: 0, d: tile, max: max_t.div_ceil(tile) }
    }

    /// Tiles in a step of `t` tokens at position `p`. A divisor of 0 counts as 1.
    #[inline]
    pub fn tiles(&self, t: u32, p: u32) -> u32 {
        let sum = i64::from(self.a) * i64::from(t) + i64::from(self.b) * i64::from(p) + i64::from(self.c);
        if sum <= 0 {
            return 0;
        }
        let tiles = (sum as u64).div_ceil(u64::from(self.d.max(1)));
        tiles.min(u64::from(self.max)) as u32
    }
}

impl Section {
    /// An empty section.
    pub const EMPTY: Self = Self { offset: 0, count: 0, reserved: 0 };
}

impl Shader {
    /// The entry point's name: [`Shader::entry`] up to its first zero byte, empty if it is not UTF-8.
    pub fn entry_text(&self) -> &str {
        text_of(&self.entry)
    }

    /// Bytes of all workgroup arrays together.
    pub fn workgroup_total(&self) -> u64 {
        self.workgroup_bytes.iter().map(|&bytes| u64::from(bytes)).sum()
    }
}

impl FileEntry {
    /// An entry for a file the bundle does not have.
    pub const fn absent(kind: u32) -> Self {
        Self { kind, chunk_bytes: CHUNK_BYTES, bytes: 0, sha256: [0; 32], first_hash: 0, hash_count: 0, reserved: 0 }
    }
}

impl PlanHeader {
    /// Bytes of the header.
    pub const BYTES: usize = 416;

    /// A header of zeros, to be filled in by struct update.
    pub const EMPTY: Self = Self {
        magic: PLAN_MAGIC,
        abi_version: ABI_VERSION,
        header_bytes: Self::BYTES as u32,
        total_bytes: 0,
        features: 0,
        device_features: 0,
        code_id: [0; 32],
        manifest_digest: [0; 32],
        name: [0; 64],
        ctx: 0,
        chunk: 0,
        vocab: 0,
        head_rows: 0,
        page_bytes: 0,
        threads: 0,
        kernel_count: 0,
        device: device_kind::CPU,
        arena_bytes: 0,
        kv_bytes: 0,
        weights_bytes: 0,
        token_ids: 0,
        logits: 0,
        picked: NO_PICK,
        lists: [Section::EMPTY; list::COUNT],
        bindings: Section::EMPTY,
        kv_slots: Section::EMPTY,
        files: Section::EMPTY,
        hashes: Section::EMPTY,
        shaders: Section::EMPTY,
        parameters: 0,
    };

    /// The model's name: [`PlanHeader::name`] up to its first zero byte, empty if it is not UTF-8.
    pub fn name_text(&self) -> &str {
        text_of(&self.name)
    }
}

/// A field of text up to its first zero byte, empty if it is not UTF-8.
fn text_of(field: &[u8]) -> &str {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    core::str::from_utf8(&field[..end]).unwrap_or("")
}
