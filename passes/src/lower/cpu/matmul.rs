//! The frame of every matrix kernel: tiles of row units × tokens, with an epilogue per token and unit.
//!
//! A *unit* is the rows that an epilogue sees together: one block, 32 features, or 32 gate and 32 up rows. A tile covers a run of
//! units and, in prefill, a run of token tiles; the loop over units is outermost, so that a unit's weights are read from
//! memory once and from cache for the other token tiles.

use slmc_ir::kernel::{Access, BufId, Builtin, KernelBuilder, Scalar, Type, ValueId};
use slmc_ir::plan::Extent;

use super::activation::{ActParams, inverse_rms, params};
use super::product::Product;
use super::schedule::Schedule;
use crate::lower::emit::Frame;
use crate::lower::launch::{Launch, Limits, Phase};

/// What an epilogue gets.
#[derive(Debug)]
pub struct Finished {
    /// The unit.
    pub unit: ValueId,
    /// The token's index in the step, less than T.
    pub token: ValueId,
    /// Its results: one f32 vector per block of the unit, norm factor and bias applied.
    pub rows: Vec<ValueId>,
}

fn token_tile(phase: Phase, sched: &Schedule) -> u32 {
    match phase {
        Phase::Decode | Phase::HeadOne => 1,
        Phase::Prefill => sched.token_tile,
        Phase::HeadMany => sched.token_tile.min(8),
    }
}

/// Makes the kernel. `outputs` declares the parameters after activations, weights and bias; `epilogue` uses them.
pub fn launch<O>(
    frame: &Frame,
    name: &str,
    sched: &Schedule,
    limits: &Limits,
    outputs: impl FnOnce(&mut KernelBuilder) -> O,
    epilogue: impl FnOnce(&mut KernelBuilder, &O, Finished),
) -> Launch {
    let lanes = u32::from(sched.lanes);
    let tile = token_tile(frame.phase, sched);
    let most = limits.tokens(frame.phase);
    let (unit_rows, units) = (frame.unit_rows(), frame.span.count);
    let unit_bytes = frame.layout.block_bytes(frame.k) * u64::from(frame.unit_blocks);
    // Tokens of a grid tile: as many token tiles as keep one unit within the time of a tile.
    let span = if most == 1 {
        1
    } else {
        let macs = u64::from(unit_rows) * u64::from(frame.k) * u64::from(tile);
        let tiles = (sched.prefill_tile_macs / macs.max(1)).clamp(1, u64::from(most.div_ceil(tile)));
        tile * tiles as u32
    };
    let per_tile = if most == 1 {
        (sched.decode_tile_bytes / unit_bytes.max(1)).max(1)
    } else {
        sched.prefill_tile_macs / (u64::from(unit_rows) * u64::from(frame.k) * u64::from(span)).max(1)
    };
    // At least a few tiles for every thread.
    let per_tile = (per_tile.max(1) as u32).min(units.div_ceil(8)).max(1);
    let token_grid = Extent::tokens(span, most.div_ceil(span));
    let unit_grid = Extent::fixed(units.div_ceil(per_tile));

    let mut b = KernelBuilder::new(name, limits.bounds(frame.phase), [token_grid.max, unit_grid.max, 1]);
    let (act, squares) = params(&frame.act, &mut b, Access::Read);
    let blocks = units * frame.unit_blocks;
    let weights = b.param("weights", Product::weight_elem(&frame.layout), Product::block_elems(&frame.layout, frame.k) * blocks, Access::Read, 64);
    let bias = frame.bias.then(|| b.param("bias", Type::scalar(Scalar::F32), blocks * lanes, Access::Read, 64));
    let outs = outputs(&mut b);
    let scratch = (tile > 1).then(|| b.private("results", Type::scalar(Scalar::F32), tile * unit_rows));
    let factors = (frame.act.norm.is_some() && span > 1).then(|| b.private("factors", Type::scalar(Scalar::F32), span));

    let t_all = b.builtin(Builtin::T);
    let x = b.builtin(Builtin::Grid(0));
    let y = b.builtin(Builtin::Grid(1));
    let t_begin = b.mul(x, span);
    let t_end = b.add(t_begin, span);
    let t_end = b.min(t_end, t_all);
    let row_base = match frame.phase {
        Phase::HeadOne | Phase::HeadMany => b.builtin(Builtin::Row),
        Phase::Decode | Phase::Prefill => b.constant(Type::INDEX, 0u32),
    };
    let mut factor: Option<ValueId> = None;
    if let (Some(norm), Some(squares)) = (frame.act.norm, squares) {
        match factors {
            None => {
                let row = b.add(row_base, t_begin);
                factor = Some(inverse_rms(&mut b, &frame.act, norm, squares, row, sched.lanes));
            }
            Some(factors) => b.for_(t_begin, t_end, 1, |b, t| {
                let row = b.add(row_base, t);
                let f = inverse_rms(b, &frame.act, norm, squares, row, sched.lanes);
                let at = slot_in_span(b, t, span);
                b.store(factors, at, f);
            }),
        }
    }
    let u_begin = b.mul(y, per_tile);
    let u_end = b.add(u_begin, per_tile);
    let u_end = b.min(u_end, units);
    let ctx = Body { frame, sched, act: &act, weights, bias, scratch, factors, factor, tile, unit_rows, row_base, span };
    b.for_(u_begin, u_end, 1, |b, unit| {
        ctx.unit(b, unit, t_begin, t_end, |b, done| epilogue(b, &outs, done));
    });
    Launch { kernel: b.finish(), grid: [token_grid, unit_grid, Extent::fixed(1)] }
}
/// `t mod span`, the place of a token in the per-tile arrays.
fn slot_in_span(b: &mut KernelBuilder, t: ValueId, span: u32) -> ValueId {
    b.binary(slmc_ir::kernel::BinaryOp::Rem, t, span)
}

