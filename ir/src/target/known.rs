//! The targets that slmc knows by name.

use super::{DotKind, Gpu, GpuApi, Parameter, Target, Tuning};

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
            block_rows: 16,
            dot: DotKind::U8I8,
            half_convert: true,
            page_bytes: 4096,
            cores: 2,
            l2_bytes: 1 << 20,
            tuning: ahead(),
            memory_budget: 16 << 30,
            gpu: None,
        },
        Target {
            name: "x86_64-avx2",
            summary: "x86-64 Linux with AVX2, FMA and F16C (Haswell, Zen and later)",
            triple: "x86_64-unknown-linux-gnu",
            cpu: "x86-64-v3",
            features: vec!["avx2", "fma", "f16c"],
            vector_bits: 256,
            vector_registers: 16,
            block_rows: 8,
            dot: DotKind::Pairs,
            half_convert: true,
            page_bytes: 4096,
            cores: 2,
            l2_bytes: 512 << 10,
            tuning: ahead(),
            memory_budget: 16 << 30,
            gpu: None,
        },
        Target { name: "linux-arm64", summary: "arm64 Linux, any 64-bit Arm CPU (Cortex-A53, A72, Raspberry Pi 4)", ..arm(LINUX, "generic", &[]) },
        Target {
            name: "linux-arm64-dotprod",
            summary: "arm64 Linux with int8 dot products (Cortex-A76, Neoverse N1 and later)",
            ..arm(LINUX, "generic", &["dotprod"])
        },
        Target {
            name: "linux-arm64-i8mm",
            summary: "arm64 Linux with int8 matrix products (Neoverse N2 and V1, Graviton 3 and later)",
            ..arm(LINUX, "generic", &["dotprod", "i8mm"])
        },
        Target {
            name: "raspberry-pi5",
            summary: "Raspberry Pi 5 (Cortex-A76, 4 GB and more)",
            page_bytes: 16384,
            l2_bytes: 512 << 10,
            memory_budget: 3 << 30,
            ..arm(LINUX, "cortex-a76", &["dotprod"])
        },
        Target {
            name: "android-arm64",
            summary: "Android phones and scanners, any 64-bit Arm CPU",
            memory_budget: 1 << 30,
            ..arm(ANDROID, "generic", &[])
        },
        Target {
            name: "android-arm64-dotprod",
            summary: "Android phones with int8 dot products (2018 and later: Snapdragon 845, Exynos 9820, Kirin 980)",
            memory_budget: 2 << 30,
            ..arm(ANDROID, "generic", &["dotprod"])
        },
        Target {
            name: "android-arm64-i8mm",
            summary: "Android phones with int8 matrix products (2022 and later: Snapdragon 8 Gen 1, Dimensity 9000)",
            memory_budget: 3 << 30,
            ..arm(ANDROID, "generic", &["dotprod", "i8mm"])
        },
        Target {
            name: "iphone15-cpu",
            summary: "iPhone 15 and later on the CPU (Apple A16)",
            cores: 2,
            l2_bytes: 4 << 20,
            memory_budget: 3 << 30,
            ..arm("aarch64-apple-ios", "apple-a16", &["dotprod", "i8mm"])
        },
        Target {
            name: "mac-m1",
            summary: "Macs with Apple silicon on the CPU",
            l2_bytes: 3 << 20,
            memory_budget: 8 << 30,
            ..arm("aarch64-apple-darwin", "apple-m1", &["dotprod"])
        },
        Target {
            name: "iphone-simulator",
            summary: "the iPhone simulator of a Mac with Apple silicon, on the CPU",
            l2_bytes: 3 << 20,
            memory_budget: 3 << 30,
            ..arm("aarch64-apple-ios-sim", "apple-m1", &["dotprod"])
        },
        Target {
            name: "vulkan-generic",
            summary: "any Vulkan 1.1 device on x86-64 Linux, software Vulkan included: f32 arithmetic, the limits that Vulkan guarantees",
            ..vulkan("x86_64-unknown-linux-gnu", GENERIC)
        },
        Target {
            name: "vulkan-desktop",
            summary: "desktop and server GPUs on x86-64 Linux: subgroups, f16, int8 dot products",
            ..vulkan(
                "x86_64-unknown-linux-gnu",
                Gpu {
                    lanes: 256,
                    shared_bytes: 32 << 10,
                    storage_buffers: 16,
                    binding_bytes: 1 << 30,
                    subgroups: true,
                    f16: true,
                    int_dot: true,
                    ..GENERIC
                },
            )
        },
        Target {
            name: "android-adreno",
            summary: "Android phones with a Qualcomm Adreno GPU (600 series and later)",
            page_bytes: 16384,
            cores: 4,
            memory_budget: 2 << 30,
            ..vulkan("aarch64-linux-android", Gpu { lanes: 128, storage_buffers: 16, subgroups: true, f16: true, int_dot: true, ..GENERIC })
        },
        Target {
            name: "android-mali",
            summary: "Android phones with an Arm Mali GPU (Valhall and later)",
            page_bytes: 16384,
            cores: 4,
            memory_budget: 2 << 30,
            ..vulkan("aarch64-linux-android", Gpu { lanes: 128, subgroups: true, f16: true, int_dot: true, ..GENERIC })
        },
        Target {
            name: "iphone15-metal",
            summary: "iPhone 15 and later by Metal (Apple GPU family 8)",
            memory_budget: 3 << 30,
            ..metal("aarch64-apple-ios", Gpu { lanes: 128, ..APPLE })
        },
        Target {
            name: "mac-m1-metal",
            summary: "Macs with Apple silicon by Metal (Apple GPU family 7)",
            cores: 4,
            memory_budget: 8 << 30,
            ..metal("aarch64-apple-darwin", APPLE)
        },
    ]
}

