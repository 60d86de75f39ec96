//! What this back end cannot emit for a target: LLVM ends the process on an instruction it cannot select, so everything is
//! checked here first. Says too what in the target LLVM does not know, which it would only warn of.

use crate::{Unsupported, cpu};
use slmc_ir::kernel::{Def, Expr, Kernel, KernelModule, Operand, Scalar, Type, UnaryOp, Value};
use slmc_ir::target::{DotKind, Target};

/// CPU names that targets may have.
const CPUS: [&str; 12] = [
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
];

/// Features that targets may have; those in `GROUND` every target needs.
const FEATURES: [&str; 18] = [
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
];
const GROUND: [&str; 3] = ["avx2", "fma", "f16c"];

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
    if !target.triple.starts_with("x86_64-") {
        fault(format!("code for `{}`", target.triple), "choose an x86-64 target");
    }
    if target.gpu.is_some() {
        fault("kernels for a GPU".into(), "use the back end `naga`");
        return found;
    }
    if !CPUS.contains(&target.cpu) {
        fault(format!("the CPU `{}` is not known", target.cpu), "name a general one such as x86-64-v3 and list the features");
    }
    for feature in target.features.iter().filter(|f| !FEATURES.contains(f)) {
        fault(format!("the feature `{feature}` is not known"), "leave it out");
    }
    let mut needed: Vec<&str> = GROUND.to_vec();
    if target.vector_bits == 512 {
        needed.extend(["avx512f", "avx512bw", "avx512vl", "avx512dq"]);
    }
    if target.dot == DotKind::U8I8 {
        needed.extend(["avx512vnni", "avx512vl"]);
    }
    needed.dedup();
    for feature in needed.into_iter().filter(|f| !target.features.contains(f)) {
        fault(format!("its vectors need the feature `{feature}`"), "add the feature or choose a smaller target");
    }
    if !matches!(target.vector_bits, 128 | 256 | 512) {
        fault(format!("vectors of {} bits", target.vector_bits), "expected 128, 256 or 512");
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
            if target.dot != DotKind::U8I8 {
                return Some(("dot4".into(), "legalize the module for this target first"));
            }
            let signed = of(*a).is_some_and(|t| t.scalar == Scalar::I8);
            signed.then(|| ("dot4 of i8 and i8".into(), "legalize the module for this target first"))
        }
        Expr::Dot2(..) if to.bytes() < 4 => Some((format!("dot2 to {to}"), "use at least four bytes")),
        _ => None,
    }
}
