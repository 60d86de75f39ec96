//! Targets as Cranelift can use them.

use super::machine;
use slmc_ir::target::{DotKind, Target};

/// x86-64 has sixteen vector registers without AVX-512, of whose others Cranelift knows nothing.
const X86_REGISTERS: u16 = 16;

/// The target with 128-bit vectors, without conversions of 16-bit floats, with the integer dot products that Cranelift makes best:
/// on aarch64 always four i8·i8, for which it takes `sdot` or, without that, six other instructions.
pub(super) fn fit(target: &Target) -> Target {
    let x86 = target.triple.starts_with("x86_64-");
    let has = |feature: &str| target.features.contains(&feature);
    let dot = match (x86, target.dot) {
        (true, DotKind::U8I8) if has("avx512vl") && has("avx512vnni") => DotKind::U8I8,
        (true, DotKind::U8I8 | DotKind::Pairs) => DotKind::Pairs,
        (true, DotKind::I8I8 | DotKind::Mmla | DotKind::None) => DotKind::None,
        (false, _) => DotKind::I8I8,
    };
    // No device is asked for what the code does not use.
    let used = |feature: &&str| machine::known(feature) && (dot == DotKind::U8I8 || !feature.starts_with("avx512"));
    Target {
        features: target.features.iter().copied().filter(used).collect(),
        vector_bits: 128,
        block_rows: 4,
        vector_registers: if x86 { X86_REGISTERS } else { target.vector_registers },
        dot,
        half_convert: false,
        ..target.clone()
    }
}
