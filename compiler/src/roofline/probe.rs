//! A program that does nothing but what a processor has limits for: reading memory, byte dot products, float multiply-adds.
//!
//! It is kernel IR like a model's, so it takes the way through code generator and runtime that a bundle's kernels take: a limit that it
//! does not reach is one that they cannot reach either.

use slmc_ir::arena::Arena;
use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, Kernel, KernelBuilder, KernelModule, Scalar, StepBounds, Type, ValueId, VarId};
use slmc_ir::plan::{ArenaBuffer, Binding, Dispatch, Extent, Plan, Program};
use slmc_ir::target::Target;

/// Bytes that are read: more than caches hold.
const READ_BYTES: u32 = 256 << 20;
/// Tiles of each kernel.
const TILES: u32 = 256;
/// Bytes that a tile of the reading kernel reads.
const TILE_BYTES: u32 = READ_BYTES / TILES;
/// Vectors of operands that a tile of a computing kernel goes over, which stay in the first cache, and how often it does.
const VECTORS: u32 = 64;
/// See [`VECTORS`].
const PASSES: u32 = 4096;
/// Bytes of a tile's results.
const RESULT: u32 = 64;
/// What memory is filled with: small as a byte, and as four of them a float of middling size.
const BYTE: u8 = 0x3c;

/// The kernels by their numbers.
pub mod kernel {
    /// Writes memory.
    pub const PREPARE: usize = 0;
    /// Reads it.
    pub const READ: usize = 1;
    /// Byte dot products.
    pub const DOT: usize = 2;
    /// Float multiply-adds.
    pub const FMA: usize = 3;
}

/// The program for a target.
pub fn program(target: &Target) -> Program {
    let mut kernels = KernelModule::default();
    let mut arena = Arena::new();
    let mut buffer = |name: &str, bytes: u64, pinned| arena.push(ArenaBuffer { name: name.to_owned(), bytes, offset: 0, pinned });
    let tokens = buffer("tokens", 4, true);
    let logits = buffer("logits", 4, true);
    let data = buffer("data", READ_BYTES.into(), true);
    let results = buffer("results", u64::from(TILES * RESULT), true);
    let lanes = target.vector_bits / 32;
    let mut decode: Vec<Dispatch> = [prepare(lanes), read(lanes), dot(target), fma(target)]
        .into_iter()
        .map(|kernel| Dispatch {
            kernel: kernels.kernels.push(kernel),
            bindings: vec![Binding::Arena(data), Binding::Arena(results)],
            grid: [Extent::fixed(TILES), Extent::fixed(1), Extent::fixed(1)],
            beside: false,
        })
        .collect();
    // A runtime wants something in the lists of the head, and runs it after the body.
    let head = decode.split_off(1);
    let plan = Plan {
        chunk: 1,
        ctx: 64,
        vocab: 1,
        head_rows: 1,
        arena,
        arena_bytes: 0,
        kv: Vec::new(),
        kv_bytes: 0,
        packed: Arena::new(),
        weights_bytes: 0,
        tokens,
        logits,
        picked: None,
        decode,
        prefill: Vec::new(),
        head_one: head.clone(),
        head_many: head,
        argmax: Vec::new(),
    };
    Program { kernels, plan: Some(plan) }
}

/// A kernel over the tiles with the buffers that all have: data and results.
fn over_tiles(name: &str, elem: Type, access: [Access; 2], body: impl FnOnce(&mut KernelBuilder, BufId, BufId, ValueId)) -> Kernel {
    let bounds = StepBounds { t: (1, 1), p: (0, 63), row: (0, 0) };
    let mut b = KernelBuilder::new(name, bounds, [TILES, 1, 1]);
    let data = b.param("data", elem, READ_BYTES / elem.bytes(), access[0], 64);
    let results = b.param("results", Type::scalar(Scalar::I32), TILES * RESULT / 4, access[1], 64);
    let tile = b.builtin(Builtin::Grid(0));
    body(&mut b, data, results, tile);
    b.finish()
}

/// Writes small numbers everywhere, so that every page is there.
fn prepare(lanes: u16) -> Kernel {
    let vec = Type::vector(Scalar::I32, lanes);
    over_tiles("prepare", Type::scalar(Scalar::I32), [Access::Write; 2], |b, data, results, tile| {
        let start = b.mul(tile, TILE_BYTES / 4);
        let filling = b.constant(vec, i32::from_le_bytes([BYTE; 4]));
        b.for_(0u32, TILE_BYTES / 4, lanes.into(), |b, i| {
            let at = b.add(start, i);
            b.store(data, at, filling);
        });
        let at = b.mul(tile, RESULT / 4);
        b.for_(0u32, RESULT / 4, lanes.into(), |b, i| {
            let at = b.add(at, i);
            b.store(results, at, filling);
        });
    })
}

