//! Packing: the bytes of `weights.bin` from source values.
//!
//! Pure functions over a [`WeightProvider`]; the compiler calls them for runs of blocks, so memory stays bounded by what is in
//! flight and work spreads over cores. Quantization is that of `slmc_ir::quant`, which the interpreter uses as well.

mod matrix;

use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{Graph, RopeAttrs, WeightId};
use slmc_ir::plan::{Packed, PackedContent};

/// Why a section could not be packed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PackError {
    /// The source could not be read.
    #[error("section `{section}`: {reason}")]
    Source {
        /// The section.
        section: String,
        /// What the provider said.
        reason: String,
    },
}

/// How many blocks a section has; other sections than matrices are one block.
pub fn block_count(packed: &Packed) -> u32 {
    match &packed.content {
        PackedContent::Matrix { layout, rows, .. } => (rows.len() / usize::from(layout.lanes)) as u32,
        PackedContent::Vector { .. } | PackedContent::Gather { .. } | PackedContent::Rope { .. } => 1,
    }
}

/// Bytes of one block of a section.
pub fn block_bytes(packed: &Packed) -> u64 {
    match &packed.content {
        PackedContent::Matrix { layout, k, .. } => layout.block_bytes(*k),
        PackedContent::Vector { .. } | PackedContent::Gather { .. } | PackedContent::Rope { .. } => packed.bytes,
    }
}

/// Writes blocks `blocks` of a section to `out`, which has their length.
///
/// # Errors
/// When the provider cannot read a source.
pub fn pack_blocks(
    graph: &Graph,
    packed: &Packed,
    provider: &dyn WeightProvider,
    blocks: std::ops::Range<u32>,
    out: &mut [u8],
) -> Result<(), PackError> {
    let fail = |reason: String| PackError::Source { section: packed.name.clone(), reason };
    match &packed.content {
        PackedContent::Matrix { layout, k, rows } => matrix::pack(graph, *layout, *k, rows, provider, blocks, out).map_err(fail),
        PackedContent::Vector { weight, len, plus } => {
            let values = vector(graph, *weight, provider).map_err(fail)?;
            write_f32((0..*len).map(|i| values.get(i as usize).map_or(0.0, |v| v + plus)), out);
            Ok(())
        }
        PackedContent::Gather { elems, plus } => {
            let mut known: Vec<(WeightId, Vec<f32>)> = Vec::new();
            for (w, _) in elems.iter().flatten() {
                if !known.iter().any(|(k, _)| k == w) {
                    known.push((*w, vector(graph, *w, provider).map_err(fail)?));
                }
            }
            let value = |w: WeightId, i: u32| known.iter().find(|(k, _)| *k == w).and_then(|(_, v)| v.get(i as usize)).copied();
            write_f32(elems.iter().map(|e| e.and_then(|(w, i)| value(w, i)).map_or(0.0, |v| v + plus)), out);
            Ok(())
        }
        PackedContent::Rope { attrs, ctx, width } => {
            write_f32(rope_table(attrs, *ctx, *width), out);
            Ok(())
        }
    }
}

fn vector(graph: &Graph, weight: WeightId, provider: &dyn WeightProvider) -> Result<Vec<f32>, String> {
    provider.rows(&graph.weights[weight], 0..1)
}

fn write_f32(values: impl Iterator<Item = f32>, out: &mut [u8]) {
    for (to, v) in out.chunks_exact_mut(4).zip(values) {
        to.copy_from_slice(&v.to_le_bytes());
    }
}

/// The table of [`PackedContent::Rope`].
fn rope_table(attrs: &RopeAttrs, ctx: u32, width: u32) -> impl Iterator<Item = f32> + use<> {
    let attrs = attrs.clone();
    (0..ctx).flat_map(move |p| {
        let pairs = attrs.rotation(p);
        let cos = (0..width).map(|d| pairs.get(d as usize / 2).map_or(1.0, |p| p.0)).collect::<Vec<_>>();
        let sin = (0..width).map(|d| pairs.get(d as usize / 2).map_or(0.0, |p| if d % 2 == 0 { -p.1 } else { p.1 })).collect::<Vec<_>>();
        cos.into_iter().chain(sin)
    })
}
