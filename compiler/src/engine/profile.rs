//! The time of each kernel of a step.

use slmc_runtime_stub::capi::types::KernelTime as Raw;

use super::{Engine, EngineError, check};

/// What one kernel did in a measured step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelTime {
    /// Number of the kernel in the plan.
    pub kernel: u32,
    /// How often it was launched.
    pub launches: u32,
    /// Nanoseconds of all these together.
    pub ns: u64,
}

impl Engine {
    /// Appends tokens as one step, head of the last one included, each launch alone and measured. Kernels that were not
    /// launched are left out.
    ///
    /// # Errors
    /// [`EngineError::Call`]: among others, for more tokens than one step takes and for devices without a clock.
    pub fn profile(&mut self, ids: &[u32]) -> Result<Vec<KernelTime>, EngineError> {
        let (functions, session) = self.raw();
        let mut count = 0;
        // The first call only asks how many kernels there are.
        let _ = check("slm_profile", |error| {
            // SAFETY: an open session, pointers with their lengths.
            unsafe { (functions.slm_profile)(session, ids.as_ptr(), ids.len(), std::ptr::NonNull::dangling().as_ptr(), 0, &mut count, error) }
        });
        let mut times = vec![Raw { name: [0; 64], kernel: 0, dispatches: 0, ns: 0 }; count];
        check("slm_profile", |error| {
            // SAFETY: an open session, pointers with their lengths.
            unsafe { (functions.slm_profile)(session, ids.as_ptr(), ids.len(), times.as_mut_ptr(), times.len(), &mut count, error) }
        })?;
        let launched = times.iter().filter(|time| time.dispatches > 0);
        Ok(launched.map(|time| KernelTime { kernel: time.kernel, launches: time.dispatches, ns: time.ns }).collect())
    }
}
