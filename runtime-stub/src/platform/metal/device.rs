//! The Metal device with its queue, and what it can do.

use super::objc::{Id, Objc, Object, send};
use super::text;
use crate::abi::device_feature;
use crate::fault::{Code, Fault, Outcome, Value};

/// What faults name.
pub(super) const SUBJECT: &str = "Metal device";

/// Bytes of a device's name, as in `slm_info_t`.
const NAME_BYTES: usize = 128;

/// `MTLGPUFamilyApple7`, the first with arithmetic over a SIMD group (A14, M1).
const FAMILY_APPLE7: isize = 1007;

/// `MTLGPUFamilyMac2`, which has it on Macs without Apple's processor.
const FAMILY_MAC2: isize = 2002;

/// An open device.
pub struct Device {
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

impl Device {
    /// Opens the system's default device.
    ///
    /// # Errors
    /// [`Code::Device`]: this system has no Metal, or no device.
    pub fn open() -> Outcome<Self> {
        let none = |what| Fault::new(Code::Device, SUBJECT, what).hint("run the bundle on a machine with Metal, or compile the model for this one");
        let objc = Objc::new().ok_or(none("this system has no Metal"))?;
        let _pool = objc.pool();
        // SAFETY: the function gives ownership of what it returns.
        let device = unsafe { objc.own((objc.runtime.default_device)()) }.ok_or(none("there is none"))?;
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

    /// Whether it has what the shaders need.
    ///
    /// # Errors
    /// [`Code::Device`] names what is missing.
    pub fn check_features(&self, needed: u64) -> Outcome<()> {
        if needed & !self.features == 0 {
            return Ok(());
        }
        Err(Fault::new(Code::Device, SUBJECT, "lacks features that the bundle needs")
            .values(Value::DeviceFeatures(needed), Value::DeviceFeatures(self.features))
            .hint("compile the model for a lesser Metal target"))
    }
}
