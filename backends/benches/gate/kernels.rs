//! The two kernels that take nearly all of a model's time, in kernel IR: the decode block loop and the prefill tile, for a
//! `q4g32` matrix of blocks of 16 rows (see `MatrixLayout`).
//!
//! Buffers of both: packed weights; activations i8 `[T, K]`, their scales f32 `[T, K/32]`, and start values i32
//! `[T, K/32]`, −8 · the group's sum, which stand for the offset of the unsigned nibbles; output f32 `[T, N]`.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, Kernel, KernelBuilder, Scalar, StepBounds, Type, ValueId};

/// Rows of a block.
pub const ROWS: u16 = 16;
/// Tokens of a prefill tile.
pub const TOKENS: u32 = 12;
/// Columns of a group.
const GROUP: u32 = 32;
/// Bytes of a group of a block: nibbles, then f16 scales.
const GROUP_BYTES: u32 = ROWS as u32 * GROUP / 2 + 2 * ROWS as u32;
/// Bytes of a vector of nibbles.
const VECTOR: u32 = 4 * ROWS as u32;
/// Groups between a use of weights and their prefetch.
const AHEAD: u32 = 16;

/// The buffers, in binding order.
struct Buffers {
    weights: BufId,
    acts: BufId,
    scales: BufId,
    starts: BufId,
    out: BufId,
}

fn buffers(k: &mut KernelBuilder, tokens: u32, rows: u32, cols: u32) -> Buffers {
    let groups = cols / GROUP;
    let byte = |s| Type::scalar(s);
    Buffers {
        weights: k.param("weights", byte(Scalar::U8), rows / u32::from(ROWS) * groups * GROUP_BYTES, Access::Read, 64),
        acts: k.param("acts", byte(Scalar::I8), tokens * cols, Access::Read, 64),
        scales: k.param("scales", byte(Scalar::F32), tokens * groups, Access::Read, 64),
        starts: k.param("starts", byte(Scalar::I32), tokens * groups, Access::Read, 64),
        out: k.param("out", byte(Scalar::F32), tokens * rows, Access::Write, 64),
    }
}

/// The byte at which group `g` of this tile's block starts.
fn group_start(k: &mut KernelBuilder, block: ValueId, g: ValueId, groups: u32) -> ValueId {
    let first = k.mul(block, groups);
    let group = k.add(first, g);
    k.mul(group, GROUP_BYTES)
}

/// One vector of nibbles as two of u8: the low ones (columns 8j + c) and the high ones (8j + 4 + c).
fn nibbles(k: &mut KernelBuilder, b: &Buffers, base: ValueId, j: u32) -> (ValueId, ValueId) {
    let at = k.add(base, j * VECTOR);
    let packed = k.load(Type::vector(Scalar::U8, 4 * ROWS), b.weights, at);
    let low = k.binary(BinaryOp::And, packed, 15u32);
    let high = k.binary(BinaryOp::Shr, packed, 4u32);
    (low, high)
}

/// The f16 scales of a group as f32.
fn scales(k: &mut KernelBuilder, b: &Buffers, base: ValueId) -> ValueId {
    let at = k.add(base, 4 * VECTOR);
    let halves = k.load(Type::vector(Scalar::F16, ROWS), b.weights, at);
    k.convert(halves, Scalar::F32)
}

/// Four activations for all rows.
fn quad(k: &mut KernelBuilder, b: &Buffers, first: ValueId, j: u32) -> ValueId {
    let at = k.add(first, 4 * j);
    let four = k.load(Type::vector(Scalar::I8, 4), b.acts, at);
    k.repeat(four, 4 * ROWS)
}

