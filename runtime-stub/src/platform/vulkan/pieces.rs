//! A region of a plan as one buffer or several: a device takes no more than some bytes at once, so a large region is
//! cut between its bindings.

use super::device::Logical;
use super::ffi::Handle;
use super::memory::{Buffer, Use, no_room};
use crate::abi::DEVICE_ALIGN;
use crate::fault::{Code, Fault, Outcome};
use crate::plan::Plan;

/// Buffers of one region, at most.
const MAX_PIECES: usize = 64;

/// The buffers of a region.
pub struct Pieces {
    buffers: [Buffer; MAX_PIECES],
    /// Offset in the region at which each buffer begins.
    starts: [u64; MAX_PIECES],
    count: usize,
}

impl Pieces {
    /// No buffers.
    pub const NONE: Self = Self { buffers: [const { Buffer::NONE }; MAX_PIECES], starts: [0; MAX_PIECES], count: 0 };

    /// Adds buffers for the `bytes` of a region, none longer than `most`, none cut inside a binding. On an error, those
    /// made so far stay for [`Pieces::destroy`].
    ///
    /// # Errors
    /// Those of [`Buffer::new`]; [`Code::Memory`] if the device has not so much; [`Code::Device`] if a binding alone is longer than `most`.
    pub fn create(&mut self, logical: &Logical, plan: &Plan<'_>, region: u32, bytes: u64, most: u64, purpose: Use) -> Outcome<()> {
        let room = logical.physical.description.memory_bytes;
        if bytes > room {
            return Err(no_room(bytes, room));
        }
        let mut start = 0;
        while start < bytes {
            let end = cut(plan, region, start, bytes, most)?;
            if self.count == MAX_PIECES {
                return Err(Fault::new(Code::Device, "maxMemoryAllocationSize", "of the device is so small that the bundle takes too many buffers")
                    .numbers(bytes.div_ceil(MAX_PIECES as u64), most));
            }
            self.buffers[self.count] = Buffer::new(logical, end - start, purpose)?;
            self.starts[self.count] = start;
            self.count += 1;
            start = end;
        }
        Ok(())
    }

    /// The buffer that holds byte `offset` of the region, and where in it.
    pub fn locate(&self, offset: u64) -> (Handle, u64) {
        let at = self.starts[..self.count].iter().rposition(|&start| start <= offset).unwrap_or(0);
        (self.buffers[at].handle, offset - self.starts[at])
    }

    /// Every buffer with the offset at which it begins.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Buffer)> {
        self.starts.iter().copied().zip(&mut self.buffers).take(self.count)
    }

    /// Number of buffers.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Gives all buffers back.
    pub fn destroy(&mut self, logical: &Logical) {
        for buffer in &mut self.buffers[..self.count] {
            buffer.destroy(logical);
        }
        self.count = 0;
    }
}

/// The last place up to `most` bytes behind `start` that lies inside no binding of the region.
fn cut(plan: &Plan<'_>, region: u32, start: u64, bytes: u64, most: u64) -> Outcome<u64> {
    if bytes - start <= most {
        return Ok(bytes);
    }
    let mut end = (start + most) / DEVICE_ALIGN * DEVICE_ALIGN;
    loop {
        let inside = (0..plan.header.bindings.count)
            .map(|index| plan.binding(index))
            .find(|binding| binding.region == region && binding.offset < end && end < binding.offset + binding.len);
        match inside {
            None if end > start => return Ok(end),
            Some(binding) if binding.offset > start => end = binding.offset,
            other => {
                let needed = other.map_or(DEVICE_ALIGN, |binding| binding.offset + binding.len - start);
                return Err(Fault::new(Code::Device, "maxMemoryAllocationSize", "of the device is too small for one binding of the bundle")
                    .numbers(needed, most));
            }
        }
    }
}
