//! Products with one row of activations: decode, and the head's single row.
//!
//! A workgroup has a unit of rows. Its lanes are 32 rows (16 pairs of rows where a word holds two) × slices of the columns.
//! The slices' sums meet in workgroup memory, from which eight lanes take quads of the unit's features through the epilogue. Sums of
//! squares of a split norm meet with them.
//!
//! What bounds it: weight bytes. A unit's weights are read once, in runs of whole cache lines by all lanes; the row of
//! activations is the same for all lanes of a slice and stays in the nearest cache.

use slmc_ir::kernel::{BinaryOp, BufId, Builtin, CmpOp, KernelBuilder, ValueId};
use slmc_ir::plan::Extent;

use super::activation::{ActSource, F32, F32X4, GROUP_LANES, QUAD, quad_of};
use super::bias::Bias;
use super::epilogue::{Finished, Output};
use super::heads::BLOCK;
use super::product::{Product, Sums};
use super::schedule::Schedule;
use super::weights::{Matrix, rows_per_lane};
use crate::lower::emit::{Epilogue, Frame};
use crate::lower::launch::{Launch, Limits, Phase};

/// Makes the kernel.
pub fn launch(name: &str, frame: &Frame, epilogue: &Epilogue, sched: &Schedule, limits: &Limits) -> Launch {
    let lanes = sched.gpu.lanes;
    let grid = Extent::fixed(frame.span.count);
    let mut kb = KernelBuilder::new(name, limits.bounds(frame.phase), [grid.max, 1, 1]);
    let b = &mut kb;
    b.lanes(lanes);
    let act = ActSource::declare(&frame.act, b);
    let matrix = Matrix::declare(b, "weights", frame.layout, frame.k, frame.span.count * frame.unit_blocks);
    let bias = Bias::declare(b, frame);
    let output = Output::declare(b, epilogue, lanes, 1);
    let row_lanes = BLOCK / rows_per_lane(frame.layout.dtype);
    let meeting = Meeting::declare(b, frame, lanes / row_lanes);

    let lane = b.builtin(Builtin::Lane);
    let local = b.builtin(Builtin::Grid(0));
    let row = match frame.phase {
        Phase::HeadOne | Phase::HeadMany => b.builtin(Builtin::Row),
        Phase::Decode | Phase::Prefill => b.constant(slmc_ir::kernel::Type::INDEX, 0u32),
    };
    // A bit operation: a remainder stays tied to its quotient, behind which the range verifier does not see that rows end.
    let (slice, row_lane) = (b.div(lane, row_lanes), b.binary(BinaryOp::And, lane, row_lanes - 1));
    let first = b.mul(local, frame.unit_blocks);
    let starts = (0..frame.unit_blocks)
        .map(|i| {
            let block = b.add(first, i);
            matrix.block_start(b, block)
        })
        .collect();
    let product = Product { matrix, act: &act, sched, row, starts, row_lane, slice, slices: lanes / row_lanes };
    let sums = product.emit(b);
    meeting.leave(b, &sums, row_lane, slice);
    b.barrier();

    let unit = if frame.span.first > 0 { b.add(local, frame.span.first) } else { local };
    let stored = b.cmp(CmpOp::Lt, lane, GROUP_LANES);
    let vars: Vec<_> = (0..frame.unit_blocks).map(|_| b.var(F32X4, 0.0f32)).collect();
    b.if_(stored, |b| {
        let place = b.min(lane, GROUP_LANES - 1);
        let factor = frame.act.norm.map(|norm| {
            let squares = meeting.squares(b);
            let factor = norm.factor(b, squares);
            b.repeat(factor, QUAD as u16)
        });
        for (i, &var) in vars.iter().enumerate() {
            let mut quad = meeting.quad(b, i as u32, place);
            if let Some(factor) = factor {
                quad = b.mul(quad, factor);
            }
            if let Some(bias) = &bias {
                quad = bias.add(b, unit, i as u32, place, quad);
            }
            b.set(var, quad);
        }
    });
    let quads = vars.into_iter().map(|v| b.get(v)).collect();
    let token = b.constant(slmc_ir::kernel::Type::INDEX, 0u32);
    output.store(b, &[Finished { unit, token, quads, stored }]);
    Launch { kernel: kb.finish(), grid: [grid, Extent::fixed(1), Extent::fixed(1)] }
}

/// Workgroup memory where slices meet: f32 [slices, rows of a unit, then the sum of squares].
struct Meeting {
    sums: BufId,
    rows: u32,
    stride: u32,
    slices: u32,
    rows_per_lane: u32,
}

impl Meeting {
    fn declare(b: &mut KernelBuilder, frame: &Frame, slices: u32) -> Self {
        let rows = frame.unit_rows();
        let stride = rows + u32::from(frame.act.norm.is_some());
        let sums = b.workgroup("slices", F32, slices * stride);
        Self { sums, rows, stride, slices, rows_per_lane: rows_per_lane(frame.layout.dtype) }
    }

    fn leave(&self, b: &mut KernelBuilder, sums: &Sums, row_lane: ValueId, slice: ValueId) {
        let start = b.mul(slice, self.stride);
        let row = b.mul(row_lane, self.rows_per_lane);
        let at = b.add(start, row);
        for (i, &sum) in sums.rows.iter().enumerate() {
            for r in 0..self.rows_per_lane {
                let to = b.add(at, i as u32 * BLOCK + r);
                let value = if self.rows_per_lane == 1 { sum } else { b.extract(sum, r as u16) };
                b.store(self.sums, to, value);
            }
        }
        if let Some(squares) = sums.squares {
            let is_first = b.cmp(CmpOp::Eq, row_lane, 0u32);
            let to = b.add(start, self.rows);
            b.if_(is_first, |b| b.store(self.sums, to, squares));
        }
    }

    /// The sum over slices of quad `place` of a block.
    fn quad(&self, b: &mut KernelBuilder, block: u32, place: ValueId) -> ValueId {
        let at = b.mul(place, QUAD);
        let parts = (0..self.slices)
            .map(|s| {
                let at = b.add(at, s * self.stride + block * BLOCK);
                quad_of(b, self.sums, at)
            })
            .collect();
        tree(b, parts)
    }

    fn squares(&self, b: &mut KernelBuilder) -> ValueId {
        let parts = (0..self.slices).map(|s| b.load(F32, self.sums, s * self.stride + self.rows)).collect();
        tree(b, parts)
    }
}

/// The sum, halves first.
fn tree(b: &mut KernelBuilder, mut parts: Vec<ValueId>) -> ValueId {
    while parts.len() > 1 {
        parts = parts.chunks(2).map(|pair| if let [x, y] = *pair { b.add(x, y) } else { pair[0] }).collect();
    }
    parts[0]
}
