//! Tensor types of the graph IR: element formats with stated geometry, and shapes with symbolic dims.

use std::fmt;

/// Element format of a tensor. Quantized formats state their grouping along the last dim (K).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// Token ids.
    U32,
    /// `w = s · (n − 8)`, n in 0..=15, one f16 scale per `group` columns.
    Q4 {
        /// 32, 64 or 128.
        group: u16,
    },
    /// `w = s · n`, n in −31..=31, one f16 scale per 32 columns.
    Q6,
    /// `w = s · n`, n in −127..=127, one f16 scale per 32 columns.
    Q8,
    /// Activations: i8 in −127..=127, one f32 scale and one i32 sum per 32 columns, rounded to nearest even.
    A8,
}

impl DType {
    /// Columns that share a scale; `None` for unquantized formats.
    pub fn group(self) -> Option<u32> {
        match self {
            DType::F32 | DType::F16 | DType::Bf16 | DType::U32 => None,
            DType::Q4 { group } => Some(u32::from(group)),
            DType::Q6 | DType::Q8 | DType::A8 => Some(32),
        }
    }
    /// Whether it is one of the weight formats with scales.
    pub fn is_quantized_weight(self) -> bool {
        matches!(self, DType::Q4 { .. } | DType::Q6 | DType::Q8)
    }
    /// Stored bits per element, scales included.
    pub fn bits_per_element(self) -> f64 {
        match self {
            DType::F32 | DType::U32 => 32.0,
            DType::F16 | DType::Bf16 => 16.0,
            DType::Q4 { group } => 4.0 + 16.0 / f64::from(group),
            DType::Q6 => 6.5,
            DType::Q8 => 8.5,
            DType::A8 => 10.0,
        }
    }
    /// The format of the text form (`q4g32`), if there is one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "f32" => DType::F32,
            "f16" => DType::F16,
            "bf16" => DType::Bf16,
            "u32" => DType::U32,
            "q4g32" => DType::Q4 { group: 32 },
            "q4g64" => DType::Q4 { group: 64 },
            "q4g128" => DType::Q4 { group: 128 },
            "q6g32" => DType::Q6,
            "q8g32" => DType::Q8,
            "a8g32" => DType::A8,
            _ => return None,
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DType::F32 => f.write_str("f32"),
            DType::F16 => f.write_str("f16"),
            DType::Bf16 => f.write_str("bf16"),
            DType::U32 => f.write_str("u32"),
            DType::Q4 { group } => write!(f, "q4g{group}"),
            DType::Q6 => f.write_str("q6g32"),
            DType::Q8 => f.write_str("q8g32"),
            DType::A8 => f.write_str("a8g32"),
        }
    }
}

/// One dim of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dim {
    /// A number known at compile time.
    Const(u32),
    /// Tokens (in the head: rows) of this step.
    T,
    /// Tokens in the cache after this step, `P + T`.
    PT,
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Const(n) => write!(f, "{n}"),
            Dim::T => f.write_str("T"),
            Dim::PT => f.write_str("P+T"),
        }
    }
}

/// Type of a tensor: element format and shape, row-major. Text form `f32[T,96]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorType {
    /// Element format.
    pub dtype: DType,
    /// Dims, slowest first.
    pub shape: Vec<Dim>,
}

impl TensorType {
    /// A type of constant dims.
    pub fn fixed(dtype: DType, shape: &[u32]) -> Self {
        Self { dtype, shape: shape.iter().map(|&n| Dim::Const(n)).collect() }
    }
    /// The type `dtype[T, k]` of per-token rows.
    pub fn rows(dtype: DType, k: u32) -> Self {
        Self { dtype, shape: vec![Dim::T, Dim::Const(k)] }
    }
    /// The last dim, if it is a constant.
    pub fn last(&self) -> Option<u32> {
        match self.shape.last() {
            Some(Dim::Const(n)) => Some(*n),
            _ => None,
        }
    }
    /// The constant dims, if all are.
    pub fn const_shape(&self) -> Option<Vec<u32>> {
        self.shape.iter().map(|d| if let Dim::Const(n) = d { Some(*n) } else { None }).collect()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, d) in self.shape.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}
