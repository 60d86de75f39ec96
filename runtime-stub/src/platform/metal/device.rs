//! The Metal device of a model: queue, pipelines, weights.

use core::marker::PhantomData;

use super::buffers::Buffer;
use super::library::Pipelines;
use super::memory::MetalMemory;
use super::objc::{Id, Objc, Object, send};
use super::text;
use crate::abi::device_feature;
use crate::bundle::Bundle;
use crate::device::{NAME_BYTES, Opening};
use crate::fault::{Code, Fault, Outcome, Value};
use crate::plan::Plan;

/// What faults name.
pub(super) const SUBJECT: &str = "Metal device";

/// `MTLGPUFamilyApple7`, the first with arithmetic over a SIMD group (A14, M1).
const FAMILY_APPLE7: isize = 1007;

/// `MTLGPUFamilyMac2`, which has it on Macs without Apple's processor.
const FAMILY_MAC2: isize = 2002;

/// The device with its queue, and what it can do.
pub struct Gpu {
    pub(super) objc: Objc,
    pub(super) device: Object,
    pub(super) queue: Object,
    /// Bits of [`device_feature`].
    pub features: u64,
    /// Bytes of the longest buffer.
    pub longest_buffer: u64,
    /// Bytes of threadgroup memory.
    pub most_threadgroup_memory: u64,
    /// UTF-8, filled up with zero bytes; at least one zero.
    pub name: [u8; NAME_BYTES],
}

impl Gpu {
    /// Opens the system's default device.
    ///
    /// # Errors
    /// [`Code::Device`]: this system has no Metal, or no device.
    pub fn open() -> Outcome<Self> {
        let none = |what| Fault::new(Code::Device, SUBJECT, what).hint("run the bundle on a machine with Metal, or compile the model for this one");
        let objc = Objc::new().ok_or(none("is absent: this system has no Metal"))?;
        let _pool = objc.pool();
        // SAFETY: the function gives ownership of what it returns.
        let device = unsafe { objc.own((objc.runtime.default_device)()) }.ok_or(none("is absent"))?;
        // SAFETY: a method of MTLDevice that gives ownership.
        let queue = unsafe { objc.own(send!(objc, device.id(), new_queue; Id)) }.ok_or(none("gives no command queue"))?;
        let mut name = [0; NAME_BYTES];
        // SAFETY: methods of MTLDevice with these types; the name lives as long as the pool.
        let (features, longest_buffer, most_threadgroup_memory) = unsafe {
            let text = send!(objc, device.id(), name; Id);
            text::copy(&objc, text, &mut name[..NAME_BYTES - 1]);
            let simd = [FAMILY_APPLE7, FAMILY_MAC2].iter().any(|&family| send!(objc, device.id(), supports_family, family => isize; bool));
            let longest = send!(objc, device.id(), longest_buffer; usize);
            let memory = send!(objc, device.id(), most_threadgroup_memory; usize);
            // Every Metal device has half floats; a packed dot product is arithmetic on bytes, which all have too.
            let features = device_feature::F16 | device_feature::INT_DOT | if simd { device_feature::SUBGROUP } else { 0 };
            (features, longest as u64, memory as u64)
        };
        Ok(Self { objc, device, queue, features, longest_buffer, most_threadgroup_memory, name })
    }
}

/// A model's device: what its sessions share. The mapped files outlive it.
pub struct Metal<'b> {
    // Released in this order.
    pub(super) weights: Buffer,
    pub(super) pipelines: Pipelines,
    pub(super) gpu: Gpu,
    /// Dispatches of one command buffer, at most.
    pub(super) batch: u32,
    files: PhantomData<&'b Bundle>,
}

impl<'b> Metal<'b> {
    /// Opens the default device, compiles the library text and makes the weights a buffer.
    ///
    /// # Errors
    /// [`Code::Device`]: no such device, a feature that is missing, and those of [`Pipelines::build`]; [`Code::Memory`].
    pub fn open(opening: &Opening<'_, 'b>) -> Outcome<Self> {
        if opening.number > 1 {
            let found = u64::from(opening.number - 1);
            return Err(Fault::new(Code::Device, "device", "number is too high: Metal's default device is the only one").numbers(0, found));
        }
        let gpu = Gpu::open()?;
        let needed = opening.plan.header.device_features;
        if needed & !gpu.features != 0 {
            return Err(Fault::new(Code::Device, SUBJECT, "lacks features that the bundle needs")
                .values(Value::DeviceFeatures(needed), Value::DeviceFeatures(gpu.features))
                .hint("compile the model for a lesser Metal target"));
        }
        let weights = Buffer::over(&gpu, &opening.bundle.weights().map, "gives no buffer for the weights")?;
        let pipelines = Pipelines::build(&gpu, opening.bundle.kernels().map.bytes(), opening.plan)?;
        Ok(Self { weights, pipelines, gpu, batch: opening.settings.batch.max(1), files: PhantomData })
    }

    /// See [`crate::device::Device::name`].
    pub fn name(&self) -> [u8; NAME_BYTES] {
        self.gpu.name
    }

    /// See [`crate::device::Device::memory`].
    ///
    /// # Errors
    /// [`Code::Memory`].
    pub fn memory(&self, plan: &Plan<'_>) -> Outcome<MetalMemory<'_>> {
        MetalMemory::new(self, plan)
    }
}