const LINUX: &str = "aarch64-unknown-linux-gnu";
const ANDROID: &str = "aarch64-linux-android";

/// Schedules that do not leave prefetching to the processor: that of x86-64 stops at the end of a page, and pages of a mapped file lie
/// anywhere.
fn ahead() -> Tuning {
    Tuning::default().with(Parameter::Prefetch, 4 << 10)
}

/// A 64-bit Arm CPU, by its four fast cores. Pages may have 16 KiB on Android and always have on Apple's systems.
fn arm(triple: &'static str, cpu: &'static str, features: &[&'static str]) -> Target {
    Target {
        name: "",
        summary: "",
        triple,
        cpu,
        features: features.to_vec(),
        vector_bits: 128,
        vector_registers: 32,
        block_rows: 16,
        dot: if features.contains(&"i8mm") {
            DotKind::Mmla
        } else if features.contains(&"dotprod") {
            DotKind::I8I8
        } else {
            DotKind::None
        },
        half_convert: true,
        page_bytes: if triple == LINUX { 4096 } else { 16384 },
        cores: 4,
        l2_bytes: 256 << 10,
        tuning: Tuning::default(),
        memory_budget: 16 << 30,
        gpu: None,
    }
}

/// What every Vulkan 1.1 device has, as far as kernels ask.
const GENERIC: Gpu = Gpu {
    api: GpuApi::Vulkan,
    lanes: 128,
    shared_bytes: 16 << 10,
    storage_buffers: 8,
    binding_bytes: 128 << 20,
    offset_align: 256,
    subgroups: false,
    f16: false,
    int_dot: false,
};

/// Apple GPUs of family 7 and later. Metal Shading Language has no dot product of packed bytes.
const APPLE: Gpu = Gpu {
    api: GpuApi::Metal,
    lanes: 256,
    shared_bytes: 32 << 10,
    storage_buffers: 30,
    binding_bytes: 1 << 30,
    offset_align: 256,
    subgroups: true,
    f16: true,
    int_dot: false,
};

/// A Vulkan target that needs nothing special of its host CPU. Vector fields speak of kernels on CPUs and are not read.
fn vulkan(triple: &'static str, gpu: Gpu) -> Target {
    let cpu = if triple.starts_with("x86_64") { "x86-64" } else { "generic" };
    Target {
        name: "",
        summary: "",
        triple,
        cpu,
        features: Vec::new(),
        vector_bits: 128,
        vector_registers: 16,
        block_rows: 4,
        dot: if gpu.int_dot { DotKind::I8I8 } else { DotKind::None },
        half_convert: true,
        page_bytes: 4096,
        cores: 2,
        l2_bytes: 512 << 10,
        tuning: Tuning::default(),
        memory_budget: 16 << 30,
        gpu: Some(gpu),
    }
}

/// A Metal target; Apple's pages have 16 KiB.
fn metal(triple: &'static str, gpu: Gpu) -> Target {
    Target { page_bytes: 16384, ..vulkan(triple, gpu) }
}

/// The target of a name.
pub fn find(name: &str) -> Option<Target> {
    known().into_iter().find(|t| t.name == name)
}
