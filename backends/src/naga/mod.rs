//! The naga back end: SPIR-V for Vulkan and MSL for Metal, from one structured IR.
//!
//! Kernels become naga entry points ([`entry`], [`stmt`], [`expr`], [`convert`]); naga validates every module before it writes
//! it ([`spirv`], [`metal`]). What a device or naga cannot say is found before by [`legal`]. A bundle's host gets an object
//! with the code header and no code ([`crate::object`]).

mod builder;
mod convert;
mod entry;
mod expr;
mod func;
mod legal;
mod metal;
mod spirv;
mod stmt;
mod types;

use crate::{Artifact, Backend, BackendError, EmitOptions, Shader, Shaders, Unsupported, object};
use naga::back::wgsl;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use slmc_ir::diag::Verified;
use slmc_ir::kernel::{Kernel, KernelModule};
use slmc_ir::target::{Gpu, GpuApi, Target};

/// The back end.
pub struct Naga;

const NAME: &str = "naga";

/// Workgroup arrays have multiples of this many bytes.
const WORKGROUP_UNIT: u32 = 16;

impl Backend for Naga {
    fn name(&self) -> &'static str {
        NAME
    }

    fn unsupported(&self, module: &KernelModule, target: &Target) -> Vec<Unsupported> {
        legal::unsupported(module, target)
    }

    fn emit(&self, module: Verified<'_, KernelModule>, target: &Target, options: &EmitOptions) -> Result<Artifact, BackendError> {
        let found = self.unsupported(&module, target);
        let (Some(gpu), true) = (&target.gpu, found.is_empty()) else {
            return Err(BackendError::Unsupported { backend: NAME, found });
        };
        let table = object::table(target.triple, &[], &options.header).map_err(|detail| bug("the object of the host", Fault(detail)))?;
        let kernels: Vec<&Kernel> = module.kernels.iter().map(|(_, k)| k).collect();
        let (shaders, listing) = match gpu.api {
            GpuApi::Vulkan => vulkan(&kernels, gpu, options.listing)?,
            GpuApi::Metal => metal(&kernels, gpu, options.listing)?,
        };
        Ok(Artifact { objects: vec![table], listing, shaders: Some(shaders) })
    }
}

/// Why a module could not be made.
#[derive(Debug)]
struct Fault(String);

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        Fault(text)
    }
}

fn bug(at: &str, fault: Fault) -> BackendError {
    BackendError::Bug { backend: NAME, at: at.to_owned(), detail: fault.0 }
}

/// A module with its proof of validity, and of each kernel the bytes of its workgroup arrays.
struct Made {
    module: naga::Module,
    info: ModuleInfo,
    workgroup: Vec<Vec<u32>>,
}

/// The module of some kernels, numbered from `first`.
fn make(kernels: &[&Kernel], first: usize, gpu: &Gpu) -> Result<Made, BackendError> {
    let mut module = naga::Module::default();
    let step = entry::step(&mut module);
    let mut arrays = Vec::new();
    for (n, kernel) in kernels.iter().enumerate() {
        let name = entry::name(first + n, &kernel.name);
        let made = entry::add(&mut module, step, kernel, name).map_err(|f| bug(&format!("kernel `{}`", kernel.name), f))?;
        arrays.push(made);
    }
    // That barriers stand in uniform flow is proven by the kernel's verifier, which knows more of it.
    let flags = ValidationFlags::all() - ValidationFlags::CONTROL_FLOW_UNIFORMITY;
    let mut able = Capabilities::IMMEDIATES | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    able.set(Capabilities::SUBGROUP, gpu.subgroups);
    able.set(Capabilities::SHADER_FLOAT16, gpu.f16);
    let info = Validator::new(flags, able).validate(&module).map_err(|e| {
        let at = kernels.iter().map(|k| format!("`{}`", k.name)).collect::<Vec<_>>().join(", ");
        bug(&format!("kernel {at}"), e.into_inner().into())
    })?;
    let padded = |bytes: u32| bytes.next_multiple_of(WORKGROUP_UNIT);
    let workgroup = arrays.iter().enumerate().map(|(i, arrays)| {
        let used = info.get_entry_point(i);
        arrays.iter().filter(|(v, _)| !used[*v].is_empty()).map(|(_, bytes)| padded(*bytes)).collect()
    });
    let workgroup = workgroup.collect();
    Ok(Made { module, info, workgroup })
}

fn params(kernel: &Kernel) -> u32 {
    kernel.params().count() as u32
}

fn wgsl_text(made: &Made, at: &str) -> Result<String, BackendError> {
    wgsl::write_string(&made.module, &made.info, wgsl::WriterFlags::empty()).map_err(|e| bug(at, e.into()))
}

/// `kernels.spv`: the modules of all kernels, one after the other.
fn vulkan(kernels: &[&Kernel], gpu: &Gpu, listed: bool) -> Result<(Shaders, Option<String>), BackendError> {
    let mut shaders = Shaders { file: "kernels.spv", bytes: Vec::new(), kernels: Vec::new() };
    let mut listing = listed.then(String::new);
    for (i, kernel) in kernels.iter().enumerate() {
        let at = format!("kernel `{}`", kernel.name);
        let mut made = make(&[kernel], i, gpu)?;
        let words = spirv::write(&made.module, &made.info, gpu).map_err(|f| bug(&at, f))?;
        if let Some(all) = &mut listing {
            all.push_str(&format!("// {}\n{}\n", kernel.name, wgsl_text(&made, &at)?));
        }
        shaders.kernels.push(Shader {
            entry: entry::name(i, &kernel.name),
            offset: shaders.bytes.len() as u64,
            bytes: 4 * words.len() as u64,
            workgroup: made.workgroup.pop().unwrap_or_default(),
            step_slot: params(kernel),
        });
        shaders.bytes.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    }
    Ok((shaders, listing))
}

/// `kernels.metal`: one text.
fn metal(kernels: &[&Kernel], gpu: &Gpu, listed: bool) -> Result<(Shaders, Option<String>), BackendError> {
    let made = make(kernels, 0, gpu)?;
    let counts: Vec<u32> = kernels.iter().map(|k| params(k)).collect();
    let (text, names) = metal::write(&made.module, &made.info, &counts).map_err(|f| bug("kernels.metal", f))?;
    let listing = if listed { Some(wgsl_text(&made, "the listing")?) } else { None };
    let mut shaders = Shaders { file: "kernels.metal", bytes: text.into_bytes(), kernels: Vec::new() };
    for ((entry, workgroup), step_slot) in names.into_iter().zip(made.workgroup).zip(counts) {
        if entry.len() > entry::MOST_NAME {
            return Err(bug(&entry, Fault(format!("the entry point's name has more than {} bytes", entry::MOST_NAME))));
        }
        shaders.kernels.push(Shader { entry, offset: 0, bytes: shaders.bytes.len() as u64, workgroup, step_slot });
    }
    Ok((shaders, listing))
}
