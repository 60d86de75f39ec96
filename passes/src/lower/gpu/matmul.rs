//! Products with many rows of activations: prefill, and the head's few rows.
//!
//! A workgroup has 64 rows of weights × a tile of tokens, and goes over the columns 32 at a time through workgroup memory. A lane
//! has a quad of rows of each block of a unit × a few tokens, so that what it ends with are quads of features, on which
//! the epilogue works without another exchange. Lanes whose tokens lie past the step's do not multiply.
//!
//! What bounds it: reads of workgroup memory, one vector for eight multiply-adds of vectors where a lane has four tokens, and
//! the multiply-adds themselves. Weights are read once per tile of tokens; workgroups of one tile of rows stand beside each
//! other in the grid, so that the next ones find them in the device's cache.

use slmc_ir::kernel::{BinaryOp, Builtin, CmpOp, KernelBuilder, Scalar, Type, ValueId, VarId};
use slmc_ir::plan::Extent;

use super::activation::{ActSource, F32, F32X4, GROUP_LANES};
use super::bias::Bias;
use super::epilogue::{Finished, Output};
use super::reduce::vector_of;
use super::schedule::{PART, Schedule};
use super::tile::{self, ActTile, Numbers, ROWS, WeightTile, bytes_of};
use super::weights::Matrix;
use crate::lower::emit::{Epilogue, Frame};
use crate::lower::launch::{Launch, Limits, Phase};

/// Sums of vectors that a lane has in registers, at most: tokens × blocks of a unit.
const MOST_SUMS: u32 = 4;
/// Lanes of a workgroup, at most: more have no more to share.
const MOST_LANES: u32 = 256;
/// Lanes of a workgroup, at least.
const LEAST_LANES: u32 = 32;

/// Who does what in a workgroup.
#[derive(Debug, Clone, Copy)]
struct Tiling {
    numbers: Numbers,
    /// Lanes of the workgroup.
    lanes: u32,
    /// Lanes along rows: each has a quad of each block of a unit.
    row_lanes: u32,
    /// Tokens of a lane.
    lane_tokens: u32,
    /// Tokens of the workgroup.
    tokens: u32,
    /// Units of the workgroup.
    units: u32,
}

impl Tiling {
    /// The greatest tile of tokens that the step can fill and workgroup memory can hold.
    fn new(frame: &Frame, epilogue: &Epilogue, sched: &Schedule, limits: &Limits) -> Self {
        let numbers = Numbers::of(frame.act.quantized, &sched.gpu);
        let row_lanes = ROWS / (4 * frame.unit_blocks);
        let most = limits.tokens(frame.phase);
        let of = |lanes: u32, lane_tokens: u32| Self {
            numbers,
            lanes,
            row_lanes,
            lane_tokens,
            tokens: lanes / row_lanes * lane_tokens,
            units: 2 / frame.unit_blocks,
        };
        let mut tiling = of(sched.gpu.lanes.min(MOST_LANES), MOST_SUMS / frame.unit_blocks);
        loop {
            let idle = tiling.lane_tokens > 1 && tiling.tokens / 2 >= most;
            if !idle && tiling.shared_bytes(frame, epilogue) <= sched.gpu.shared_bytes {
                return tiling;
            }
            tiling = match tiling.lane_tokens {
                1 if tiling.lanes / 2 < LEAST_LANES => return tiling,
                1 => of(tiling.lanes / 2, 1),
                tokens => of(tiling.lanes, tokens / 2),
            };
        }
    }

    fn shared_bytes(&self, frame: &Frame, epilogue: &Epilogue) -> u32 {
        let factors = if frame.act.norm.is_some() { 4 * self.tokens } else { 0 };
        tile::shared_bytes(self.numbers, frame.act.quantized, self.tokens) + factors + Output::shared_bytes(epilogue, self.lanes, self.lane_tokens)
    }
}

