//! What runs a plan: the processor, or a GPU through one driver interface.
//!
//! A kind of device is a pair of types. The first belongs to a model and is shared by its sessions: an open device with
//! weights and compiled shaders. The second belongs to a session: arena, KV cache and whatever is prepared for its
//! steps. [`Device`] and [`Memory`] are closed enums of these pairs, each arm behind the feature of its name, so a
//! runtime for processors holds no line of a driver interface.
//!
//! A new kind of device adds one arm to both enums, one folder in `platform/` with the two types, and one feature. Its
//! types offer exactly the methods that the arms below call; [`cpu`] is the smallest example. What they promise:
//!
//! - Opening checks that the device has what the plan asks for and says which limit or feature it lacks. Everything that
//!   can be prepared once is prepared here; [`Memory::run`] takes no memory from the system.
//! - Sessions of one model may run at the same time; a device that takes one caller at a time locks inside.
//! - A [`Memory::run`] that fails has finished or given up its work, but for a device that is lost; the session stays at
//!   its position, and only memory that later steps rewrite has changed.
//! - No call waits for ever: a device that does not answer is [`Code::Device`].
//! - Dropping either type gives back all it took, the session's memory before its device.

pub mod cpu;

use core::ffi::CStr;

use crate::abi::{Step, device_kind};
use crate::bundle::Bundle;
use crate::fault::{Code, Fault, Outcome};
use crate::plan::Plan;
#[cfg(feature = "metal")]
use crate::platform::metal;
#[cfg(feature = "vulkan")]
use crate::platform::vulkan;
use crate::pool::Pool;
use crate::walk::Kernels;

/// Bytes of a device's name, its closing zero included.
pub const NAME_BYTES: usize = 128;

/// How a device is driven. The default suits every device; other values are for tests and experiments.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Name of the driver's library; none = the system's.
    pub library: Option<&'a CStr>,
    /// Bytes of one piece of device memory, at most. Weights and caches are split between bindings to stay below.
    pub piece_bytes: u64,
    /// Let the host write and read device memory directly where the device offers that.
    pub direct: bool,
    /// Dispatches handed to the device at once, at most, so that no submission runs for long; at least 1.
    pub batch: u32,
    /// How long a submission may take, nanoseconds.
    pub wait_ns: u64,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self { library: None, piece_bytes: 1 << 30, direct: true, batch: 128, wait_ns: 20_000_000_000 }
    }
}

/// What a device is opened for.
#[derive(Clone, Copy)]
pub struct Opening<'a, 'b> {
    /// The verified files.
    pub bundle: &'b Bundle,
    /// The plan.
    pub plan: &'a Plan<'b>,
    /// The linked code; without functions in bundles for GPUs.
    pub kernels: Kernels,
    /// 1 more than the number of the device; 0 = the best one.
    pub number: u32,
    /// Where compiled shaders are kept; none = they are not.
    pub cache_dir: Option<&'a CStr>,
    /// How to drive it.
    pub settings: Settings<'a>,
}

/// Takes the index of a kernel and the nanoseconds that one dispatch of it took.
pub type Timed<'a> = &'a mut dyn FnMut(u32, u64);

