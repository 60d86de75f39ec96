//! Targets as Cranelift can use them.

use slmc_ir::target::{DotKind, Target};

/// Features whose instructions Cranelift has; others are left out, so that no device is asked for what the code does not use.
const FEATURES: [&str; 6] = ["avx2", "fma", "avx512f", "avx512vl", "avx512vnni", "dotprod"];
/// x86-64 has sixteen vector registers without AVX-512, of whose others Cranelift knows nothing.
const X86_REGISTERS: u16 = 16;

/// The target with 128-bit vectors, without conversions of 16-bit floats, with the integer dot products that Cranelift selects.
pub(super) fn fit(target: &Target) -> Target {
    let x86 = target.triple.starts_with("x86_64-");
    let has = |feature: &str| target.features.contains(&feature);
    let dot = match target.dot {
        DotKind::U8I8 if x86 && has("avx512vl") && has("avx512vnni") => DotKind::U8I8,
        DotKind::U8I8 | DotKind::Pairs if x86 => DotKind::Pairs,
        DotKind::I8I8 if has("dotprod") => DotKind::I8I8,
        DotKind::U8I8 | DotKind::Pairs | DotKind::I8I8 | DotKind::None => DotKind::None,
    };
    let used = |feature: &&str| FEATURES.contains(feature) && (dot == DotKind::U8I8 || !feature.starts_with("avx512"));
    Target {
        features: target.features.iter().copied().filter(used).collect(),
        vector_bits: 128,
        vector_registers: if x86 { X86_REGISTERS } else { target.vector_registers },
        dot,
        half_convert: false,
        ..target.clone()
    }
}
