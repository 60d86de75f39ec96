//! What this back end cannot emit for a target: LLVM ends the process on an instruction it cannot select, so everything is
//! checked here first. Says too what in the target LLVM does not know, which it would only warn of.

use crate::{Unsupported, cpu};
use slmc_ir::kernel::{Def, Expr, Kernel, KernelModule, Operand, Scalar, Type, UnaryOp, Value};
use slmc_ir::target::{DotKind, Target};

/// What an architecture's targets may say.
struct Architecture {
    /// CPU names.
    cpus: &'static [&'static str],
    /// Features.
    features: &'static [&'static str],
    /// Features that every target needs.
    ground: &'static [&'static str],
    /// The kinds of dot product that are one instruction, with the features they need.
    dots: &'static [(DotKind, &'static [&'static str])],
}

const X86_64: Architecture = Architecture {
    cpus: &[
        "x86-64",
        "x86-64-v2",
        "x86-64-v3",
        "x86-64-v4",
        "haswell",
        "skylake",
        "skylake-avx512",
        "icelake-client",
        "icelake-server",
        "sapphirerapids",
        "znver3",
        "znver4",
    ],
    features: &[
        "sse3",
        "ssse3",
        "sse4.1",
        "sse4.2",
        "popcnt",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "bmi",
        "bmi2",
        "lzcnt",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512dq",
        "avx512cd",
        "avx512vnni",
    ],
    ground: &["avx2", "fma", "f16c"],
    dots: &[(DotKind::U8I8, &["avx512vnni", "avx512vl"])],
};

/// NEON, fused multiply-add and conversions of f16 are a part of every 64-bit Arm CPU.
const AARCH64: Architecture = Architecture {
    cpus: &[
        "generic",
        "cortex-a53",
        "cortex-a55",
        "cortex-a72",
        "cortex-a76",
        "cortex-a78",
        "cortex-a510",
        "cortex-a710",
        "cortex-a715",
        "cortex-a720",
        "cortex-x1",
        "cortex-x2",
        "cortex-x3",
        "cortex-x4",
        "neoverse-n1",
        "neoverse-n2",
        "neoverse-v1",
        "neoverse-v2",
        "oryon-1",
        "apple-a14",
        "apple-a15",
        "apple-a16",
        "apple-a17",
        "apple-m1",
        "apple-m2",
        "apple-m3",
        "apple-m4",
    ],
    features: &["dotprod", "i8mm", "fp16"],
    ground: &[],
    dots: &[(DotKind::I8I8, &["dotprod"]), (DotKind::Mmla, &["dotprod", "i8mm"])],
};

impl Architecture {
    fn of(target: &Target) -> Option<&'static Self> {
        match target.triple.split('-').next() {
            Some("x86_64") => Some(&X86_64),
            Some("aarch64") => Some(&AARCH64),
            _ => None,
        }
    }

    /// Features that dot products of a kind need, if it has that kind.
    fn dot_features(&self, kind: DotKind) -> Option<&'static [&'static str]> {
        self.dots.iter().find(|(has, _)| *has == kind).map(|(_, features)| *features)
    }
}

/// Everything unsupported, in the order of the module.
pub(super) fn unsupported(module: &KernelModule, target: &Target) -> Vec<Unsupported> {
    let mut found = target_faults(target);
    for (_, kernel) in module.kernels.iter() {
        cpu::kernel_faults(kernel, &mut found);
        for (v, value) in kernel.values.iter() {
            if let Some((what, hint)) = value_fault(kernel, value, target) {
                found.push(Unsupported { at: format!("kernel `{}`, {v}", kernel.name), what, hint });
            }
        }
    }
    found
}