/// Makes the kernel.
pub fn launch(name: &str, frame: &Frame, epilogue: &Epilogue, sched: &Schedule, limits: &Limits) -> Launch {
    let tiling = Tiling::new(frame, epilogue, sched, limits);
    let lanes = tiling.lanes;
    let token_grid = Extent::tokens(tiling.tokens, limits.tokens(frame.phase).div_ceil(tiling.tokens));
    let unit_grid = Extent::fixed(frame.span.count.div_ceil(tiling.units));
    let mut kb = KernelBuilder::new(name, limits.bounds(frame.phase), [token_grid.max, unit_grid.max, 1]);
    let b = &mut kb;
    b.lanes(lanes);
    let act = ActSource::declare(&frame.act, b);
    let blocks = frame.span.count * frame.unit_blocks;
    let matrix = Matrix::declare(b, "weights", frame.layout, frame.k, blocks);
    let bias = Bias::declare(b, frame);
    let output = Output::declare(b, epilogue, lanes, tiling.lane_tokens);
    let weight_memory = WeightTile::memory(b, tiling.numbers, frame.act.quantized);
    let act_memory = ActTile::memory(b, tiling.numbers, frame.act.quantized, tiling.tokens);
    let factors = frame.act.norm.map(|_| b.workgroup("factors", F32, tiling.tokens));

    let lane = b.builtin(Builtin::Lane);
    let t_all = b.builtin(Builtin::T);
    let last = b.sub(t_all, 1u32);
    let x = b.builtin(Builtin::Grid(0));
    let y = b.builtin(Builtin::Grid(1));
    let t_begin = b.mul(x, tiling.tokens);
    let row_base = match frame.phase {
        Phase::HeadOne | Phase::HeadMany => b.builtin(Builtin::Row),
        Phase::Decode | Phase::Prefill => b.constant(Type::INDEX, 0u32),
    };
    let first_block = b.mul(y, 2u32);
    let weights = WeightTile::new(b, matrix, tiling.numbers, weight_memory, lanes, lane, first_block, blocks);
    let acts = ActTile::new(b, act, tiling.numbers, act_memory, tiling.tokens, lanes, lane, |b, token| {
        let token = b.add(t_begin, token);
        let token = b.min(token, last);
        b.add(row_base, token)
    });

    let row_lane = b.binary(BinaryOp::Rem, lane, tiling.row_lanes);
    let token_lane = b.div(lane, tiling.row_lanes);
    let own = b.mul(token_lane, tiling.lane_tokens);
    let first_token = b.add(t_begin, own);
    let works = b.cmp(CmpOp::Lt, first_token, t_all);
    let multiply = Multiply {
        numbers: tiling.numbers,
        weights: &weights,
        acts: &acts,
        quads: (0..frame.unit_blocks).map(|i| b.add(row_lane, i * GROUP_LANES)).collect(),
        tokens: (0..tiling.lane_tokens).map(|t| b.add(own, t)).collect(),
    };
    let count = tiling.lane_tokens * frame.unit_blocks;
    let sums: Vec<VarId> = (0..count).map(|_| b.var(F32X4, 0.0f32)).collect();
    let parts = frame.k / PART;
    let zero = b.constant(Type::INDEX, 0u32);
    weights.fetch(b, zero);
    acts.fetch(b, zero);
    b.for_(0u32, parts, 1, |b, part| {
        b.barrier();
        weights.put(b);
        acts.put(b);
        b.barrier();
        if parts > 1 {
            let next = b.add(part, 1u32);
            let has_next = b.cmp(CmpOp::Lt, next, parts);
            b.if_(has_next, |b| {
                weights.fetch(b, next);
                acts.fetch(b, next);
            });
        }
        b.if_(works, |b| multiply.emit(b, &sums));
    });
    if let Some(factors) = factors {
        acts.leave_factors(b, factors);
        b.barrier();
    }

    let place = b.binary(BinaryOp::Rem, lane, GROUP_LANES);
    let unit = b.mul(y, tiling.units);
    let unit = if tiling.units > 1 {
        let second = b.div(row_lane, GROUP_LANES);
        b.add(unit, second)
    } else {
        unit
    };
    let unit_exists = b.cmp(CmpOp::Lt, unit, frame.span.count);
    let unit = b.min(unit, frame.span.count - 1);
    let unit = if frame.span.first > 0 { b.add(unit, frame.span.first) } else { unit };
    let finished: Vec<Finished> = (0..tiling.lane_tokens)
        .map(|t| {
            let token = b.add(first_token, t);
            let token_exists = b.cmp(CmpOp::Lt, token, t_all);
            let stored = b.binary(BinaryOp::And, unit_exists, token_exists);
            let token = b.min(token, last);
            let factor = factors.map(|factors| {
                let at = multiply.tokens[t as usize];
                let factor = b.load(F32, factors, at);
                b.repeat(factor, 4)
            });
            let quads = (0..frame.unit_blocks)
                .map(|i| {
                    let mut quad = b.get(sums[(t * frame.unit_blocks + i) as usize]);
                    if let Some(factor) = factor {
                        quad = b.mul(quad, factor);
                    }
                    if let Some(bias) = &bias {
                        quad = bias.add(b, unit, i, place, quad);
                    }
                    quad
                })
                .collect();
            Finished { unit, token, quads, stored }
        })
        .collect();
    output.store(b, &finished);
    Launch { kernel: kb.finish(), grid: [token_grid, unit_grid, Extent::fixed(1)] }
}

