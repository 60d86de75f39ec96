//! The embedding kernel: gathers rows of the packed table, in the layout that its other uses (a tied head) have, and writes
//! residual rows and normed activations.
//!
//! A lane has a quad of a token's row, so groups are exchanged among neighbouring lanes only and workgroups take runs of
//! features. Of a table in several sections, a launch does the tokens whose rows lie in its own.

use slmc_ir::graph::DType;
use slmc_ir::kernel::{Access, BinaryOp, Builtin, CmpOp, KernelBuilder, Type, ValueId};
use slmc_ir::plan::Extent;

use super::activation::{ALIGN, F32X4, GROUP_LANES, QUAD};
use super::epilogue::{NormedOutput, Stream};
use super::heads::BLOCK;
use super::reduce::vector_of;
use super::schedule::Schedule;
use super::weights::{Matrix, codes_to_f32, nibbles, scale_of, top_bits};
use crate::lower::activation::GROUP;
use crate::lower::codes::code_offset;
use crate::lower::emit::Embed;
use crate::lower::launch::{Launch, Limits};

/// Makes the kernel.
pub fn launch(name: &str, embed: &Embed, sched: &Schedule, limits: &Limits) -> Launch {
    let lanes = sched.gpu.lanes;
    let quads = embed.features.next_multiple_of(GROUP) / QUAD;
    let tokens = Extent::tokens(1, limits.tokens(embed.phase));
    let runs = Extent::fixed(quads.div_ceil(lanes));
    let mut kb = KernelBuilder::new(name, limits.bounds(embed.phase), [tokens.max, runs.max, 1]);
    let b = &mut kb;
    b.lanes(lanes);
    let ids = b.param("tokens", Type::INDEX, limits.chunk, Access::Read, ALIGN);
    let table = Matrix::declare(b, "table", embed.layout, embed.k, embed.span.count);
    let residual = b.param("residual", F32X4, embed.residual_rows * quads, Access::Write, ALIGN);
    let normed = embed.out.map(|out| NormedOutput::declare(b, out, lanes, 1));

    let token = b.builtin(Builtin::Grid(0));
    let lane = b.builtin(Builtin::Lane);
    let run = b.builtin(Builtin::Grid(1));
    let within = b.mul(run, lanes);
    let within = b.add(within, lane);
    let exists = b.cmp(CmpOp::Lt, within, quads);
    let within = b.min(within, quads - 1);
    let id = b.load(Type::INDEX, ids, token);
    let id = b.min(id, embed.vocab - 1);
    let block = b.div(id, BLOCK);
    let row = b.binary(BinaryOp::Rem, id, BLOCK);
    let (first, count) = (embed.span.first, embed.span.count);
    let local = b.max(block, first);
    let local = b.sub(local, first);
    let local = b.min(local, count - 1);
    let stored = if count < embed.span.of {
        let begun = b.cmp(CmpOp::Ge, block, first);
        let open = b.cmp(CmpOp::Lt, block, first + count);
        let mine = b.binary(BinaryOp::And, begun, open);
        b.binary(BinaryOp::And, exists, mine)
    } else {
        exists
    };
    let start = table.block_start(b, local);
    let values =
        if embed.layout.dtype.is_quantized_weight() { quantized(b, &table, start, within, row) } else { numbers(b, &table, start, within, row) };
    let values = if embed.scale == 1.0 { values } else { b.mul(values, embed.scale) };
    let at = b.mul(token, quads);
    let at = b.add(at, within);
    b.if_(stored, |b| b.store(residual, at, values));
    if let Some(normed) = normed {
        let group = b.div(within, GROUP_LANES);
        normed.store(b, &[(within, Stream { row: token, group, values, stored })]);
    }
    Launch { kernel: kb.finish(), grid: [tokens, runs, Extent::fixed(1)] }
}

/// A quad of a row of a quantized block.
fn quantized(b: &mut KernelBuilder, table: &Matrix, start: ValueId, within: ValueId, row: ValueId) -> ValueId {
    let part = b.div(within, GROUP_LANES);
    let m = b.binary(BinaryOp::Rem, within, GROUP_LANES);
    let codes = match table.layout.dtype {
        DType::Q4 { .. } | DType::Q6 => {
            let pair = b.div(m, 2u32);
            let word = table.load_word(b, start, part, pair, row);
            let parity = b.binary(BinaryOp::Rem, m, 2u32);
            let is_high = b.cmp(CmpOp::Eq, parity, 1u32);
            let (low, high) = (nibbles(b, word, false), nibbles(b, word, true));
            let low = b.select(is_high, high, low);
            if table.layout.dtype == DType::Q6 {
                let vector = b.div(m, 4u32);
                let vector = b.add(vector, 4u32);
                let high = table.load_word(b, start, part, vector, row);
                let shift = b.binary(BinaryOp::Rem, m, 4u32);
                let shift = b.mul(shift, 2u32);
                let high = b.binary(BinaryOp::Shr, high, shift);
                top_bits(b, low, high)
            } else {
                low
            }
        }
        _ => table.load_word(b, start, part, m, row),
    };
    let scale = table.load_scale(b, start, part, row);
    let scale = scale_of(b, scale, row);
    let values = codes_to_f32(b, &table.layout, codes);
    let values = b.sub(values, code_offset(&table.layout) as f32);
    let scale = b.repeat(scale, QUAD as u16);
    b.mul(values, scale)
}

/// A quad of a row of an unquantized block.
fn numbers(b: &mut KernelBuilder, table: &Matrix, start: ValueId, within: ValueId, row: ValueId) -> ValueId {
    let per = table.rows_per_lane();
    let row_lane = b.div(row, per);
    let first = b.mul(within, QUAD);
    let parts: Vec<ValueId> = (0..QUAD)
        .map(|i| {
            let column = b.add(first, i);
            let v = table.load_numbers(b, start, column, row_lane);
            if per == 1 {
                return v;
            }
            let parity = b.binary(BinaryOp::Rem, row, per);
            let is_odd = b.cmp(CmpOp::Eq, parity, 1u32);
            let (even, odd) = (b.extract(v, 0), b.extract(v, 1));
            b.select(is_odd, odd, even)
        })
        .collect();
    vector_of(b, &parts)
}