fn target_faults(target: &Target) -> Vec<Unsupported> {
    let mut found = Vec::new();
    let mut fault = |what: String, hint| found.push(Unsupported { at: format!("target `{}`", target.name), what, hint });
    let Some(arch) = Architecture::of(target) else {
        fault(format!("code for `{}`", target.triple), "choose a target with an x86-64 or arm64 CPU");
        return found;
    };
    if target.gpu.is_some() {
        fault("kernels for a GPU".into(), "use the back end `naga`");
        return found;
    }
    if !arch.cpus.contains(&target.cpu) {
        fault(format!("the CPU `{}` is not known", target.cpu), "name a general one such as x86-64-v3 or generic and list the features");
    }
    for feature in target.features.iter().filter(|f| !arch.features.contains(f)) {
        fault(format!("the feature `{feature}` is not known"), "leave it out");
    }
    let mut needed: Vec<&str> = arch.ground.to_vec();
    if target.vector_bits == 512 {
        needed.extend(["avx512f", "avx512bw", "avx512vl", "avx512dq"]);
    }
    if let Some(features) = arch.dot_features(target.dot) {
        needed.extend(features);
    }
    needed.dedup();
    for feature in needed.into_iter().filter(|f| !target.features.contains(f)) {
        fault(format!("its vectors need the feature `{feature}`"), "add the feature or choose a smaller target");
    }
    let widths: &[u16] = if target.triple.starts_with("x86_64") { &[128, 256, 512] } else { &[128] };
    if !widths.contains(&target.vector_bits) {
        fault(format!("vectors of {} bits", target.vector_bits), "expected 128, on x86-64 also 256 or 512");
    }
    found
}

/// What is wrong with a value, and what to do.
fn value_fault(kernel: &Kernel, value: &Value, target: &Target) -> Option<(String, &'static str)> {
    let Def::Expr(e) = &value.def else { return None };
    let to = value.ty;
    let of = |o: Operand| kernel.operand_type(o);
    let half = |t: Type| matches!(t.scalar, Scalar::F16 | Scalar::Bf16);
    const WIDEN: &str = "convert to f32, compute, convert back";
    match e {
        Expr::Unary(UnaryOp::Exp | UnaryOp::Tanh, _) => Some(("exp and tanh".into(), "legalize the module first")),
        Expr::Unary(..) | Expr::Binary(..) | Expr::Fma(..) if half(to) => Some((format!("arithmetic on {to}"), WIDEN)),
        Expr::Cmp(_, a, b) => of(*a).or(of(*b)).filter(|t| half(*t)).map(|t| (format!("comparison of {t}"), WIDEN)),
        Expr::Reduce(_, a) => of(*a).filter(|t| half(*t)).map(|t| (format!("reduction of {t}"), WIDEN)),
        Expr::Convert(a) => {
            let from = of(*a)?;
            let wide = matches!(from.scalar, Scalar::I32 | Scalar::U32) && half(to);
            wide.then(|| (format!("conversion of {from} to {to}"), "convert to f32 first"))
        }
        Expr::Dot4 { a, .. } => {
            const LEGALIZE: &str = "legalize the module for this target first";
            if Architecture::of(target).and_then(|arch| arch.dot_features(target.dot)).is_none() {
                return Some(("dot4".into(), LEGALIZE));
            }
            let signed = of(*a).is_some_and(|t| t.scalar == Scalar::I8);
            let takes_signed = matches!(target.dot, DotKind::I8I8 | DotKind::Mmla);
            (signed != takes_signed).then(|| (format!("dot4 of {} and i8", if signed { "i8" } else { "u8" }), LEGALIZE))
        }
        Expr::Mmla(..) if target.dot != DotKind::Mmla => {
            Some(("mmla".into(), "use dot4, or choose a target with i8mm, whose dot products are of the kind mmla"))
        }
        Expr::Dot2(..) if !target.triple.starts_with("x86_64") => Some(("dot2".into(), "legalize the module for this target first")),
        Expr::Dot2(..) if to.bytes() < 4 => Some((format!("dot2 to {to}"), "use at least four bytes")),
        _ => None,
    }
}
