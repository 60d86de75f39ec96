//! What is known of a GPU: its programming interface, its limits, and what its compute shaders may use.

/// How kernels reach a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuApi {
    /// SPIR-V 1.3 through Vulkan 1.1.
    Vulkan,
    /// Metal Shading Language 2.3 through Metal.
    Metal,
}

/// Limits and abilities. A bundle asks its device for no more than these when it opens, and lowering uses no more.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// How kernels reach it; read by the code generator and the bundle writer.
    pub api: GpuApi,
    /// Invocations of a workgroup that schedules use; a multiple of 32.
    pub lanes: u32,
    /// Workgroup memory that a kernel may take, bytes.
    pub shared_bytes: u32,
    /// Storage buffers that a kernel may bind.
    pub storage_buffers: u32,
    /// Bytes of one binding, at most; larger weights are split by rows.
    pub binding_bytes: u64,
    /// Alignment of a binding in its buffer, bytes.
    pub offset_align: u32,
    /// Whether kernels may reduce over subgroups.
    pub subgroups: bool,
    /// Whether kernels may hold f16 values and arrays.
    pub f16: bool,
    /// Whether the device has instructions for dot products of four packed bytes.
    pub int_dot: bool,
}

impl GpuApi {
    /// Its name in manifests and messages.
    pub fn name(self) -> &'static str {
        match self {
            GpuApi::Vulkan => "vulkan",
            GpuApi::Metal => "metal",
        }
    }
}
