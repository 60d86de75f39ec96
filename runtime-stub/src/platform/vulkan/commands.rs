//! Recording commands and handing them to the queue, two buffers in turns: one is recorded while the device works on
//! the other.

use super::device::Logical;
use super::ffi::*;
use super::result::check;
use crate::fault::Outcome;

const SLOTS: usize = 2;

/// Command buffers of one session, or of one upload. Everything recorded runs in the order of recording.
pub struct Commands<'d> {
    logical: &'d Logical,
    pool: Handle,
    slots: [Slot; SLOTS],
    /// The slot that is recorded, or will be next.
    at: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    commands: CommandBuffer,
    fence: Handle,
    /// Handed over, and not known to be done.
    in_flight: bool,
}

impl<'d> Commands<'d> {
    /// Makes pool, buffers and fences.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn new(logical: &'d Logical) -> Outcome<Self> {
        let (device, functions) = (logical.handle, &logical.functions);
        let mut commands = Self { logical, pool: 0, slots: [Slot { commands: 0, fence: 0, in_flight: false }; SLOTS], at: 0 };
        let info = CommandPoolCreateInfo { flags: COMMAND_POOL_RESET, queue_family_index: logical.physical.family, ..CommandPoolCreateInfo::EMPTY };
        // SAFETY: a live device; `info` lives until the call returns.
        check(unsafe { (functions.create_command_pool)(device, &info, core::ptr::null(), &mut commands.pool) }, "vkCreateCommandPool")?;
        let info = CommandBufferAllocateInfo { command_pool: commands.pool, command_buffer_count: SLOTS as u32, ..CommandBufferAllocateInfo::EMPTY };
        let mut buffers = [0; SLOTS];
        // SAFETY: a live pool, and room for as many buffers as are asked for.
        check(unsafe { (functions.allocate_command_buffers)(device, &info, buffers.as_mut_ptr()) }, "vkAllocateCommandBuffers")?;
        for (slot, buffer) in commands.slots.iter_mut().zip(buffers) {
            slot.commands = buffer;
            // SAFETY: a live device.
            check(unsafe { (functions.create_fence)(device, &FenceCreateInfo::EMPTY, core::ptr::null(), &mut slot.fence) }, "vkCreateFence")?;
        }
        Ok(commands)
    }

    /// The buffer to record into, empty; waits until the device is done with what it held before.
    ///
    /// # Errors
    /// Those of [`Logical::wait`] and of the driver.
    pub fn begin(&mut self) -> Outcome<CommandBuffer> {
        self.wait_for(self.at)?;
        let commands = self.slots[self.at].commands;
        let info = CommandBufferBeginInfo { flags: COMMAND_ONE_TIME, ..CommandBufferBeginInfo::EMPTY };
        // SAFETY: a buffer of this pool that is not in use; beginning resets it.
        check(unsafe { (self.logical.functions.begin_command_buffer)(commands, &info) }, "vkBeginCommandBuffer")?;
        Ok(commands)
    }

    /// Ends the recording and hands it to the queue.
    ///
    /// # Errors
    /// Those of [`Logical::submit`] and of the driver.
    pub fn submit(&mut self) -> Outcome<()> {
        let slot = &mut self.slots[self.at];
        // SAFETY: the buffer is being recorded.
        check(unsafe { (self.logical.functions.end_command_buffer)(slot.commands) }, "vkEndCommandBuffer")?;
        self.logical.submit(slot.commands, slot.fence)?;
        slot.in_flight = true;
        self.at = (self.at + 1) % SLOTS;
        Ok(())
    }

    /// Waits until all that was handed over is done.
    ///
    /// # Errors
    /// Those of [`Logical::wait`].
    pub fn finish(&mut self) -> Outcome<()> {
        // The slot that is next was handed over first.
        self.wait_for(self.at)?;
        self.wait_for((self.at + 1) % SLOTS)
    }

    /// After an error: waits as long as one submission may take, without an error of its own.
    pub fn settle(&mut self) {
        if !self.logical.has_failed() {
            let _ = self.finish();
        }
    }

    fn wait_for(&mut self, at: usize) -> Outcome<()> {
        let slot = &mut self.slots[at];
        if !slot.in_flight {
            return Ok(());
        }
        self.logical.wait(slot.fence)?;
        slot.in_flight = false;
        // SAFETY: the fence is signalled, so no submission has it.
        check(unsafe { (self.logical.functions.reset_fences)(self.logical.handle, 1, &slot.fence) }, "vkResetFences")
    }

    /// Makes sure that the device is done with everything, or marks it as stuck; to be called before anything is given
    /// back that was used by commands.
    pub fn close(&mut self) {
        for slot in &mut self.slots {
            if !core::mem::take(&mut slot.in_flight) {
                continue;
            }
            let fences = &raw const slot.fence;
            // SAFETY: a live fence of this device.
            let result = unsafe { (self.logical.functions.wait_for_fences)(self.logical.handle, 1, fences, 1, self.logical.wait_ns) };
            // Objects of a lost device may be given back.
            if !matches!(result, SUCCESS | ERROR_DEVICE_LOST) {
                self.logical.set_stuck();
            }
        }
    }
}

impl Drop for Commands<'_> {
    fn drop(&mut self) {
        self.close();
        if self.logical.is_stuck() {
            return;
        }
        let (device, functions) = (self.logical.handle, &self.logical.functions);
        // SAFETY: all are of this device or null, and no submission has them; the pool takes its buffers along.
        unsafe {
            for slot in &self.slots {
                (functions.destroy_fence)(device, slot.fence, core::ptr::null());
            }
            (functions.destroy_command_pool)(device, self.pool, core::ptr::null());
        }
    }
}

/// Pipeline stages and accesses before or behind a barrier.
pub type Scope = (u32, u32);

/// What kernels do.
pub const KERNELS: Scope = (PIPELINE_STAGE_COMPUTE, ACCESS_SHADER_READ | ACCESS_SHADER_WRITE);
/// What copies do.
pub const COPIES: Scope = (PIPELINE_STAGE_TRANSFER, ACCESS_TRANSFER_READ | ACCESS_TRANSFER_WRITE);
/// The host reads.
pub const HOST: Scope = (PIPELINE_STAGE_HOST, ACCESS_HOST_READ);
/// Kernels and copies.
pub const ALL: Scope = (KERNELS.0 | COPIES.0, KERNELS.1 | COPIES.1);

/// Everything of `before` recorded so far happens before everything of `after` recorded from now on.
pub fn barrier(logical: &Logical, commands: CommandBuffer, before: Scope, after: Scope) {
    const WRITES: u32 = ACCESS_SHADER_WRITE | ACCESS_TRANSFER_WRITE;
    let memory = MemoryBarrier { src_access_mask: before.1 & WRITES, dst_access_mask: after.1, ..MemoryBarrier::EMPTY };
    // SAFETY: a buffer that is being recorded; the barrier is read during the call.
    unsafe { (logical.functions.cmd_pipeline_barrier)(commands, before.0, after.0, 0, 1, &memory, 0, core::ptr::null(), 0, core::ptr::null()) };
}

/// Records a copy between buffers that are at least as long as it says.
pub fn copy(logical: &Logical, commands: CommandBuffer, from: (Handle, u64), to: (Handle, u64), bytes: u64) {
    let region = BufferCopy { src_offset: from.1, dst_offset: to.1, size: bytes };
    // SAFETY: a buffer that is being recorded, live buffers, and a range inside both, says the caller.
    unsafe { (logical.functions.cmd_copy_buffer)(commands, from.0, to.0, 1, &region) };
}