struct Body<'a> {
    frame: &'a Frame,
    sched: &'a Schedule,
    act: &'a ActParams,
    weights: BufId,
    bias: Option<BufId>,
    scratch: Option<BufId>,
    factors: Option<BufId>,
    factor: Option<ValueId>,
    tile: u32,
    unit_rows: u32,
    row_base: ValueId,
    span: u32,
}

impl Body<'_> {
    fn unit(&self, b: &mut KernelBuilder, unit: ValueId, t_begin: ValueId, t_end: ValueId, epilogue: impl FnOnce(&mut KernelBuilder, Finished)) {
        let lanes = u32::from(self.sched.lanes);
        let first_block = b.mul(unit, self.frame.unit_blocks);
        let product = Product {
            layout: self.frame.layout,
            k: self.frame.k,
            weights: self.weights,
            act: self.act,
            tokens: self.tile,
            prefetch_bytes: self.sched.prefetch_bytes,
            unroll: self.sched.unroll,
        };
        let Some(scratch) = self.scratch else {
            let row = b.add(self.row_base, t_begin);
            let mut rows = Vec::new();
            for i in 0..self.frame.unit_blocks {
                let block = b.add(first_block, i);
                rows.extend(product.emit(b, self.sched, block, row));
            }
            let rows = self.finish(b, unit, self.factor, rows);
            epilogue(b, Finished { unit, token: t_begin, rows });
            return;
        };
        b.for_(t_begin, t_end, self.tile, |b, t0| {
            let row = b.add(self.row_base, t0);
            b.for_(0u32, self.frame.unit_blocks, 1, |b, i| {
                let block = b.add(first_block, i);
                let sums = product.emit(b, self.sched, block, row);
                let at = b.mul(i, lanes);
                for (t, sum) in sums.into_iter().enumerate() {
                    let to = b.add(at, t as u32 * self.unit_rows);
                    b.store(scratch, to, sum);
                }
            });
            let end = b.add(t0, self.tile);
            let end = b.min(end, t_end);
            b.for_(t0, end, 1, |b, token| {
                let slot = slot_in_span(b, token, self.tile);
                let at = b.mul(slot, self.unit_rows);
                let rows = (0..self.frame.unit_blocks)
                    .map(|i| {
                        let from = b.add(at, i * lanes);
                        b.load(Type::vector(Scalar::F32, self.sched.lanes), scratch, from)
                    })
                    .collect();
                let factor = self.factors.map(|f| {
                    let at = slot_in_span(b, token, self.span);
                    b.load(Type::scalar(Scalar::F32), f, at)
                });
                let rows = self.finish(b, unit, factor, rows);
                epilogue(b, Finished { unit, token, rows });
            });
        });
    }

    /// Applies the norm's factor and the bias.
    fn finish(&self, b: &mut KernelBuilder, unit: ValueId, factor: Option<ValueId>, rows: Vec<ValueId>) -> Vec<ValueId> {
        let lanes = self.sched.lanes;
        let vec = Type::vector(Scalar::F32, lanes);
        let first = b.mul(unit, self.unit_rows);
        rows.into_iter()
            .enumerate()
            .map(|(i, mut row)| {
                if let Some(f) = factor {
                    let f = b.repeat(f, lanes);
                    row = b.mul(row, f);
                }
                if let Some(bias) = self.bias {
                    let at = b.add(first, i as u32 * u32::from(lanes));
                    let v = b.load(vec, bias, at);
                    row = b.add(row, v);
                }
                row
            })
            .collect()
    }
}
