//! Whole rows of a weight in any of the weight formats.

use super::fit::{dequantize_group, quantize_group};
use crate::graph::DType;
use half::{bf16, f16};

/// Quantizes a row of K weights group by group: `codes` has K elements, `scales` K / group.
///
/// # Panics
/// If `dtype` is no quantized weight format or a length does not fit it.
pub fn quantize_row(dtype: DType, row: &[f32], codes: &mut [i8], scales: &mut [f16]) {
    let group = dtype.group().map_or(1, |g| g as usize);
    assert!(row.len() == codes.len() && row.len() == scales.len() * group, "invariant: a row of {dtype} is {group} columns a scale");
    for ((x, codes), scale) in row.chunks_exact(group).zip(codes.chunks_exact_mut(group)).zip(scales) {
        *scale = quantize_group(dtype, x, codes);
    }
}

/// Replaces a row by what a weight format makes of it: rounded to f16 or bf16 (nearest even), or quantized and back.
///
/// # Panics
/// If `dtype` is no weight format or its group does not divide the row.
pub fn round_row(dtype: DType, row: &mut [f32]) {
    match dtype {
        DType::F32 => {}
        DType::F16 => row.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32()),
        DType::Bf16 => row.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32()),
        DType::Q4 { .. } | DType::Q6 | DType::Q8 => {
            let group = dtype.group().map_or(1, |g| g as usize);
            assert!(row.len().is_multiple_of(group), "invariant: groups of {group} divide a row of {dtype}");
            let mut codes = vec![0; group];
            for part in row.chunks_exact_mut(group) {
                let scale = quantize_group(dtype, part, &mut codes);
                dequantize_group(scale, &codes, part);
            }
        }
        DType::U32 | DType::A8 => panic!("invariant: {dtype} is no weight format"),
    }
}
