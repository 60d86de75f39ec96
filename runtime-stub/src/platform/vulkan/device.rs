//! The logical device with its one queue: what all objects of a model live on.

use core::ffi::c_char;
use core::sync::atomic::{AtomicBool, Ordering};

use super::ffi::*;
use super::functions::DeviceFunctions;
use super::library::Connection;
use super::physical::{FLOAT16_EXTENSION, Features, INT_DOT_EXTENSION, PORTABILITY_EXTENSION, Physical};
use super::result::{check, fault};
use crate::abi::device_feature;
use crate::fault::{Code, Fault, Outcome, Value};
use crate::platform::memory::Owned;
use crate::platform::unix::Monitor;

/// An open device. It does not move, as the lock of its queue must not.
pub struct Logical {
    /// For the calls of `functions`.
    pub handle: Device,
    /// What can be called.
    pub functions: DeviceFunctions,
    /// What it is.
    pub physical: Physical,
    /// How long one submission may take, nanoseconds.
    pub wait_ns: u64,
    queue: Queue,
    /// Held while something is handed to the queue; sessions wait for their work without it.
    turn: Monitor,
    /// A submission did not come back, or the driver gave the device up: nothing more is handed to it.
    failed: AtomicBool,
    /// Work may still run that uses objects of the device, so none of them can be given back.
    stuck: AtomicBool,
    connection: core::mem::ManuallyDrop<Connection>,
}

impl Logical {
    /// Opens `physical`, a device of `connection`, with the features of [`device_feature`] that are asked for.
    ///
    /// # Errors
    /// Those of the driver; [`Code::Memory`].
    pub fn open(connection: Connection, physical: Physical, features: u64, wait_ns: u64) -> Outcome<Owned<Self>> {
        let (float16, int_dot) = (features & device_feature::F16 != 0, features & device_feature::INT_DOT != 0);
        let mut wanted = Features::default();
        wanted.storage16.storage_buffer_16bit_access = float16.into();
        wanted.float16.shader_float16 = float16.into();
        wanted.int_dot.shader_integer_dot_product = int_dot.into();
        let mut query = PhysicalDeviceFeatures2::EMPTY;
        query.next = wanted.chain(float16, int_dot);

        let mut names: [*const c_char; 3] = [core::ptr::null(); 3];
        let mut count = 0;
        for (asked, name) in [(float16, FLOAT16_EXTENSION), (int_dot, INT_DOT_EXTENSION), (physical.portable, PORTABILITY_EXTENSION)] {
            if asked {
                names[count] = name.as_ptr();
                count += 1;
            }
        }
        let priority = 1.0;
        let queue = DeviceQueueCreateInfo {
            queue_family_index: physical.family,
            queue_count: 1,
            queue_priorities: &priority,
            ..DeviceQueueCreateInfo::EMPTY
        };
        let info = DeviceCreateInfo {
            next: (&raw const query).cast(),
            queue_create_info_count: 1,
            queue_create_infos: &queue,
            enabled_extension_count: count as u32,
            enabled_extension_names: names.as_ptr(),
            ..DeviceCreateInfo::EMPTY
        };
        let mut handle = 0;
        // SAFETY: a device of this instance; `info` and what it points to live until the call returns, and everything
        // it asks for was listed by the device.
        check(unsafe { (connection.functions.create_device)(physical.handle, &info, core::ptr::null(), &mut handle) }, "vkCreateDevice")?;
        let find = connection.functions.get_device_proc_addr;
        // SAFETY: the driver answers for the functions of its device.
        let loaded = unsafe { DeviceFunctions::load(|name| find(handle, name.as_ptr())) };
        let functions = match loaded {
            Ok(functions) => functions,
            Err(fault) => {
                // The device cannot be closed without its functions, and must not outlive its instance.
                core::mem::forget(connection);
                return Err(fault);
            }
        };
        let mut queue = 0;
        // SAFETY: the family and the queue were asked for above.
        unsafe { (functions.get_device_queue)(handle, physical.family, 0, &mut queue) };
        let logical = Owned::new(Self {
            handle,
            functions,
            physical,
            wait_ns,
            queue,
            turn: Monitor::new(),
            failed: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            connection: core::mem::ManuallyDrop::new(connection),
        })
        .map_err(|errno| Fault::system(Code::Memory, "device", "no memory", errno))?;
        // SAFETY: first use, and `Owned` memory does not move.
        unsafe { logical.turn.init() };
        Ok(logical)
    }

    /// Hands a recorded command buffer to the queue; `fence` will tell when it is done.
    ///
    /// # Errors
    /// [`Code::Device`] if the device has failed before or fails now; [`Code::Memory`].
    pub fn submit(&self, commands: CommandBuffer, fence: Handle) -> Outcome<()> {
        self.check_alive()?;
        let info = SubmitInfo { command_buffer_count: 1, command_buffers: &commands, ..SubmitInfo::EMPTY };
        self.turn.lock();
        // SAFETY: the queue is used under its lock; buffer and fence are the caller's own and not in use.
        let result = unsafe { (self.functions.queue_submit)(self.queue, 1, &info, fence) };
        self.turn.unlock();
        self.note(result);
        check(result, "vkQueueSubmit")
    }

    /// Waits for a fence, but not for ever.
    ///
    /// # Errors
    /// [`Code::Device`] if the time is over or the device is lost.
    pub fn wait(&self, fence: Handle) -> Outcome<()> {
        // SAFETY: a live fence of this device.
        let result = unsafe { (self.functions.wait_for_fences)(self.handle, 1, &fence, 1, self.wait_ns) };
        self.note(result);
        match result {
            SUCCESS => Ok(()),
            TIMEOUT => Err(Fault::new(Code::Device, "device", "did not finish in time (milliseconds)")
                .values(Value::Number(self.wait_ns / 1_000_000), Value::None)
                .hint("the driver hangs or the device is far too slow; open the model again")),
            _ => Err(fault(result, "vkWaitForFences")),
        }
    }

    /// Refuses a device that failed before.
    ///
    /// # Errors
    /// [`Code::Device`].
    pub fn check_alive(&self) -> Outcome<()> {
        if self.has_failed() {
            return Err(Fault::new(Code::Device, "device", "failed before").hint("open the model again"));
        }
        Ok(())
    }

    /// Whether it was lost or did not answer.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Says that work may still run, so that nothing it may use is given back.
    pub fn set_stuck(&self) {
        self.stuck.store(true, Ordering::Relaxed);
    }

    /// Whether objects must be left alone instead of given back.
    pub fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    fn note(&self, result: VkResult) {
        if matches!(result, TIMEOUT | ERROR_DEVICE_LOST) {
            self.failed.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Logical {
    fn drop(&mut self) {
        if self.is_stuck() {
            return;
        }
        // SAFETY: all objects of the device are gone and its queue is idle; then the instance, used no more, and the
        // lock, which nobody holds.
        unsafe {
            (self.functions.destroy_device)(self.handle, core::ptr::null());
            core::mem::ManuallyDrop::drop(&mut self.connection);
            self.turn.destroy();
        }
    }
}
