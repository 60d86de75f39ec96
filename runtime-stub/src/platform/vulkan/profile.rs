//! How long each dispatch of a step takes, by timestamps that the device writes between dispatches.
//!
//! While a step is measured no dispatch runs beside another, so the times add up to a little more than a step takes.

use super::device::Logical;
use super::ffi::*;
use super::result::check;
use crate::device::Timed;
use crate::fault::{Code, Fault, Outcome};
use crate::platform::memory::Table;

/// Timestamps of one step. Its owner calls [`Profile::destroy`].
pub struct Profile {
    pool: Handle,
    /// For each timestamp, 1 more than the kernel that ran before it; 0 = nothing did.
    marks: Table<u32>,
    count: u32,
}

impl Profile {
    /// Room for `most` timestamps.
    ///
    /// # Errors
    /// [`Code::State`] if the device has no clock; [`Code::Memory`]; those of the driver.
    pub fn new(logical: &Logical, most: u32) -> Outcome<Self> {
        if logical.physical.timestamp_bits == 0 {
            return Err(Fault::new(Code::State, "device", "has no clock to measure kernels with"));
        }
        let marks = Table::zeroed(most as usize).map_err(|errno| Fault::system(Code::Memory, "session", "no memory to measure kernels", errno))?;
        let mut profile = Self { pool: 0, marks, count: 0 };
        let info = QueryPoolCreateInfo { query_type: QUERY_TIMESTAMP, query_count: most, ..QueryPoolCreateInfo::EMPTY };
        // SAFETY: a live device; `info` lives until the call returns.
        let result = unsafe { (logical.functions.create_query_pool)(logical.handle, &info, core::ptr::null(), &mut profile.pool) };
        check(result, "vkCreateQueryPool")?;
        Ok(profile)
    }

    /// Records that all timestamps are to be written anew; before any other.
    pub fn reset(&self, logical: &Logical, commands: CommandBuffer) {
        // SAFETY: a buffer that is being recorded and a live pool of this size.
        unsafe { (logical.functions.cmd_reset_query_pool)(commands, self.pool, 0, self.marks.len() as u32) };
    }

    /// Records a timestamp: when all before it is done. `kernel` is the one that ran since the last.
    pub fn mark(&mut self, logical: &Logical, commands: CommandBuffer, kernel: Option<u32>) {
        let Some(mark) = self.marks.get_mut(self.count as usize) else { return };
        *mark = kernel.map_or(0, |kernel| kernel + 1);
        // SAFETY: a buffer that is being recorded; the timestamp is inside the pool and was reset before.
        unsafe { (logical.functions.cmd_write_timestamp)(commands, PIPELINE_STAGE_BOTTOM, self.pool, self.count) };
        self.count += 1;
    }

    /// Calls `take` with each kernel that ran and its time, when all is done.
    ///
    /// # Errors
    /// [`Code::Memory`], those of the driver.
    pub fn read(&self, logical: &Logical, take: Timed<'_>) -> Outcome<()> {
        let mut stamps = Table::<u64>::zeroed(self.count as usize)
            .map_err(|errno| Fault::system(Code::Memory, "session", "no memory to measure kernels", errno))?;
        // SAFETY: room for `count` timestamps of 64 bits, all of them written.
        let result = unsafe {
            (logical.functions.get_query_pool_results)(
                logical.handle,
                self.pool,
                0,
                self.count,
                size_of_val(&*stamps),
                stamps.as_mut_ptr().cast(),
                size_of::<u64>() as u64,
                QUERY_RESULT_64,
            )
        };
        check(result, "vkGetQueryPoolResults")?;
        let valid = u64::MAX >> (64 - logical.physical.timestamp_bits.clamp(1, 64));
        for (pair, &mark) in stamps.windows(2).zip(self.marks.iter().skip(1)) {
            if mark != 0 {
                let steps = pair[1].wrapping_sub(pair[0]) & valid;
                take(mark - 1, (steps as f64 * f64::from(logical.physical.timestamp_period)) as u64);
            }
        }
        Ok(())
    }

    /// Gives the timestamps back.
    pub fn destroy(&mut self, logical: &Logical) {
        // SAFETY: of this device or null, and no work uses it.
        unsafe { (logical.functions.destroy_query_pool)(logical.handle, core::mem::take(&mut self.pool), core::ptr::null()) };
    }
}
