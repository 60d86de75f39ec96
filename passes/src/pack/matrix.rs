//! Interleaves rows of matrices as [`MatrixLayout`] says, quantizing on the way.

use half::f16;
use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{DType, Graph, WeightId};
use slmc_ir::plan::MatrixLayout;
use slmc_ir::quant;

/// Columns that a sub-block of value bytes covers.
const PART: usize = 32;

/// Packs a run of blocks.
pub fn pack(
    graph: &Graph,
    layout: MatrixLayout,
    k: u32,
    rows: &[Option<(WeightId, u32)>],
    provider: &dyn WeightProvider,
    blocks: std::ops::Range<u32>,
    out: &mut [u8],
) -> Result<(), String> {
    let lanes = usize::from(layout.lanes);
    let bytes = layout.block_bytes(k) as usize;
    let k = k as usize;
    let mut values = vec![0f32; lanes * k];
    for (block, out) in blocks.zip(out.chunks_exact_mut(bytes)) {
        let rows = &rows[block as usize * lanes..(block as usize + 1) * lanes];
        read_rows(graph, rows, k, provider, &mut values)?;
        match layout.dtype {
            DType::F32 => interleave(&values, k, lanes, out, |v| v.to_le_bytes()),
            DType::F16 => interleave(&values, k, lanes, out, |v| f16::from_f32(v).to_le_bytes()),
            DType::Bf16 => interleave(&values, k, lanes, out, |v| half::bf16::from_f32(v).to_le_bytes()),
            DType::Q4 { .. } | DType::Q6 | DType::Q8 => quantized(layout, &values, k, out),
            DType::U32 | DType::A8 => return Err(format!("a matrix cannot be stored as {}", layout.dtype)),
        }
    }
    Ok(())
}

/// Reads the rows of a block; runs of neighbours at once.
fn read_rows(graph: &Graph, rows: &[Option<(WeightId, u32)>], k: usize, provider: &dyn WeightProvider, values: &mut [f32]) -> Result<(), String> {
    let mut i = 0;
    while i < rows.len() {
        let Some((weight, first)) = rows[i] else {
            values[i * k..(i + 1) * k].fill(0.0);
            i += 1;
            continue;
        };
        let mut n = 1;
        while i + n < rows.len() && rows[i + n] == Some((weight, first + n as u32)) {
            n += 1;
        }
        let source = provider.rows(&graph.weights[weight], first..first + n as u32)?;
        let width = source.len() / n;
        for (row, to) in source.chunks_exact(width).zip(values[i * k..(i + n) * k].chunks_exact_mut(k)) {
            let common = width.min(k);
            to[..common].copy_from_slice(&row[..common]);
            to[common..].fill(0.0);
        }
        i += n;
    }
    Ok(())
}

fn interleave<const N: usize>(values: &[f32], k: usize, lanes: usize, out: &mut [u8], bytes: impl Fn(f32) -> [u8; N]) {
    for (column, to) in out.chunks_exact_mut(N * lanes).enumerate() {
        for (lane, to) in to.chunks_exact_mut(N).enumerate() {
            to.copy_from_slice(&bytes(values[lane * k + column]));
        }
    }
}

fn quantized(layout: MatrixLayout, values: &[f32], k: usize, out: &mut [u8]) {
    let lanes = usize::from(layout.lanes);
    let group = layout.group() as usize;
    let parts = group / PART;
    let group_bytes = layout.group_bytes() as usize;
    let part_bytes = (group_bytes - 2 * lanes) / parts;
    let mut codes = [0i8; 128];
    for (g, out) in out.chunks_exact_mut(group_bytes).enumerate() {
        out.fill(0);
        for lane in 0..lanes {
            let row = &values[lane * k + g * group..lane * k + (g + 1) * group];
            let scale = quant::quantize_group(layout.dtype, row, &mut codes[..group]);
            for part in 0..parts {
                let codes = &codes[part * PART..(part + 1) * PART];
                place(layout, codes, lane, &mut out[part * part_bytes..(part + 1) * part_bytes]);
            }
            let at = parts * part_bytes + 2 * lane;
            out[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
}

/// Puts the signed codes of 32 columns of one row to their bytes.
fn place(layout: MatrixLayout, codes: &[i8], lane: usize, out: &mut [u8]) {
    let step = usize::from(layout.k_step);
    let vector = step * usize::from(layout.lanes);
    let nibbles = |out: &mut [u8], offset: i8| {
        for (j, codes) in codes.chunks_exact(2 * step).enumerate() {
            for c in 0..step {
                let low = (codes[c] + offset) as u8 & 15;
                let high = (codes[step + c] + offset) as u8 & 15;
                out[j * vector + step * lane + c] = low | high << 4;
            }
        }
    };
    match layout.dtype {
        DType::Q4 { .. } => nibbles(out, 8),
        DType::Q6 => {
            nibbles(out, 32);
            let out = &mut out[PART / 2 / step * vector..];
            for (h, codes) in codes.chunks_exact(4 * step).enumerate() {
                for c in 0..step {
                    let two = |i: usize| ((codes[step * i + c] + 32) as u8 >> 4) << (2 * i);
                    out[h * vector + step * lane + c] = two(0) | two(1) | two(2) | two(3);
                }
            }
        }
        _ => {
            for (j, codes) in codes.chunks_exact(step).enumerate() {
                for (c, &code) in codes.iter().enumerate() {
                    out[j * vector + step * lane + c] = (code as u8).wrapping_add(layout.q8_offset);
                }
            }
        }
    }
}
