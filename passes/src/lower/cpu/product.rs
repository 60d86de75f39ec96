//! Inner loops of the matrix kernels: one block of rows times a few tokens.
//!
//! For quantized weights the integer sums of a group are formed by `dot4` over all lanes with no horizontal sum; the offset of
//! unsigned values enters as the start value, which the producer of the activations computed (`−8·Σa`). Scales are applied
//! in vectors.

use slmc_ir::graph::DType;
use slmc_ir::kernel::{BinaryOp, BufId, KernelBuilder, Scalar, Type, ValueId};
use slmc_ir::plan::MatrixLayout;

use super::activation::ActParams;
use super::schedule::Schedule;
use crate::lower::activation::GROUP;
use crate::lower::codes::{code_offset, max_code};

/// One block of rows times `tokens` rows of activations.
#[derive(Debug)]
pub struct Product<'a> {
    /// How the matrix lies in memory.
    pub layout: MatrixLayout,
    /// Columns, as packed.
    pub k: u32,
    /// The matrix parameter.
    pub weights: BufId,
    /// The activations.
    pub act: &'a ActParams,
    /// Tokens computed together.
    pub tokens: u32,
    /// Prefetch distance in groups; 0 for none.
    pub prefetch_groups: u32,
}

impl Product<'_> {
    /// Element type of the matrix parameter.
    pub fn weight_elem(layout: &MatrixLayout) -> Type {
        match layout.dtype {
            DType::F32 => Type::scalar(Scalar::F32),
            DType::F16 => Type::scalar(Scalar::F16),
            DType::Bf16 => Type::scalar(Scalar::Bf16),
            DType::Q4 { .. } | DType::Q6 | DType::Q8 | DType::A8 | DType::U32 => Type::scalar(Scalar::U8),
        }
    }

    /// Elements of the matrix parameter that one block takes.
    pub fn block_elems(layout: &MatrixLayout, k: u32) -> u32 {
        (layout.block_bytes(k) / u64::from(Self::weight_elem(layout).bytes())) as u32
    }

    /// Emits the loop over K. `block` is the block's index, `row` the first token's row of the activations. Gives one
    /// f32 vector of row sums per token.
    pub fn emit(&self, b: &mut KernelBuilder, sched: &Schedule, block: ValueId, row: ValueId) -> Vec<ValueId> {
        let start = b.mul(block, Self::block_elems(&self.layout, self.k));
        match self.act {
            ActParams::A8 { .. } => self.emit_quantized(b, sched, start, row),
            ActParams::F32 { x } => self.emit_float(b, sched, *x, start, row),
        }
    }

    fn emit_float(&self, b: &mut KernelBuilder, sched: &Schedule, x: BufId, start: ValueId, row: ValueId) -> Vec<ValueId> {
        let lanes = sched.lanes;
        let vec = Type::vector(Scalar::F32, lanes);
        let wty = Type::vector(Self::weight_elem(&self.layout).scalar, lanes);
        let ActParams::F32 { .. } = self.act else { unreachable!("invariant: float activations") };
        let stride = self.k.next_multiple_of(GROUP);
        // One token has too few sums in flight to hide the latency of fma; its columns are dealt to several sums.
        let step = super::schedule::divisor_at_most(self.k, 4);
        let parts = if self.tokens == 1 { step } else { 1 };
        let sums: Vec<_> = (0..self.tokens * parts).map(|_| b.var(vec, 0.0f32)).collect();
        let x0 = b.mul(row, stride);
        b.for_(0u32, self.k, step, |b, k| {
            let w0 = b.mul(k, u32::from(lanes));
            let w0 = b.add(start, w0);
            let xk = b.add(x0, k);
            for i in 0..step {
                let wi = b.add(w0, i * u32::from(lanes));
                let mut w = b.load(wty, self.weights, wi);
                if wty != vec {
                    w = b.convert(w, Scalar::F32);
                }
                for t in 0..self.tokens {
                    let xi = b.add(xk, t * stride + i);
                    let a = b.load(Type::scalar(Scalar::F32), x, xi);
                    let a = b.repeat(a, lanes);
                    let sum = sums[(t * parts + i % parts) as usize];
                    let old = b.get(sum);
                    let new = b.fma(w, a, old);
                    b.set(sum, new);
                }
            }
        });
        (0..self.tokens)
            .map(|t| {
                let mut total = b.get(sums[(t * parts) as usize]);
                for i in 1..parts {
                    let part = b.get(sums[(t * parts + i) as usize]);
                    total = b.add(total, part);
                }
                total
            })
            .collect()
    }

    fn emit_quantized(&self, b: &mut KernelBuilder, sched: &Schedule, start: ValueId, row: ValueId) -> Vec<ValueId> {
        let ActParams::A8 { q, s, z } = *self.act else { unreachable!("invariant: quantized activations") };
        let lanes = sched.lanes;
        let vec = Type::vector(Scalar::F32, lanes);
        let ivec = Type::vector(Scalar::I32, lanes);
        let group = self.layout.group();
        let group_bytes = self.layout.group_bytes();
        let parts = group / GROUP;
        let part_bytes = (group_bytes - 2 * u32::from(lanes)) / parts;
        let scale_groups = self.k / GROUP;
        let sums: Vec<_> = (0..self.tokens).map(|_| b.var(vec, 0.0f32)).collect();
        let q0 = b.mul(row, self.k);
        let s0 = b.mul(row, scale_groups);
        b.for_(0u32, self.k / group, 1, |b, g| {
            let p = b.mul(g, group_bytes);
            let p = b.add(start, p);
            let qg = b.mul(g, group);
            let qg = b.add(q0, qg);
            let sg = b.mul(g, parts);
            let sg = b.add(s0, sg);
            let scale_at = b.add(p, parts * part_bytes);
            let scale = b.load(Type::vector(Scalar::F16, lanes), self.weights, scale_at);
            let scale = b.convert(scale, Scalar::F32);
            if self.prefetch_groups > 0 {
                for line in 0..group_bytes.div_ceil(64) {
                    let ahead = b.add(p, self.prefetch_groups * group_bytes + line * 64);
                    b.prefetch(self.weights, ahead);
                }
            }
            for part in 0..parts {
                let mut unpack = Unpack::new(self.layout, self.weights, p, part * part_bytes);
                let held: Vec<ValueId> = if sched.hold_weights { (0..8).map(|m| unpack.columns(b, m)).collect() } else { Vec::new() };
                let start_of = |b: &mut KernelBuilder, t: u32| {
                    if code_offset(&self.layout) == 0 {
                        return b.constant(ivec, 0i32);
                    }
                    let at = b.add(sg, t * scale_groups + part);
                    let z = b.load(Type::scalar(Scalar::I32), z, at);
                    let shift = (code_offset(&self.layout) / 8).trailing_zeros();
                    let z = if shift > 0 { b.binary(BinaryOp::Shl, z, shift) } else { z };
                    b.repeat(z, lanes)
                };
                let quad = |b: &mut KernelBuilder, t: u32, m: u32| {
                    let at = b.add(qg, t * self.k + part * GROUP + 4 * m);
                    let a = b.load(Type::vector(Scalar::I8, 4), q, at);
                    b.repeat(a, 4 * lanes)
                };
                let finish = |b: &mut KernelBuilder, t: u32, int: ValueId| {
                    let at = b.add(sg, t * scale_groups + part);
                    let sa = b.load(Type::scalar(Scalar::F32), s, at);
                    let sa = b.repeat(sa, lanes);
                    let sa = b.mul(scale, sa);
                    let f = b.convert(int, Scalar::F32);
                    let old = b.get(sums[t as usize]);
                    let new = b.fma(f, sa, old);
                    b.set(sums[t as usize], new);
                };
                if sched.hold_weights {
                    for t in 0..self.tokens {
                        let mut even = start_of(b, t);
                        let mut odd = b.constant(ivec, 0i32);
                        for m in 0..8 {
                            let a = quad(b, t, m);
                            let acc = if m % 2 == 0 { &mut even } else { &mut odd };
                            *acc = b.dot4(*acc, held[m as usize], a, max_code(&self.layout));
                        }
                        let int = b.add(even, odd);
                        finish(b, t, int);
                    }
                } else {
                    let mut ints: Vec<ValueId> = (0..self.tokens).map(|t| start_of(b, t)).collect();
                    for m in 0..8 {
                        let w = unpack.columns(b, m);
                        for t in 0..self.tokens {
                            let a = quad(b, t, m);
                            ints[t as usize] = b.dot4(ints[t as usize], w, a, max_code(&self.layout));
                        }
                    }
                    for t in 0..self.tokens {
                        finish(b, t, ints[t as usize]);
                    }
                }
            }
        });
        sums.into_iter().map(|v| b.get(v)).collect()
    }
}