/// The product of what a lane has of both tiles.
struct Multiply<'a> {
    numbers: Numbers,
    weights: &'a WeightTile,
    acts: &'a ActTile,
    /// The lane's quads of rows of the tile.
    quads: Vec<ValueId>,
    /// The lane's tokens of the tile.
    tokens: Vec<ValueId>,
}

impl Multiply<'_> {
    /// Adds the product to `sums`, f32x4 [tokens, quads].
    fn emit(&self, b: &mut KernelBuilder, sums: &[VarId]) {
        let scales: Vec<Option<ValueId>> = self.quads.iter().map(|&q| self.weights.quad_scales(b, q)).collect();
        if scales.iter().any(Option::is_none) {
            self.numbers(b, sums);
            return;
        }
        let products = match self.numbers {
            Numbers::I8 => self.codes(b),
            Numbers::F32 | Numbers::F16 => {
                let vars: Vec<VarId> = sums.iter().map(|_| b.var(F32X4, 0.0f32)).collect();
                self.numbers(b, &vars);
                vars.into_iter().map(|v| b.get(v)).collect()
            }
        };
        for (t, &token) in self.tokens.iter().enumerate() {
            let Some(token_scale) = self.acts.scale(b, token) else { continue };
            let token_scale = b.repeat(token_scale, 4);
            for (q, scale) in scales.iter().flatten().enumerate() {
                let at = t * self.quads.len() + q;
                let scale = b.mul(*scale, token_scale);
                let old = b.get(sums[at]);
                let new = b.fma(products[at], scale, old);
                b.set(sums[at], new);
            }
        }
    }

    /// Adds products of numbers.
    fn numbers(&self, b: &mut KernelBuilder, sums: &[VarId]) {
        let elems = self.numbers.elems();
        b.for_unrolled(0u32, elems, 1, elems, |b, elem| {
            // Per quad of rows and four columns of the element: the columns, from rows.
            let columns: Vec<Vec<[ValueId; 4]>> = self
                .quads
                .iter()
                .map(|&q| {
                    let rows = self.weights.quad(b, q, elem).map(|row| self.numbers.unpack(b, row));
                    (0..rows[0].len())
                        .map(|part| {
                            let rows = [0, 1, 2, 3].map(|r: usize| rows[r][part]);
                            [0, 1, 2, 3].map(|c| {
                                let low = b.shuffle(rows[0], rows[1], vec![c, 4 + c]);
                                let high = b.shuffle(rows[2], rows[3], vec![c, 4 + c]);
                                b.shuffle(low, high, vec![0, 1, 2, 3])
                            })
                        })
                        .collect()
                })
                .collect();
            for (t, &token) in self.tokens.iter().enumerate() {
                let act = self.acts.elem(b, token, elem);
                let acts = self.numbers.unpack(b, act);
                for (q, parts) in columns.iter().enumerate() {
                    let var = sums[t * self.quads.len() + q];
                    let mut sum = b.get(var);
                    for (columns, &act) in parts.iter().zip(&acts) {
                        for (&column, c) in columns.iter().zip(0..) {
                            let a = b.extract(act, c);
                            let a = b.repeat(a, 4);
                            sum = b.fma(column, a, sum);
                        }
                    }
                    b.set(var, sum);
                }
            }
        });
    }

    /// Products of signed codes, f32x4 [tokens, quads].
    fn codes(&self, b: &mut KernelBuilder) -> Vec<ValueId> {
        let zero = b.constant(Type::scalar(Scalar::I32), 0i32);
        let mut sums = vec![[zero; 4]; self.tokens.len() * self.quads.len()];
        for elem in 0..self.numbers.elems() {
            let elem = b.constant(Type::INDEX, elem);
            let rows: Vec<[Vec<ValueId>; 4]> = self.quads.iter().map(|&q| self.weights.quad(b, q, elem).map(|row| bytes_of(b, row))).collect();
            for (t, &token) in self.tokens.iter().enumerate() {
                let act = self.acts.elem(b, token, elem);
                let act = bytes_of(b, act);
                for (q, rows) in rows.iter().enumerate() {
                    for (sum, row) in sums[t * self.quads.len() + q].iter_mut().zip(rows) {
                        for (&w, &a) in row.iter().zip(&act) {
                            *sum = b.dot4(*sum, w, a, 127);
                        }
                    }
                }
            }
        }
        sums.into_iter()
            .map(|sum| {
                let sum = vector_of(b, &sum);
                b.convert(sum, Scalar::F32)
            })
            .collect()
    }
}
