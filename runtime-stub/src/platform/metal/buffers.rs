//! Buffers that the processor and the GPU share: memory of Metal's, and the mapped weights.

use core::ffi::c_void;

use super::device::{Gpu, SUBJECT};
use super::objc::{Id, Object, send};
use crate::fault::{Code, Fault, Outcome};
use crate::platform::memory::{FileMap, Plain, place_in};

/// `MTLResourceStorageModeShared`, with the default cache mode and hazard tracking.
const SHARED: usize = 0;

/// Pages of every Apple system; a multiple of those of all others.
const PAGE: usize = 16 << 10;

/// A buffer.
pub struct Buffer {
    pub(super) object: Object,
    contents: *mut u8,
    bytes: usize,
}

// SAFETY: shared memory like a mapping; who may touch it when is decided by whoever owns the buffer.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `bytes` zeros (Metal fills new buffers with zeros); at least one byte. `what` says what for.
    ///
    /// # Errors
    /// [`Code::Memory`].
    pub fn zeroed(gpu: &Gpu, bytes: u64, what: &'static str) -> Outcome<Self> {
        let none = Fault::new(Code::Memory, SUBJECT, what);
        if bytes > gpu.longest_buffer {
            return Err(none.numbers(gpu.longest_buffer, bytes));
        }
        let len = (bytes as usize).max(1);
        let objc = &gpu.objc;
        // SAFETY: a method of MTLDevice that gives ownership.
        let object = unsafe { objc.own(send!(objc, gpu.device.id(), new_buffer, len => usize, SHARED => usize; Id)) }.ok_or(none)?;
        // SAFETY: a method of MTLBuffer with this type.
        let contents = unsafe { send!(objc, object.id(), contents; *mut c_void) };
        if contents.is_null() {
            return Err(none);
        }
        Ok(Self { object, contents: contents.cast(), bytes: len })
    }

    /// The mapped file itself, without a copy; it outlives the buffer. Kernels never write it. An empty file gives a
    /// buffer of one byte that nothing refers to.
    ///
    /// # Errors
    /// [`Code::Memory`]: longer than a buffer can be, or Metal refuses it.
    pub fn over(gpu: &Gpu, map: &FileMap, what: &'static str) -> Outcome<Self> {
        let bytes = map.bytes().len();
        if bytes == 0 {
            return Self::zeroed(gpu, 1, what);
        }
        // The mapping goes on to the end of its last page, where zeros follow the file.
        let len = bytes.next_multiple_of(PAGE);
        let none = Fault::new(Code::Memory, SUBJECT, what);
        if len as u64 > gpu.longest_buffer {
            return Err(none.numbers(gpu.longest_buffer, len as u64).hint("compile the model with smaller numbers, for example --quant q4g32"));
        }
        let objc = &gpu.objc;
        let at: *mut c_void = map.address().cast();
        let no_block: *mut c_void = core::ptr::null_mut();
        // SAFETY: a method of MTLDevice that gives ownership; the memory is whole pages and outlives the buffer, and a null
        // deallocator leaves it to the mapping.
        let object = unsafe {
            let id = send!(objc, gpu.device.id(), new_buffer_over, at => *mut c_void, len => usize, SHARED => usize, no_block => *mut c_void; Id);
            objc.own(id)
        };
        Ok(Self { object: object.ok_or(none)?, contents: map.address(), bytes })
    }

    /// `count` values from byte `offset`; empty if they are not inside or not aligned.
    pub fn values<T: Plain>(&self, offset: u64, count: usize) -> &[T] {
        match self.place::<T>(offset, count) {
            // SAFETY: in range, aligned, plain; the GPU writes only inside calls that hold `&mut` of the session's memory.
            Some(at) => unsafe { core::slice::from_raw_parts(at, count) },
            None => &[],
        }
    }

    /// The same for writing.
    pub fn values_mut<T: Plain>(&mut self, offset: u64, count: usize) -> &mut [T] {
        match self.place::<T>(offset, count) {
            // SAFETY: as above, and `&mut self` is the only access.
            Some(at) => unsafe { core::slice::from_raw_parts_mut(at, count) },
            None => &mut [],
        }
    }

    fn place<T>(&self, offset: u64, count: usize) -> Option<*mut T> {
        place_in(self.contents, self.bytes, offset, count)
    }
}
