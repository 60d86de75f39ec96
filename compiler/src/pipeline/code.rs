//! From kernels to code: the code generator, the stub for the triple, the linker; on GPUs, shaders beside the linked stub.

use sha2::{Digest as _, Sha256};
use slmc_backends::{Backend, EmitOptions, Shaders};
use slmc_ir::diag::Verified;
use slmc_ir::kernel::KernelModule;
use slmc_ir::target::GpuApi;
use slmc_runtime_stub::abi::{ABI_VERSION, CODE_MAGIC, CodeHeader};
use slmc_runtime_stub::wire::Wire as _;

use super::{CompileError, CompileOptions};
use crate::bundle::plan_bin::{CodeIdentity, feature_bits};
use crate::bundle::{BundleError, STATIC_CODE, code_name, library_name, shaders};
use crate::link::{self, CodeObject, LinkError, LinkRequest, Linked, Linker};
use crate::stub::{self, Runtime};

/// Generated code, not linked yet.
pub(super) struct Emitted {
    objects: Vec<slmc_backends::ObjectFile>,
    /// Assembly text, where asked for.
    pub(super) listing: Option<String>,
    /// The kernels of a GPU.
    pub(super) shaders: Option<Shaders>,
    /// What ties plan and code together.
    pub(super) identity: CodeIdentity,
}

/// The code generator for GPUs.
const GPU_BACKEND: &str = "naga";
/// The code generator of every build, and the one whose code is faster.
const PLAIN_BACKEND: &str = "cranelift";
const FAST_BACKEND: &str = "llvm";

/// How the names of the functions begin that a bundle offers.
const EXPORT: &str = "slm_";

/// The code generator that was asked for, or the first of this build for the target's kind of device.
pub(super) fn backend(options: &CompileOptions) -> Result<&'static dyn Backend, CompileError> {
    match &options.backend {
        Some(name) => Ok(slmc_backends::lookup(name)?),
        None if options.target.target.gpu.is_some() => Ok(slmc_backends::lookup(GPU_BACKEND)?),
        None => slmc_backends::all().into_iter().find(|b| b.name() != GPU_BACKEND).ok_or(CompileError::NoBackend),
    }
}

/// The options with the target as the code generator can use it.
pub(super) fn fitted(backend: &dyn Backend, options: &CompileOptions) -> CompileOptions {
    let mut options = options.clone();
    options.target.target = backend.fit(&options.target.target);
    options
}

/// What is lost where nobody chose the slower code generator: this build has no other.
pub(super) fn slower(backend: &dyn Backend, options: &CompileOptions) -> Option<String> {
    let chosen = options.backend.is_some() || backend.name() != PLAIN_BACKEND || slmc_backends::lookup(FAST_BACKEND).is_ok();
    (!chosen).then(|| {
        format!(
            "this build of slmc has no LLVM, so the code is made by Cranelift: with vectors of {} bits it is about 2 to 3 times slower than LLVM's \
             in generating and 6 times in reading prompts where those have 512 (install llvm-19-dev and build with `--features llvm`)",
            options.target.target.vector_bits
        )
    })
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
    let code_id = code_id(backend, &kernels, options);
    let kernel_count = kernels.kernels.len() as u32;
    let linked_kernels = if target.gpu.is_some() { 0 } else { kernel_count };
    let code_header = CodeHeader { magic: CODE_MAGIC, abi_version: ABI_VERSION, kernel_count: linked_kernels, features, code_id, reserved: 0 };
    let mut header = vec![0; CodeHeader::BYTES];
    code_header.put(&mut header);
    let module: &KernelModule = &kernels;
    let artifact = backend.emit(kernels, target, &EmitOptions { header, threads: rayon::current_num_threads(), listing })?;
    let device = match (&artifact.shaders, &target.gpu) {
        (Some(shaders), Some(gpu)) => Some(shaders::describe(module, shaders, gpu).map_err(|detail| BundleError::Plan { detail })?),
        _ => None,
    };
    let identity = CodeIdentity { code_id, kernel_count, device };
    Ok(Emitted { objects: artifact.objects, listing: artifact.listing, shaders: artifact.shaders, identity })
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

/// Links generated code with the stub, for a model of this name; also returns the linker's version line. `None` for a GPU whose
/// system has no stub in this build: its kernels need none to be compiled.
pub(super) fn link(emitted: &Emitted, options: &CompileOptions, model: &str) -> Result<Option<(Linked, String)>, CompileError> {
    let target = &options.target.target;
    let runtime = match target.gpu.as_ref().map(|gpu| gpu.api) {
        None => Runtime::Cpu,
        Some(GpuApi::Vulkan) => Runtime::Vulkan,
        Some(GpuApi::Metal) => Runtime::Metal,
    };
    let uses_gpu = target.gpu.is_some();
    let Some(stub) = stub::object(target.triple, runtime) else {
        if emitted.shaders.is_some() {
            return Ok(None);
        }
        return Err(CompileError::NoStub { triple: target.triple.to_owned(), have: stub::triples().collect::<Vec<_>>().join(", ") });
    };
    let mut objects: Vec<CodeObject<'_>> = emitted.objects.iter().map(|object| CodeObject { name: &object.name, bytes: &object.bytes }).collect();
    objects.push(CodeObject { name: "stub", bytes: stub });
    let (linked, linker) = if code_name(target.triple) == STATIC_CODE {
        let prefix = link::archive::symbol_prefix(model);
        (link::archive::link_static(&objects, &prefix, EXPORT, uses_gpu)?, "none: a static library".to_owned())
    } else {
        let linker = Linker::find(options.linker.as_deref())?;
        let exports = [format!("{EXPORT}*")];
        let exports = exports.each_ref().map(String::as_str);
        let soname = library_name(model);
        let request =
            LinkRequest { triple: target.triple, page_bytes: target.page_bytes, soname: &soname, exports: &exports, loads_driver: uses_gpu };
        (link::link_shared(&linker, &objects, &request)?, linker.version()?)
    };
    let network: Vec<String> = linked.symbols.undefined.iter().filter(|s| link::libc_table::reaches_network(s)).cloned().collect();
    if !network.is_empty() {
        return Err(LinkError::Forbidden { names: network }.into());
    }
    Ok(Some((linked, linker)))
}
