//! The embedding kernel: gathers rows of the packed table, in whatever layout its other uses (a tied head) chose, and
//! writes residual rows and normed activations.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, KernelBuilder, Scalar, Type, ValueId};
use slmc_ir::plan::{Extent, MatrixLayout};

use super::activation::NormedOutput;
use super::product::Product;
use super::schedule::Schedule;
use super::unpack::Unpack;
use crate::lower::activation::GROUP;
use crate::lower::codes::code_offset;
use crate::lower::emit::Embed;
use crate::lower::launch::{Launch, Limits};

/// Makes the kernel: parameters tokens, table, residual rows, then norm weight and the activations written.
pub fn launch(name: &str, embed: &Embed, sched: &Schedule, limits: &Limits) -> Launch {
    let tokens = limits.tokens(embed.phase);
    let grid = Extent::tokens(1, tokens);
    let lanes = u32::from(sched.lanes);
    let f32s = Type::scalar(Scalar::F32);
    let stride = embed.features.next_multiple_of(GROUP);
    let mut kb = KernelBuilder::new(name, limits.bounds(embed.phase), [grid.max, 1, 1]);
    let b = &mut kb;
    let ids = b.param("tokens", Type::INDEX, limits.chunk, Access::Read, 64);
    let blocks = embed.vocab.div_ceil(lanes);
    let table = b.param("table", Product::weight_elem(&embed.layout), Product::block_elems(&embed.layout, embed.k) * blocks, Access::Read, 64);
    let residual = b.param("residual", f32s, embed.residual_rows * stride, Access::Write, 64);
    let normed = embed.out.map(|out| NormedOutput::declare(b, out));
    let piece = b.private("columns", f32s, GROUP);

    let token = b.builtin(Builtin::Grid(0));
    let id = b.load(Type::INDEX, ids, token);
    let id = b.min(id, embed.vocab - 1);
    let block = b.div(id, lanes);
    let lane = b.binary(BinaryOp::Rem, id, lanes);
    let start = b.mul(block, Product::block_elems(&embed.layout, embed.k));
    let residual_row = b.mul(token, stride);
    let whole = embed.k / GROUP;
    let emit = |b: &mut KernelBuilder, g: ValueId, columns: u32| {
        group(b, &embed.layout, table, piece, start, lane, g, columns);
        let at = b.mul(g, GROUP);
        let at = b.add(residual_row, at);
        let values: Vec<ValueId> = (0..GROUP / lanes)
            .map(|i| {
                let v = b.load(Type::vector(Scalar::F32, sched.lanes), piece, i * lanes);
                let v = if embed.scale == 1.0 { v } else { b.mul(v, embed.scale) };
                let to = b.add(at, i * lanes);
                b.store(residual, to, v);
                v
            })
            .collect();
        if let Some(normed) = &normed {
            normed.store(b, token, g, &values);
        }
    };
    b.for_(0u32, whole, 1, |b, g| emit(b, g, GROUP));
    if !embed.k.is_multiple_of(GROUP) {
        let g = b.constant(Type::INDEX, whole);
        emit(b, g, embed.k % GROUP);
    }
    Launch { kernel: kb.finish(), grid: [grid, Extent::fixed(1), Extent::fixed(1)] }
}

/// Writes 32 columns of the row to `piece`; columns past `columns` are zero.
#[allow(clippy::too_many_arguments, reason = "the places of one emitted loop body, named at its only call")]
fn group(b: &mut KernelBuilder, layout: &MatrixLayout, table: BufId, piece: BufId, start: ValueId, lane: ValueId, g: ValueId, columns: u32) {
    let lanes = u32::from(layout.lanes);
    let elem = Product::weight_elem(layout);
    if !layout.dtype.is_quantized_weight() {
        let at = b.mul(g, GROUP * lanes);
        let at = b.add(start, at);
        let at = b.add(at, lane);
        for i in 0..GROUP {
            if i >= columns {
                b.store(piece, i, 0.0f32);
                continue;
            }
            let at = b.add(at, i * lanes);
            let v = b.load(elem, table, at);
            let v = if elem.scalar == Scalar::F32 { v } else { b.convert(v, Scalar::F32) };
            b.store(piece, i, v);
        }
        return;
    }
    let per = layout.group() / GROUP;
    let part_bytes = (layout.group_bytes() - 2 * lanes) / per;
    let outer = b.div(g, per);
    let part = b.binary(BinaryOp::Rem, g, per);
    let base = b.mul(outer, layout.group_bytes());
    let base = b.add(start, base);
    let scale_at = b.mul(lane, 2u32);
    let scale_at = b.add(scale_at, per * part_bytes);
    let scale_at = b.add(base, scale_at);
    let scale = b.load(Type::scalar(Scalar::F16), table, scale_at);
    let scale = b.convert(scale, Scalar::F32);
    let scale = b.repeat(scale, u16::from(layout.k_step));
    let step = u32::from(layout.k_step);
    let mine = b.mul(lane, step);
    let at = b.mul(part, part_bytes);
    let at = b.add(base, at);
    let at = b.add(at, mine);
    let mut unpack = Unpack::one_row(*layout, table, at);
    for m in 0..GROUP / step {
        let codes = unpack.columns(b, m);
        let v = b.convert(codes, Scalar::F32);
        let v = b.sub(v, code_offset(layout) as f32);
        let v = b.mul(v, scale);
        b.store(piece, step * m, v);
    }
}
