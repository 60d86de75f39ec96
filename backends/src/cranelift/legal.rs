//! What this back end cannot emit for a target.

use super::machine;
use super::types::fits;
use crate::{Unsupported, cpu, object};
use slmc_ir::kernel::{BinaryOp, Def, Expr, Kernel, KernelModule, Operand, Scalar, Type, UnaryOp, Value};
use slmc_ir::target::{DotKind, Target};

const FIT: &str = "lower for the target as this back end can use it (`Backend::fit`)";
const LEGALIZE: &str = "legalize the module for this target first";

/// Everything unsupported, in the order of the module.
pub(super) fn unsupported(module: &KernelModule, target: &Target) -> Vec<Unsupported> {
    let mut found = target_faults(target);
    for (_, kernel) in module.kernels.iter() {
        cpu::kernel_faults(kernel, &mut found);
        for (id, t) in kernel.vars.iter() {
            if !fits(*t) {
                found.push(Unsupported { at: format!("kernel `{}`, {id}", kernel.name), what: format!("a variable of type {t}"), hint: FIT });
            }
        }
        for (v, value) in kernel.values.iter() {
            if let Some((what, hint)) = value_fault(kernel, value, target) {
                found.push(Unsupported { at: format!("kernel `{}`, {v}", kernel.name), what, hint });
            }
        }
    }
    found
}

fn is_x86(target: &Target) -> bool {
    target.triple.starts_with("x86_64-")
}

fn target_faults(target: &Target) -> Vec<Unsupported> {
    let mut found = Vec::new();
    let mut fault = |what: String, hint| found.push(Unsupported { at: format!("target `{}`", target.name), what, hint });
    if object::format(target.triple).is_none() {
        fault(format!("code for `{}`", target.triple), "choose x86-64 Linux, or aarch64 Linux, Android or Apple");
    }
    if target.gpu.is_some() {
        fault("kernels for a GPU".into(), "use the back end `naga`");
        return found;
    }
    for feature in target.features.iter().filter(|f| !machine::known(f)) {
        fault(format!("the feature `{feature}`"), FIT);
    }
    let ground: &[&str] = if is_x86(target) { &["avx2", "fma"] } else { &[] };
    for feature in ground.iter().filter(|f| !target.features.contains(f)) {
        fault(format!("its vectors need the feature `{feature}`"), "choose another target");
    }
    if target.vector_bits != 128 {
        fault(format!("vectors of {} bits", target.vector_bits), FIT);
    }
    found
}

/// What is wrong with a value, and what to do.
fn value_fault(kernel: &Kernel, value: &Value, target: &Target) -> Option<(String, &'static str)> {
    let to = value.ty;
    if !fits(to) {
        return Some((format!("a value of type {to}"), FIT));
    }
    let Def::Expr(e) = &value.def else { return None };
    let of = |o: Operand| kernel.operand_type(o);
    let half = |t: Type| matches!(t.scalar, Scalar::F16 | Scalar::Bf16);
    let mask = |t: Type| t.scalar == Scalar::Bool && t.is_vector();
    const WIDEN: &str = "convert to f32, compute, convert back";
    const NUMBERS: &str = "select numbers by it first";
    match e {
        Expr::Unary(UnaryOp::Exp | UnaryOp::Tanh, _) => Some(("exp and tanh".into(), LEGALIZE)),
        Expr::Unary(..) | Expr::Binary(..) | Expr::Fma(..) if half(to) => Some((format!("arithmetic on {to}"), WIDEN)),
        Expr::Binary(op @ (BinaryOp::Div | BinaryOp::Rem), ..) if to.is_vector() && !to.scalar.is_float() => {
            Some((format!("{op:?} of {to}"), "divide lane by lane"))
        }
        Expr::Binary(BinaryOp::Mul, ..) if to.is_vector() && to.scalar.bytes() == 1 => Some((format!("products of {to}"), "convert to i16 first")),
        Expr::Binary(BinaryOp::Shl | BinaryOp::Shr, _, Operand::Value(_)) if to.is_vector() => {
            Some((format!("a shift of {to} by a value"), "shift by a constant"))
        }
        Expr::Cmp(_, a, b) => match of(*a).or(of(*b)) {
            Some(t) if half(t) => Some((format!("comparison of {t}"), WIDEN)),
            Some(t) if mask(t) => Some((format!("comparison of {t}"), NUMBERS)),
            _ => None,
        },
        Expr::Reduce(_, a) => match of(*a) {
            Some(t) if half(t) => Some((format!("reduction of {t}"), WIDEN)),
            Some(t) if t.scalar == Scalar::Bool => Some((format!("reduction of {t}"), NUMBERS)),
            _ => None,
        },
        Expr::Repeat(a) => of(*a).filter(|t| mask(*t) && t.lanes != to.lanes).map(|t| (format!("repetition of {t}"), NUMBERS)),
        Expr::Shuffle(a, b, _) => of(*a).or(of(*b)).filter(|t| t.scalar == Scalar::Bool).map(|t| (format!("a shuffle of {t}"), NUMBERS)),
        Expr::Bitcast(a) => of(*a).filter(|t| t.scalar == Scalar::Bool).map(|t| (format!("the bits of {t}"), NUMBERS)),
        Expr::Convert(a) => {
            let from = of(*a)?;
            let halves = (half(from) || half(to)) && from.scalar != to.scalar;
            halves.then(|| (format!("conversion of {from} to {to}"), LEGALIZE))
        }
        Expr::Dot4 { a, .. } => {
            let signed = of(*a).is_some_and(|t| t.scalar == Scalar::I8);
            let here = match target.dot {
                DotKind::U8I8 => !signed,
                DotKind::I8I8 => signed,
                DotKind::Pairs | DotKind::Mmla | DotKind::None => false,
            };
            (!here).then(|| (format!("dot4 of {} and i8", if signed { "i8" } else { "u8" }), LEGALIZE))
        }
        Expr::Mmla(..) => Some(("mmla".into(), "use dot4, or lower for this target as the back end fits it")),
        Expr::Dot2(..) if to.scalar == Scalar::I16 && !is_x86(target) => Some(("dot2 of bytes".into(), LEGALIZE)),
        _ => None,
    }
}
