//! Targets are data: two targets differ in nothing but the fields of [`Target`].

pub mod gpu;
pub mod known;
pub mod tuning;

pub use gpu::{Gpu, GpuApi};
pub use tuning::{Parameter, Tuning};

/// What is known of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Name on the command line.
    pub name: &'static str,
    /// One line for `slmc targets`.
    pub summary: &'static str,
    /// LLVM triple of the CPU code (on GPU targets, of the runtime around the shaders), read by code generators and the linker.
    pub triple: &'static str,
    /// CPU name for the code generator.
    pub cpu: &'static str,
    /// CPU features for the code generator, LLVM's names; also what the stub checks at open.
    pub features: Vec<&'static str>,
    /// Bits of a vector register, read by code generators.
    pub vector_bits: u16,
    /// Vector registers, read by lowering when it chooses token tiles.
    pub vector_registers: u16,
    /// Lanes of f32 vectors in CPU kernels and rows of a packed block: those of one register, or of several where the loads of
    /// activations and the steps of a loop are worth sharing.
    pub block_rows: u16,
    /// What the integer dot instruction takes, read by legalization and by the choice of weight layout.
    pub dot: DotKind,
    /// Whether vectors of 16-bit floats are converted by instructions, read by legalization.
    pub half_convert: bool,
    /// Page size: sections of `weights.bin` are aligned to it.
    pub page_bytes: u32,
    /// Default number of threads.
    pub cores: u32,
    /// Level 2 cache of a core, read by lowering when it chooses tiles.
    pub l2_bytes: u32,
    /// Parameters of CPU schedules, where they are other than lowering chooses.
    pub tuning: Tuning,
    /// Most bytes that a bundle may take when running; a compile that exceeds it fails.
    pub memory_budget: u64,
    /// What runs the kernels where that is not the CPU; read by lowering, the naga back end and the bundle writer.
    pub gpu: Option<Gpu>,
}

/// Integer dot products of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotKind {
    /// `vpdpbusd`: four u8·i8 products summed into i32.
    U8I8,
    /// `pmaddubsw` and `pmaddwd`: pairs of u8·i8 into i16, pairs of i16 into i32.
    Pairs,
    /// `sdot`: four i8·i8 products summed into i32.
    I8I8,
    /// `smmla`, products of two rows by two rows of eight i8 summed into i32, beside `sdot`.
    Mmla,
    /// None: widening multiplies.
    None,
}

impl Target {
    /// Vectors of [`Self::block_rows`] lanes that the registers hold.
    pub fn block_registers(&self) -> u16 {
        self.vector_registers * (self.vector_bits / 32) / self.block_rows.max(1)
    }

    /// Alignment in bytes of everything that is bound: arena buffers, KV halves, packed sections.
    pub fn binding_align(&self) -> u64 {
        self.gpu.as_ref().map_or(64, |gpu| u64::from(gpu.offset_align).max(64))
    }
}