/// `acc + scale · float(Σ)` of a group for one token, given the eight vectors of unpacked weights.
fn group_sum(k: &mut KernelBuilder, b: &Buffers, token_group: ValueId, weights: &[(ValueId, ValueId)], scale: ValueId, acc: ValueId) -> ValueId {
    let start = k.load(Type::scalar(Scalar::I32), b.starts, token_group);
    let mut low = k.repeat(start, ROWS);
    let mut high = k.constant(Type::vector(Scalar::I32, ROWS), 0i32);
    let first = k.mul(token_group, GROUP);
    for (j, (even, odd)) in weights.iter().enumerate() {
        let a = quad(k, b, first, 2 * j as u32);
        low = k.dot4(low, *even, a, 15);
        let a = quad(k, b, first, 2 * j as u32 + 1);
        high = k.dot4(high, *odd, a, 15);
    }
    let sum = k.add(low, high);
    let sum = k.convert(sum, Scalar::F32);
    let of_token = k.load(Type::scalar(Scalar::F32), b.scales, token_group);
    let of_token = k.repeat(of_token, ROWS);
    let scale = k.mul(scale, of_token);
    k.fma(sum, scale, acc)
}

/// One token times the 16 rows of block x.
pub fn decode(name: &str, rows: u32, cols: u32) -> Kernel {
    let groups = cols / GROUP;
    let bounds = StepBounds { t: (1, 1), p: (0, 0), row: (0, 0) };
    let mut k = KernelBuilder::new(name, bounds, [rows / u32::from(ROWS), 1, 1]);
    let b = buffers(&mut k, 1, rows, cols);
    let block = k.builtin(Builtin::Grid(0));
    let floats = Type::vector(Scalar::F32, ROWS);
    let acc = k.var(floats, 0.0f32);
    k.for_(0u32, groups, 1, |k, g| {
        let base = group_start(k, block, g, groups);
        let weights: Vec<_> = (0..4).map(|j| nibbles(k, &b, base, j)).collect();
        for line in 0..4 {
            let soon = k.add(base, AHEAD * GROUP_BYTES + 64 * line);
            k.prefetch(b.weights, soon);
        }
        let scale = scales(k, &b, base);
        let now = k.get(acc);
        let now = group_sum(k, &b, g, &weights, scale, now);
        k.set(acc, now);
    });
    let row = k.mul(block, u32::from(ROWS));
    let sum = k.get(acc);
    k.store(b.out, row, sum);
    k.finish()
}

/// Tokens 12·y … 12·y + 11 times the 16 rows of block x; `tokens` is a multiple of 12.
pub fn prefill(name: &str, tokens: u32, rows: u32, cols: u32) -> Kernel {
    let groups = cols / GROUP;
    let bounds = StepBounds { t: (1, tokens), p: (0, 0), row: (0, 0) };
    let mut k = KernelBuilder::new(name, bounds, [rows / u32::from(ROWS), tokens / TOKENS, 1]);
    let b = buffers(&mut k, tokens, rows, cols);
    let block = k.builtin(Builtin::Grid(0));
    let tile = k.builtin(Builtin::Grid(1));
    let first_token = k.mul(tile, TOKENS);
    let floats = Type::vector(Scalar::F32, ROWS);
    let accs: Vec<_> = (0..TOKENS).map(|_| k.var(floats, 0.0f32)).collect();
    let first_group = k.mul(first_token, groups);
    k.for_(0u32, groups, 1, |k, g| {
        let base = group_start(k, block, g, groups);
        let weights: Vec<_> = (0..4).map(|j| nibbles(k, &b, base, j)).collect();
        let scale = scales(k, &b, base);
        for (t, acc) in accs.iter().enumerate() {
            let of_tile = k.add(first_group, g);
            let token_group = k.add(of_tile, t as u32 * groups);
            let now = k.get(*acc);
            let now = group_sum(k, &b, token_group, &weights, scale, now);
            k.set(*acc, now);
        }
    });
    let row = k.mul(block, u32::from(ROWS));
    for (t, acc) in accs.iter().enumerate() {
        let token = k.add(first_token, t as u32);
        let line = k.mul(token, rows);
        let at = k.add(line, row);
        let sum = k.get(*acc);
        k.store(b.out, at, sum);
    }
    k.finish()
}
