//! From kernels to a shared object: the code generator, the stub for the triple, the linker.

use sha2::{Digest as _, Sha256};
use slmc_backends::{Backend, EmitOptions};
use slmc_ir::diag::Verified;
use slmc_ir::kernel::KernelModule;
use slmc_runtime_stub::abi::{ABI_VERSION, CODE_MAGIC, CodeHeader};
use slmc_runtime_stub::wire::Wire as _;

use super::{CompileError, CompileOptions};
use crate::bundle::plan_bin::{CodeIdentity, feature_bits};
use crate::bundle::{BundleError, CODE};
use crate::link::{self, CodeObject, LinkError, LinkRequest, Linked, Linker};
use crate::stub::{self, Runtime};

/// Generated code, not linked yet.
pub(super) struct Emitted {
    objects: Vec<slmc_backends::ObjectFile>,
    /// Assembly text, where asked for.
    pub(super) listing: Option<String>,
    /// What ties plan and code together.
    pub(super) identity: CodeIdentity,
}

/// The code generator that was asked for, or the first of this build.
pub(super) fn backend(options: &CompileOptions) -> Result<&'static dyn Backend, CompileError> {
    match &options.backend {
        Some(name) => Ok(slmc_backends::lookup(name)?),
        None => slmc_backends::all().into_iter().next().ok_or(CompileError::NoBackend),
    }
}

pub(super) fn emit(
    backend: &dyn Backend,
    kernels: Verified<'_, KernelModule>,
    options: &CompileOptions,
    listing: bool,
) -> Result<Emitted, CompileError> {
    let target = &options.target.target;
    let features = feature_bits(&target.features)
        .map_err(|names| BundleError::Plan { detail: format!("no runtime check for CPU features {}", names.join(", ")) })?;
    let identity = CodeIdentity { code_id: code_id(backend, &kernels, options), kernel_count: kernels.kernels.len() as u32 };
    let code_header = CodeHeader {
        magic: CODE_MAGIC,
        abi_version: ABI_VERSION,
        kernel_count: identity.kernel_count,
        features,
        code_id: identity.code_id,
        reserved: 0,
    };
    let mut header = vec![0; CodeHeader::BYTES];
    code_header.put(&mut header);
    let artifact = backend.emit(kernels, target, &EmitOptions { header, threads: rayon::current_num_threads(), listing })?;
    Ok(Emitted { objects: artifact.objects, listing: artifact.listing, identity })
}

/// Everything the code generator makes code from: kernels, target, back end, and the version of slmc.
fn code_id(backend: &dyn Backend, kernels: &KernelModule, options: &CompileOptions) -> [u8; 32] {
    let target = &options.target.target;
    let mut hash = Sha256::new();
    for part in [env!("CARGO_PKG_VERSION"), backend.name(), target.triple, target.cpu, &target.features.join(","), &kernels.to_string()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Links generated code with the stub; also returns the linker's version line.
pub(super) fn link(emitted: &Emitted, options: &CompileOptions) -> Result<(Linked, String), CompileError> {
    let target = &options.target.target;
    let linker = Linker::find(options.linker.as_deref())?;
    let stub = stub::object(target.triple, Runtime::Cpu)
        .ok_or_else(|| CompileError::NoStub { triple: target.triple.to_owned(), have: stub::triples().collect::<Vec<_>>().join(", ") })?;
    let mut objects: Vec<CodeObject<'_>> = emitted.objects.iter().map(|object| CodeObject { name: &object.name, bytes: &object.bytes }).collect();
    objects.push(CodeObject { name: "stub", bytes: stub });
    let request = LinkRequest { triple: target.triple, page_bytes: target.page_bytes, soname: CODE, exports: &["slm_*"], loads_driver: false };
    let linked = link::link_shared(&linker, &objects, &request)?;
    let network: Vec<String> = linked.symbols.undefined.iter().filter(|s| link::libc_table::reaches_network(s)).cloned().collect();
    if !network.is_empty() {
        return Err(LinkError::Forbidden { names: network }.into());
    }
    Ok((linked, linker.version()?))
}