/// Reads a tile's share, eight registers at a time.
fn read(lanes: u16) -> Kernel {
    const REGISTERS: u32 = 8;
    let vec = Type::vector(Scalar::I32, lanes);
    over_tiles("read", Type::scalar(Scalar::I32), [Access::Read, Access::Write], |b, data, results, tile| {
        let start = b.mul(tile, TILE_BYTES / 4);
        let sums: Vec<_> = (0..REGISTERS).map(|_| b.var(vec, 0i32)).collect();
        b.for_(0u32, TILE_BYTES / 4, REGISTERS * u32::from(lanes), |b, i| {
            let at = b.add(start, i);
            for (r, &sum) in (0..).zip(&sums) {
                let at = b.add(at, r * u32::from(lanes));
                let more = b.load(vec, data, at);
                let old = b.get(sum);
                let new = b.binary(BinaryOp::Xor, old, more);
                b.set(sum, new);
            }
        });
        store(b, results, tile, &sums, |b, a, c| b.binary(BinaryOp::Xor, a, c));
    })
}

/// Accumulators that hide the latency of a multiply-add and leave registers for operands.
fn accumulators(target: &Target) -> u32 {
    if target.vector_registers >= 32 { 16 } else { 8 }
}

/// Dot products of weights that come from the first cache with activations in a register, as the matrix kernels of a prompt do.
fn dot(target: &Target) -> Kernel {
    let lanes = target.vector_bits / 32;
    let (vec, bytes) = (Type::vector(Scalar::I32, lanes), 4 * lanes);
    over_tiles("dot", Type::scalar(Scalar::U8), [Access::Read, Access::Write], |b, data, results, tile| {
        let sums: Vec<_> = (0..accumulators(target)).map(|_| b.var(vec, 0i32)).collect();
        let x = b.load(Type::vector(Scalar::U8, bytes), data, 0u32);
        let x = b.bitcast(x, Type::vector(Scalar::I8, bytes));
        over_codes(b, &sums, u32::from(bytes), |b, at, old| {
            let w = b.load(Type::vector(Scalar::U8, bytes), data, at);
            b.dot4(old, w, x, BYTE)
        });
        store(b, results, tile, &sums, |b, a, c| b.add(a, c));
    })
}

/// Multiply-adds of floats, likewise.
fn fma(target: &Target) -> Kernel {
    let lanes = target.vector_bits / 32;
    let vec = Type::vector(Scalar::F32, lanes);
    over_tiles("fma", Type::scalar(Scalar::F32), [Access::Read, Access::Write], |b, data, results, tile| {
        let sums: Vec<_> = (0..accumulators(target)).map(|_| b.var(vec, 0.0f32)).collect();
        let x = b.load(vec, data, 0u32);
        over_codes(b, &sums, u32::from(lanes), |b, at, old| {
            let w = b.load(vec, data, at);
            b.fma(w, x, old)
        });
        store(b, results, tile, &sums, |b, a, c| b.add(a, c));
    })
}

/// [`PASSES`] passes over [`VECTORS`] vectors of `width` elements, dealt to the accumulators.
fn over_codes(b: &mut KernelBuilder, sums: &[VarId], width: u32, step: impl Fn(&mut KernelBuilder, ValueId, ValueId) -> ValueId) {
    b.for_(0u32, PASSES, 1, |b, _| {
        b.for_(0u32, VECTORS, sums.len() as u32, |b, v| {
            for (i, &sum) in (0..).zip(sums) {
                let at = b.add(v, i);
                let at = b.mul(at, width);
                let old = b.get(sum);
                let new = step(b, at, old);
                b.set(sum, new);
            }
        });
    });
}

/// Joins the accumulators to a tile's result.
fn store(b: &mut KernelBuilder, results: BufId, tile: ValueId, sums: &[VarId], join: impl Fn(&mut KernelBuilder, ValueId, ValueId) -> ValueId) {
    let mut total = b.get(sums[0]);
    for &sum in &sums[1..] {
        let more = b.get(sum);
        total = join(b, total, more);
    }
    let lanes = b.ty(total).lanes;
    let total = b.bitcast(total, Type::vector(Scalar::I32, lanes));
    let at = b.mul(tile, RESULT / 4);
    b.store(results, at, total);
}
