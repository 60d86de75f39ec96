//! What `plan.bin` and the manifest say of a bundle's shaders: one record a kernel, and what they ask of a device.

use slmc_backends::{Shader, Shaders};
use slmc_ir::kernel::{Access, Buffer, Builtin, Def, Expr, Kernel, KernelModule, Scalar, Stmt};
use slmc_ir::plan::{Plan, place_of};
use slmc_ir::target::{Gpu, GpuApi};
use slmc_runtime_stub::abi::{self, device_feature, device_kind};

use super::manifest::GpuInfo;

/// The kernels of a GPU bundle as the ABI describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCode {
    /// One of [`device_kind`].
    pub kind: u32,
    /// Bits of [`device_feature`].
    pub features: u64,
    /// One a kernel, in the module's order.
    pub shaders: Vec<abi::Shader>,
}

/// The number of a programming interface in the ABI.
pub fn kind_of(api: GpuApi) -> u32 {
    match api {
        GpuApi::Vulkan => device_kind::VULKAN,
        GpuApi::Metal => device_kind::METAL,
    }
}

/// Describes the shaders that `kernels` became.
///
/// # Errors
/// In words, what does not fit the ABI's records.
pub fn describe(kernels: &KernelModule, shaders: &Shaders, gpu: &Gpu) -> Result<DeviceCode, String> {
    if shaders.kernels.len() != kernels.kernels.len() {
        return Err(format!("{} kernels became {} shaders", kernels.kernels.len(), shaders.kernels.len()));
    }
    let records = kernels.kernels.iter().zip(&shaders.kernels).map(|((_, kernel), shader)| record(kernel, shader));
    Ok(DeviceCode { kind: kind_of(gpu.api), features: features(kernels, gpu), shaders: records.collect::<Result<_, _>>()? })
}

fn record(kernel: &Kernel, shader: &Shader) -> Result<abi::Shader, String> {
    let params: Vec<&Buffer> = kernel.params().map(|(_, buffer)| buffer).collect();
    let most = abi::MAX_PARAMETERS as usize;
    if params.len() > most {
        return Err(format!("kernel @{} has {} parameters; the runtime takes {most}", kernel.name, params.len()));
    }
    let mut workgroup_bytes = [0; abi::MAX_WORKGROUP_ARRAYS as usize];
    let Some(room) = workgroup_bytes.get_mut(..shader.workgroup.len()) else {
        return Err(format!(
            "kernel @{} has {} workgroup arrays; the runtime takes {}",
            kernel.name,
            shader.workgroup.len(),
            abi::MAX_WORKGROUP_ARRAYS
        ));
    };
    room.copy_from_slice(&shader.workgroup);
    let mut entry = [0; 64];
    match entry[..63].get_mut(..shader.entry.len()) {
        Some(room) => room.copy_from_slice(shader.entry.as_bytes()),
        None => return Err(format!("the entry point {} has more than 63 bytes", shader.entry)),
    }
    let mask = |test: fn(Access) -> bool| params.iter().enumerate().filter(|(_, b)| test(b.access)).fold(0, |mask, (i, _)| mask | 1 << i);
    Ok(abi::Shader {
        offset: shader.offset,
        bytes: shader.bytes,
        lanes: kernel.lanes,
        binding_count: params.len() as u32,
        reads: mask(|access| matches!(access, Access::Read | Access::ReadWrite)),
        writes: mask(|access| matches!(access, Access::Write | Access::ReadWrite)),
        step_slot: shader.step_slot,
        workgroup_count: shader.workgroup.len() as u32,
        workgroup_bytes,
        entry,
    })
}

/// What the kernels use of what the target has.
fn features(kernels: &KernelModule, gpu: &Gpu) -> u64 {
    let any = |test: &dyn Fn(&Kernel) -> bool| kernels.kernels.iter().any(|(_, kernel)| test(kernel));
    let defines =
        |test: fn(&Expr) -> bool| any(&|kernel: &Kernel| kernel.values.iter().any(|(_, value)| matches!(&value.def, Def::Expr(expr) if test(expr))));
    let half = any(&|kernel: &Kernel| {
        let values = kernel.values.iter().any(|(_, value)| value.ty.scalar == Scalar::F16);
        values || kernel.buffers.iter().any(|(_, buffer)| buffer.elem.scalar == Scalar::F16)
    });
    let subgroups = any(&|kernel: &Kernel| reduces(&kernel.body))
        || defines(|e| matches!(e, Expr::Builtin(Builtin::Subgroup | Builtin::SubgroupLane | Builtin::Subgroups)));
    let dots = defines(|e| matches!(e, Expr::Dot4 { .. }));
    let bits = [
        (subgroups && gpu.subgroups, device_feature::SUBGROUP),
        (half && gpu.f16, device_feature::F16),
        (dots && gpu.int_dot, device_feature::INT_DOT),
    ];
    bits.into_iter().filter(|(on, _)| *on).fold(0, |sum, (_, bit)| sum | bit)
}

fn reduces(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|stmt| match stmt {
        Stmt::Subgroup { .. } => true,
        Stmt::For { body, .. } => reduces(body),
        Stmt::If { then, otherwise, .. } => reduces(then) || reduces(otherwise),
        Stmt::Let(_) | Stmt::Load { .. } | Stmt::Store { .. } | Stmt::Prefetch { .. } | Stmt::Var { .. } | Stmt::Get { .. } | Stmt::Set { .. } => {
            false
        }
        Stmt::Barrier => false,
    })
}

/// Names of feature bits.
pub fn feature_names(bits: u64) -> Vec<String> {
    device_feature::NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| (*name).to_owned()).collect()
}

/// What a device must have to run the bundle.
pub fn requirements(code: &DeviceCode, plan: &Plan, gpu: &Gpu, file: &str) -> GpuInfo {
    let bindings = plan.lists().into_iter().flat_map(|(_, list)| list).flat_map(|dispatch| &dispatch.bindings);
    GpuInfo {
        api: gpu.api.name().to_owned(),
        kernels: file.to_owned(),
        features: feature_names(code.features),
        invocations: code.shaders.iter().map(|s| s.lanes).max().unwrap_or(0),
        workgroup_bytes: code.shaders.iter().map(|s| s.workgroup_total()).max().unwrap_or(0),
        storage_buffers: code.shaders.iter().map(|s| s.binding_count).max().unwrap_or(0),
        binding_bytes: bindings.filter_map(|&binding| place_of(plan, binding)).map(|(_, bytes)| bytes).max().unwrap_or(0),
    }
}
