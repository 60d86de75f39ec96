//! Types of the kernel IR: scalars and vectors of them.

use std::fmt;

/// A scalar type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// Two's complement, wraps.
    I8,
    /// Wraps.
    U8,
    /// Two's complement, wraps. Made by legalization; GPUs lack it.
    I16,
    /// Two's complement, wraps.
    I32,
    /// Indices: must not wrap.
    U32,
    /// One truth value; has no memory form.
    Bool,
}

impl Scalar {
    /// Every scalar with its name.
    pub const ALL: [(Scalar, &'static str); 9] = [
        (Scalar::F32, "f32"),
        (Scalar::F16, "f16"),
        (Scalar::Bf16, "bf16"),
        (Scalar::I8, "i8"),
        (Scalar::U8, "u8"),
        (Scalar::I16, "i16"),
        (Scalar::I32, "i32"),
        (Scalar::U32, "u32"),
        (Scalar::Bool, "bool"),
    ];
    /// Bytes in memory; 0 for `bool`, which has no memory form.
    pub fn bytes(self) -> u32 {
        match self {
            Scalar::F32 | Scalar::I32 | Scalar::U32 => 4,
            Scalar::F16 | Scalar::Bf16 | Scalar::I16 => 2,
            Scalar::I8 | Scalar::U8 => 1,
            Scalar::Bool => 0,
        }
    }
    /// Whether it is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Scalar::F32 | Scalar::F16 | Scalar::Bf16)
    }
    /// Whether it is an integer type (`bool` is not).
    pub fn is_int(self) -> bool {
        matches!(self, Scalar::I8 | Scalar::U8 | Scalar::I16 | Scalar::I32 | Scalar::U32)
    }
    /// Whether it is a signed integer type.
    pub fn is_signed(self) -> bool {
        matches!(self, Scalar::I8 | Scalar::I16 | Scalar::I32)
    }
}

/// A scalar (`lanes == 1`) or a vector of 2 to 64 lanes, a power of two. Text form `f32`, `f32x16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Type {
    /// Type of a lane.
    pub scalar: Scalar,
    /// Number of lanes.
    pub lanes: u16,
}

impl Type {
    /// `u32`, the type of indices.
    pub const INDEX: Type = Type::scalar(Scalar::U32);
    /// A scalar type.
    pub const fn scalar(scalar: Scalar) -> Self {
        Self { scalar, lanes: 1 }
    }
    /// A vector type (a scalar one for `lanes == 1`).
    pub const fn vector(scalar: Scalar, lanes: u16) -> Self {
        Self { scalar, lanes }
    }
    /// The type with other lanes.
    pub fn with_scalar(self, scalar: Scalar) -> Self {
        Self { scalar, ..self }
    }
    /// Bytes in memory.
    pub fn bytes(self) -> u32 {
        self.scalar.bytes() * u32::from(self.lanes)
    }
    /// Whether it has more than one lane.
    pub fn is_vector(self) -> bool {
        self.lanes > 1
    }
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((_, n)) = Scalar::ALL.iter().find(|(_, n)| *n == text) {
            let scalar = Scalar::ALL.iter().find(|(_, m)| m == n)?.0;
            return Some(Type::scalar(scalar));
        }
        let (name, lanes) = text.rsplit_once('x')?;
        let scalar = Scalar::ALL.iter().find(|(_, n)| *n == name)?.0;
        let lanes: u16 = lanes.parse().ok()?;
        (lanes.is_power_of_two() && (2..=64).contains(&lanes)).then_some(Type { scalar, lanes })
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Scalar::ALL.iter().find(|(s, _)| s == self).map_or("?", |(_, n)| n);
        f.write_str(name)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lanes == 1 { write!(f, "{}", self.scalar) } else { write!(f, "{}x{}", self.scalar, self.lanes) }
    }
}