/// Unpacks the value bytes of 32 columns of a block.
struct Unpack {
    layout: MatrixLayout,
    weights: BufId,
    base: ValueId,
    offset: u32,
    low: Vec<Option<ValueId>>,
    high: Vec<Option<ValueId>>,
}

impl Unpack {
    fn new(layout: MatrixLayout, weights: BufId, base: ValueId, offset: u32) -> Self {
        Self { layout, weights, base, offset, low: vec![None; 8], high: vec![None; 2] }
    }

    fn vector(&self, b: &mut KernelBuilder, index: u32) -> ValueId {
        let bytes = 4 * self.layout.lanes;
        let scalar = if self.layout.dtype == DType::Q8 && self.layout.q8_offset == 0 { Scalar::I8 } else { Scalar::U8 };
        let at = b.add(self.base, self.offset + index * u32::from(bytes));
        b.load(Type::vector(scalar, bytes), self.weights, at)
    }

    /// Columns `4m..4m+4` of every row: row r in bytes `4r..4r+4`.
    fn columns(&mut self, b: &mut KernelBuilder, m: u32) -> ValueId {
        match self.layout.dtype {
            DType::Q8 | DType::A8 => self.vector(b, m),
            DType::Q4 { .. } => self.nibbles(b, m),
            DType::Q6 => {
                let low = self.nibbles(b, m);
                let h = (m / 4) as usize;
                let high = match self.high[h] {
                    Some(v) => v,
                    None => {
                        let v = self.vector(b, 4 + m / 4);
                        self.high[h] = Some(v);
                        v
                    }
                };
                let two = two_bits(b, high, m % 4);
                b.binary(BinaryOp::Or, low, two)
            }
            DType::F32 | DType::F16 | DType::Bf16 | DType::U32 => unreachable!("invariant: only quantized formats are unpacked"),
        }
    }

    fn nibbles(&mut self, b: &mut KernelBuilder, m: u32) -> ValueId {
        let j = (m / 2) as usize;
        let v = match self.low[j] {
            Some(v) => v,
            None => {
                let v = self.vector(b, m / 2);
                self.low[j] = Some(v);
                v
            }
        };
        if m.is_multiple_of(2) { b.binary(BinaryOp::And, v, 15i32) } else { b.binary(BinaryOp::Shr, v, 4i32) }
    }
}

/// Bits 2i and 2i+1 of each byte, as bits 4 and 5.
pub fn two_bits(b: &mut KernelBuilder, bytes: ValueId, i: u32) -> ValueId {
    let masked = b.binary(BinaryOp::And, bytes, 3i32 << (2 * i));
    match i {
        0 => b.binary(BinaryOp::Shl, masked, 4i32),
        1 => b.binary(BinaryOp::Shl, masked, 2i32),
        2 => masked,
        _ => b.binary(BinaryOp::Shr, masked, 2i32),
    }
}
