//! Vulkan 1.1 by hand: the loader is found at run time, and nothing but the system's driver is loaded.
//!
//! | file | duty |
//! |---|---|
//! | `ffi.rs`, `functions.rs`, `result.rs` | declarations; tables of functions; results as words |
//! | `library.rs` | loader and instance |
//! | `physical.rs`, `needs.rs` | what devices there are and can do; what a plan needs |
//! | `device.rs` | the logical device and its queue |
//! | `memory.rs`, `pieces.rs`, `weights.rs` | buffers; regions as buffers; uploading weights |
//! | `pipeline.rs`, `cache.rs` | compiled shaders, and the file that keeps them |
//! | `commands.rs`, `session.rs` | recording and submitting; a session's memory and steps |
//! | `profile.rs` | time of each dispatch |
//!
//! Objects have no `Drop` of their own where their owner must first know that no work uses them. A device that does not
//! answer is left behind with all its objects (`Logical::set_stuck`): that leaks, and neither hangs nor frees memory
//! that may still be written.

pub mod cache;
pub mod commands;
pub mod device;
pub mod ffi;
pub mod functions;
pub mod library;
pub mod memory;
pub mod needs;
pub mod physical;
pub mod pieces;
pub mod pipeline;
pub mod profile;
pub mod result;
pub mod session;
pub mod weights;

use core::ffi::CStr;

use cache::Compiled;
use device::Logical;
use library::Connection;
use memory::Use;
use physical::{Description, Devices};
use pieces::Pieces;
use pipeline::Pipelines;
pub use session::VulkanMemory;

use crate::abi::region;
use crate::device::{NAME_BYTES, Opening};
use crate::fault::Outcome;
use crate::plan::Plan;
use crate::platform::memory::Owned;
use crate::pool::Pool;

/// A Vulkan device with the shaders and weights of a model.
pub struct Vulkan {
    logical: Owned<Logical>,
    pipelines: Pipelines,
    weights: Pieces,
    compiled: Compiled,
    settings: Drive,
}

/// What sessions need of [`crate::device::Settings`].
struct Drive {
    piece_bytes: u64,
    direct: bool,
    batch: u32,
}

impl Vulkan {
    /// Chooses a device, compiles the shaders and uploads the weights.
    ///
    /// # Errors
    /// [`Code::Device`](crate::fault::Code::Device) if there is no device, it lacks something, or its driver fails;
    /// [`Code::Memory`](crate::fault::Code::Memory).
    pub fn open(opening: &Opening<'_, '_>, pool: &Pool) -> Outcome<Self> {
        let (plan, settings) = (opening.plan, &opening.settings);
        let connection = Connection::open(settings.library)?;
        let physical = Devices::list(&connection)?.choose(opening.number, |device| needs::check(plan, &device.description))?;
        let logical = Logical::open(connection, physical, plan.header.device_features, settings.wait_ns)?;
        let piece_bytes = settings.piece_bytes.min(physical.description.limits.allocation_bytes);
        let settings = Drive { piece_bytes, direct: settings.direct, batch: settings.batch.max(1) };
        let mut vulkan = Self { logical, pipelines: Pipelines::NONE, weights: Pieces::NONE, compiled: Compiled::NotWritten, settings };
        vulkan.compiled = vulkan.pipelines.create(&vulkan.logical, plan, opening.bundle.kernels().map.bytes(), opening.cache_dir, pool)?;
        let purpose = if vulkan.settings.direct { Use::HostWrites } else { Use::Device };
        vulkan.weights.create(&vulkan.logical, plan, region::WEIGHTS, plan.header.weights_bytes, piece_bytes, purpose)?;
        weights::upload(&vulkan.logical, &mut vulkan.weights, opening.bundle.weights().map.bytes())?;
        Ok(vulkan)
    }

    /// Its name, ending with a zero byte.
    pub fn name(&self) -> [u8; NAME_BYTES] {
        self.logical.physical.description.name
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.logical.physical.description
    }

    /// Where the compiled shaders came from.
    pub fn compiled(&self) -> Compiled {
        self.compiled
    }

    /// Buffers that hold the weights.
    pub fn weight_buffers(&self) -> usize {
        self.weights.count()
    }

    /// See [`crate::device::Device::memory`].
    ///
    /// # Errors
    /// [`Code::Device`](crate::fault::Code::Device), [`Code::Memory`](crate::fault::Code::Memory).
    pub fn memory(&self, plan: &Plan<'_>) -> Outcome<VulkanMemory<'_>> {
        VulkanMemory::open(self, plan)
    }
}

impl Drop for Vulkan {
    fn drop(&mut self) {
        if !self.logical.is_stuck() {
            self.weights.destroy(&self.logical);
            self.pipelines.destroy(&self.logical);
        }
    }
}

/// Calls `take` with each device of this machine, in the order of their numbers. `library` replaces the system's loader.
///
/// # Errors
/// [`Code::Device`](crate::fault::Code::Device) says why there is none: no loader, no driver, no device.
pub fn devices(library: Option<&CStr>, mut take: impl FnMut(&Description)) -> Outcome<()> {
    let connection = Connection::open(library)?;
    Devices::list(&connection)?.iter().for_each(|device| take(&device.description));
    Ok(())
}
