//! Cranelift's instruction sets: from a kernel to an object.
//!
//! Every setting that shapes code is set here or left at a default that depends on nothing but Cranelift's version. Cranelift's
//! own verifier runs over every function.

use super::{Fault, abi};
use crate::{ObjectFile, cpu, object};
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::{self, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable as _};
use slmc_ir::kernel::Kernel;
use slmc_ir::target::Target;

/// An object and, where asked for, its instructions as text.
pub(super) struct Emitted {
    pub(super) object: ObjectFile,
    pub(super) listing: Option<String>,
}

/// Settings of all instruction sets. Nothing unwinds through kernels, and their frames are bounded: no probes.
const SHARED: [(&str, &str); 5] =
    [("opt_level", "speed"), ("is_pic", "true"), ("enable_verifier", "true"), ("unwind_info", "false"), ("enable_probestack", "false")];

/// What Cranelift calls each feature of a target, with those that it implies.
const FEATURES: [(&str, &[&str]); 6] = [
    ("avx2", &["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_avx", "has_avx2"]),
    ("fma", &["has_fma"]),
    ("avx512f", &["has_avx512f"]),
    ("avx512vl", &["has_avx512vl"]),
    ("avx512vnni", &["has_avx512vnni"]),
    ("dotprod", &["has_dotprod"]),
];

/// The features that this back end knows.
pub(super) fn known(feature: &str) -> bool {
    FEATURES.iter().any(|(name, _)| *name == feature)
}

/// The instruction set of a target.
pub(super) fn isa(target: &Target) -> Result<OwnedTargetIsa, Fault> {
    let mut shared = settings::builder();
    for (name, value) in SHARED {
        shared.set(name, value).map_err(|e| Fault(format!("setting {name}: {e}")))?;
    }
    let mut own = isa::lookup_by_name(target.triple).map_err(|e| Fault(format!("{}: {e}", target.triple)))?;
    for (_, flags) in FEATURES.iter().filter(|(name, _)| target.features.contains(name)) {
        for flag in *flags {
            own.enable(flag).map_err(|e| Fault(format!("setting {flag}: {e}")))?;
        }
    }
    own.finish(settings::Flags::new(shared)).map_err(|e| Fault(e.to_string()))
}

/// Compiles a kernel.
pub(super) fn emit(isa: &dyn TargetIsa, target: &Target, kernel: &Kernel, listing: bool) -> Result<Emitted, Fault> {
    let mut cx = Context::for_function(abi::function(isa, target, kernel)?);
    cx.set_disasm(listing);
    let compiled = cx.compile(isa, &mut ControlPlane::default()).map_err(|e| Fault(format!("{:?}", e.inner)))?;
    if let Some(relocation) = compiled.buffer.relocs().first() {
        return Err(Fault(format!("the code needs something from elsewhere: {relocation:?}")));
    }
    let symbol = cpu::symbol(&kernel.name);
    let object = object::kernel(target.triple, &symbol, compiled.code_buffer()).map_err(Fault)?;
    let listing = compiled.vcode.as_ref().map(|text| format!("{symbol}:\n{text}\n"));
    Ok(Emitted { object, listing })
}
