//! Codes of quantized weights as they are stored.

use slmc_ir::graph::DType;
use slmc_ir::plan::MatrixLayout;

/// What is added to stored values so that they are unsigned: 8, 32, 128, or 0 for signed ones.
pub fn code_offset(layout: &MatrixLayout) -> u32 {
    match layout.dtype {
        DType::Q4 { .. } => 8,
        DType::Q6 => 32,
        DType::Q8 => u32::from(layout.q8_offset),
        DType::F32 | DType::F16 | DType::Bf16 | DType::U32 | DType::A8 => 0,
    }
}

/// The greatest magnitude of a stored value.
pub fn max_code(layout: &MatrixLayout) -> u8 {
    match layout.dtype {
        DType::Q4 { .. } => 15,
        DType::Q6 => 63,
        DType::Q8 if layout.q8_offset == 128 => 255,
        DType::Q8 | DType::F32 | DType::F16 | DType::Bf16 | DType::U32 | DType::A8 => 127,
    }
}