/// An open device with the weights of a model.
#[allow(clippy::large_enum_variant, reason = "a model has one, in place, and there is no allocator to put a large one elsewhere")]
pub enum Device<'b> {
    /// The processor.
    Cpu(cpu::Cpu<'b>),
    /// A Vulkan device.
    #[cfg(feature = "vulkan")]
    Vulkan(vulkan::Vulkan),
    /// A Metal device.
    #[cfg(feature = "metal")]
    Metal(metal::Metal<'b>),
}

/// What a session has on a device.
#[allow(clippy::large_enum_variant, reason = "a session has one, in place, and there is no allocator to put a large one elsewhere")]
pub enum Memory<'m> {
    /// On the processor.
    Cpu(cpu::CpuMemory<'m>),
    /// On a Vulkan device.
    #[cfg(feature = "vulkan")]
    Vulkan(vulkan::VulkanMemory<'m>),
    /// On a Metal device.
    #[cfg(feature = "metal")]
    Metal(metal::MetalMemory<'m>),
}

/// One pass over a dispatch list.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Which list of [`crate::abi::list`].
    pub list: usize,
    /// T, P and row, within the bounds of the plan.
    pub step: Step,
}

/// What the host reads after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing.
    Nothing,
    /// This many rows of logits.
    Logits(u32),
    /// The picked id.
    Picked,
}

impl<'b> Device<'b> {
    /// Opens the device that the plan is for. `pool` verified the files; the processor keeps it, others may use it while
    /// they open.
    ///
    /// # Errors
    /// [`Code::Device`] if there is no such device, it lacks something, or its driver fails; [`Code::Memory`].
    pub fn open(opening: &Opening<'_, 'b>, pool: Pool) -> Outcome<Self> {
        match opening.plan.header.device {
            device_kind::CPU => cpu::Cpu::open(opening, pool).map(Self::Cpu),
            #[cfg(feature = "vulkan")]
            device_kind::VULKAN => vulkan::Vulkan::open(opening, &pool).map(Self::Vulkan),
            #[cfg(feature = "metal")]
            device_kind::METAL => metal::Metal::open(opening).map(Self::Metal),
            kind => Err(Fault::new(Code::Device, "plan.bin", "is for a kind of device that this runtime was built without")
                .at(kind)
                .hint("take all files from one bundle")),
        }
    }

    /// Its name in UTF-8, ending with a zero byte.
    pub fn name(&self) -> [u8; NAME_BYTES] {
        match self {
            Self::Cpu(_) => cpu::Cpu::name(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(vulkan) => vulkan.name(),
            #[cfg(feature = "metal")]
            Self::Metal(metal) => metal.name(),
        }
    }

    /// Threads that it keeps busy, the caller's included.
    pub fn threads(&self) -> u32 {
        match self {
            Self::Cpu(cpu) => cpu.threads(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(_) => 1,
            #[cfg(feature = "metal")]
            Self::Metal(_) => 1,
        }
    }

    /// Arena and KV cache for a session, zeroed.
    ///
    /// # Errors
    /// [`Code::Memory`], [`Code::Device`].
    pub fn memory<'m>(&'m self, plan: &Plan<'_>) -> Outcome<Memory<'m>> {
        match self {
            Self::Cpu(cpu) => cpu.memory(plan).map(Memory::Cpu),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(vulkan) => vulkan.memory(plan).map(Memory::Vulkan),
            #[cfg(feature = "metal")]
            Self::Metal(metal) => metal.memory(plan).map(Memory::Metal),
        }
    }
}

impl Memory<'_> {
    /// Writes `ids` to the plan's token ids, does `runs` one after another, and makes readable what `read` says.
    ///
    /// # Errors
    /// [`Code::Device`] if the device is lost, fails or does not finish in time; [`Code::Memory`].
    pub fn run(&mut self, plan: &Plan<'_>, ids: &[u32], runs: &[Run], read: Read) -> Outcome<()> {
        match self {
            Self::Cpu(memory) => memory.run(plan, ids, runs, read),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(memory) => memory.run(plan, ids, runs, read),
            #[cfg(feature = "metal")]
            Self::Metal(memory) => memory.run(plan, ids, runs, read),
        }
    }

    /// As [`Memory::run`] with nothing to read, one dispatch at a time: `take` receives the time of each that had
    /// anything to do, in their order.
    ///
    /// # Errors
    /// Those of [`Memory::run`]; [`Code::State`] if the device has no clock.
    pub fn profile(&mut self, plan: &Plan<'_>, ids: &[u32], runs: &[Run], take: Timed<'_>) -> Outcome<()> {
        match self {
            Self::Cpu(memory) => memory.profile(plan, ids, runs, take),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(memory) => memory.profile(plan, ids, runs, take),
            #[cfg(feature = "metal")]
            Self::Metal(_) => Err(Fault::new(Code::State, "device", "has no clock that this runtime can read kernels' times from")),
        }
    }

    /// Makes `rows` rows of logits readable that the last run computed without reading them.
    ///
    /// # Errors
    /// Those of [`Memory::run`].
    pub fn fetch_logits(&mut self, plan: &Plan<'_>, rows: u32) -> Outcome<()> {
        match self {
            Self::Cpu(memory) => memory.fetch_logits(plan, rows),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(memory) => memory.fetch_logits(plan, rows),
            #[cfg(feature = "metal")]
            Self::Metal(memory) => memory.fetch_logits(plan, rows),
        }
    }

    /// `count` logits from row `row` on, f32 [.., vocab], that the last run or fetch made readable.
    pub fn logits(&self, plan: &Plan<'_>, row: u32, count: usize) -> &[f32] {
        match self {
            Self::Cpu(memory) => memory.logits(plan, row, count),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(memory) => memory.logits(plan, row, count),
            #[cfg(feature = "metal")]
            Self::Metal(memory) => memory.logits(plan, row, count),
        }
    }

    /// The picked id that the last run made readable.
    pub fn picked(&self, plan: &Plan<'_>) -> u32 {
        match self {
            Self::Cpu(memory) => memory.picked(plan),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(memory) => memory.picked(plan),
            #[cfg(feature = "metal")]
            Self::Metal(memory) => memory.picked(plan),
        }
    }
}

/// The byte offset of row `row` of the logits in the arena.
pub(crate) fn logits_offset(plan: &Plan<'_>, row: u32) -> u64 {
    plan.header.logits + u64::from(row) * u64::from(plan.header.vocab) * 4
}
