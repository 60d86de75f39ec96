//! Inputs of tests: random numbers of a type with its edge values among them.

use slmc_ir::kernel::Scalar;

/// Which numbers an input holds.
#[derive(Clone, Copy)]
pub enum Gen {
    /// All bit patterns, with the edges of the type among them.
    Any,
    /// Numbers from −100 to 100, or 0 to 100.
    Small,
    /// As `Any`, without zero.
    NonZero,
    /// Zero to the number.
    UpTo(u8),
}

/// Numbers of a type.
pub fn numbers(scalar: Scalar, count: u32, kind: Gen, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut out = Vec::new();
    for i in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = (state >> 32) as u32;
        let small = (random % 201) as i32 - 100;
        let bits = match (scalar, kind) {
            (_, Gen::UpTo(most)) => random % (u32::from(most) + 1),
            // Indices must not wrap, so `Any` of them are small enough for products.
            (Scalar::U32, Gen::Any | Gen::NonZero) => random % 30_000 + 1,
            (Scalar::U32 | Scalar::U8, Gen::Small) => random % 101,
            (Scalar::F32, Gen::Small) => (small as f32 * 0.37).to_bits(),
            (Scalar::F16, Gen::Small) => u32::from(half::f16::from_f32(small as f32 * 0.37).to_bits()),
            (Scalar::Bf16, Gen::Small) => u32::from(half::bf16::from_f32(small as f32 * 0.37).to_bits()),
            (_, Gen::Small) => small as u32,
            (s, Gen::Any | Gen::NonZero) => edge(s, i).unwrap_or(random),
        };
        let bits = if matches!(kind, Gen::NonZero) && bits.trailing_zeros() >= scalar.bytes() * 8 { 1 } else { bits };
        out.extend_from_slice(&bits.to_le_bytes()[..scalar.bytes() as usize]);
    }
    out
}

/// Edge values come first, then at every fifth place.
fn edge(scalar: Scalar, i: u32) -> Option<u32> {
    let floats =
        [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-40, -3e-39, 8388608.5];
    let ints = [0u32, 1, u32::MAX, 0x8000_0000, 0x7fff_ffff, 0x80, 0x7f, 0xff, 0x8000, 0x7fff, 0xffff];
    let n = if i < 16 { i } else { i / 5 };
    if i >= 16 && !i.is_multiple_of(5) {
        return None;
    }
    match scalar {
        Scalar::F32 => floats.get(n as usize % 16).map(|f| f.to_bits()),
        Scalar::F16 => floats.get(n as usize % 16).map(|f| u32::from(half::f16::from_f32(*f).to_bits())),
        Scalar::Bf16 => floats.get(n as usize % 16).map(|f| u32::from(half::bf16::from_f32(*f).to_bits())),
        _ => ints.get(n as usize % 11).copied(),
    }
}
