//! The targets that slmc knows by name.

use super::{DotKind, Target};

/// All targets, in the order in which they are listed.
pub fn known() -> Vec<Target> {
    vec![
        Target {
            name: "x86_64-avx512vnni",
            summary: "x86-64 Linux with AVX-512 VNNI (Ice Lake, Zen 4 and later)",
            triple: "x86_64-unknown-linux-gnu",
            cpu: "x86-64-v4",
            features: vec!["avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni"],
            vector_bits: 512,
            vector_registers: 32,
            dot: DotKind::U8I8,
            page_bytes: 4096,
            cores: 2,
            l2_bytes: 1 << 20,
            memory_budget: 16 << 30,
        },
        Target {
            name: "x86_64-avx2",
            summary: "x86-64 Linux with AVX2, FMA and F16C (Haswell, Zen and later)",
            triple: "x86_64-unknown-linux-gnu",
            cpu: "x86-64-v3",
            features: vec!["avx2", "fma", "f16c"],
            vector_bits: 256,
            vector_registers: 16,
            dot: DotKind::Pairs,
            page_bytes: 4096,
            cores: 2,
            l2_bytes: 512 << 10,
            memory_budget: 16 << 30,
        },
    ]
}

/// The target of a name.
pub fn find(name: &str) -> Option<Target> {
    known().into_iter().find(|t| t.name == name)
}
