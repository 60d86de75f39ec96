//! Device memory: one buffer with memory of its own, in the best kind of memory that the device has for its use.

use core::ffi::c_void;
use core::ptr::NonNull;

use super::device::Logical;
use super::ffi::*;
use super::result::check;
use crate::fault::{Code, Fault, Outcome};
use crate::platform::memory::{Plain, place_in};

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Kernels only.
    Device,
    /// Kernels; the host writes it directly if it can.
    HostWrites,
    /// Kernels; the host writes and reads it directly if it can.
    HostReads,
    /// The host writes, copies read.
    Upload,
    /// Copies write, the host reads.
    Download,
}

/// The fault of a device whose memory is smaller than what is needed at once, bytes.
#[cold]
pub fn no_room(needed: u64, room: u64) -> Fault {
    Fault::new(Code::Memory, "device", "has not this much memory (VK_ERROR_OUT_OF_DEVICE_MEMORY), bytes")
        .numbers(needed, room)
        .hint("compile with a smaller --ctx or take a smaller model")
}

const COHERENT: u32 = MEMORY_HOST_VISIBLE | MEMORY_HOST_COHERENT;

impl Use {
    /// Properties to look for, best first, with whether the host maps memory found so.
    fn preferences(self) -> &'static [(u32, bool)] {
        match self {
            Self::Device => &[(MEMORY_DEVICE_LOCAL, false), (0, false)],
            Self::HostWrites => &[(MEMORY_DEVICE_LOCAL | COHERENT, true), (MEMORY_DEVICE_LOCAL, false), (0, false)],
            // Memory that is not cached is so slow to read that a copy is better.
            Self::HostReads => &[(MEMORY_DEVICE_LOCAL | COHERENT | MEMORY_HOST_CACHED, true), (MEMORY_DEVICE_LOCAL, false), (0, false)],
            Self::Upload => &[(COHERENT, true)],
            Self::Download => &[(COHERENT | MEMORY_HOST_CACHED, true), (COHERENT, true)],
        }
    }

    fn buffer_usage(self) -> u32 {
        match self {
            Self::Device | Self::HostWrites | Self::HostReads => BUFFER_STORAGE | BUFFER_TRANSFER_SRC | BUFFER_TRANSFER_DST,
            Self::Upload => BUFFER_TRANSFER_SRC,
            Self::Download => BUFFER_TRANSFER_DST,
        }
    }
}

/// A buffer. It has no `Drop`: its owner calls [`Buffer::destroy`] when nothing runs that uses it.
pub struct Buffer {
    /// For commands and descriptors; 0 = there is none.
    pub handle: Handle,
    /// Length.
    pub bytes: u64,
    memory: Handle,
    mapped: Option<NonNull<u8>>,
}

// SAFETY: the mapping is plain memory; who may touch it when is decided by the methods below.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// No buffer.
    pub const NONE: Self = Self { handle: 0, bytes: 0, memory: 0, mapped: None };

    /// A buffer of `bytes` (at least 1) with undefined contents.
    ///
    /// # Errors
    /// [`Code::Memory`] if the device has no more, [`Code::Device`].
    pub fn new(logical: &Logical, bytes: u64, purpose: Use) -> Outcome<Self> {
        let mut buffer = Self { bytes, ..Self::NONE };
        let outcome = buffer.create(logical, purpose);
        if outcome.is_err() {
            buffer.destroy(logical);
        }
        outcome.map(|()| buffer)
    }

    fn create(&mut self, logical: &Logical, purpose: Use) -> Outcome<()> {
        let (device, functions) = (logical.handle, &logical.functions);
        let info = BufferCreateInfo { size: self.bytes, usage: purpose.buffer_usage(), ..BufferCreateInfo::EMPTY };
        let mut requirements = MemoryRequirements::EMPTY;
        // SAFETY: a live device; `info` lives until the call returns.
        check(unsafe { (functions.create_buffer)(device, &info, core::ptr::null(), &mut self.handle) }, "vkCreateBuffer")?;
        // SAFETY: the buffer was made above.
        unsafe { (functions.get_buffer_memory_requirements)(device, self.handle, &mut requirements) };
        let maps = self.allocate(logical, &requirements, purpose)?;
        // SAFETY: both are of this device; the memory is as large and of a kind as the buffer requires.
        check(unsafe { (functions.bind_buffer_memory)(device, self.handle, self.memory, 0) }, "vkBindBufferMemory")?;
        if maps {
            let mut at: *mut c_void = core::ptr::null_mut();
            // SAFETY: host-visible memory that is not mapped yet.
            check(unsafe { (functions.map_memory)(device, self.memory, 0, WHOLE_SIZE, 0, &mut at) }, "vkMapMemory")?;
            self.mapped = NonNull::new(at.cast());
        }
        Ok(())
    }

    /// Takes memory; says whether the host is to map it.
    fn allocate(&mut self, logical: &Logical, requirements: &MemoryRequirements, purpose: Use) -> Outcome<bool> {
        let memory = &logical.physical.memory;
        let heaps = &memory.memory_heaps[..memory.memory_heap_count as usize];
        let largest = logical.physical.description.memory_bytes;
        let mut room = 0;
        let mut result = ERROR_OUT_OF_DEVICE_MEMORY;
        for &(properties, maps) in purpose.preferences() {
            let found = (0u32..).zip(&memory.memory_types[..memory.memory_type_count as usize]).find(|(index, kind)| {
                let heap = heaps[kind.heap_index as usize].size;
                // The window through which a host reaches the memory of some GPUs is small and wanted by others.
                let window = maps && properties & MEMORY_DEVICE_LOCAL != 0 && heap < largest / 2;
                requirements.memory_type_bits >> index & 1 != 0 && kind.property_flags & properties == properties && !window
            });
            let Some((index, kind)) = found else { continue };
            let heap = heaps[kind.heap_index as usize].size;
            room = heap.max(room);
            if requirements.size > heap {
                continue;
            }
            let info = MemoryAllocateInfo { allocation_size: requirements.size, memory_type_index: index, ..MemoryAllocateInfo::EMPTY };
            // SAFETY: a live device; `info` lives until the call returns.
            result = unsafe { (logical.functions.allocate_memory)(logical.handle, &info, core::ptr::null(), &mut self.memory) };
            if result == SUCCESS {
                return Ok(maps);
            }
            self.memory = 0;
        }
        if requirements.size > room {
            return Err(no_room(requirements.size, room));
        }
        check(result, "vkAllocateMemory").map(|()| false)
    }

    /// Gives buffer and memory back.
    pub fn destroy(&mut self, logical: &Logical) {
        let buffer = core::mem::replace(self, Self::NONE);
        // SAFETY: both are of this device or null, and used no more, says the owner; freeing ends the mapping.
        unsafe {
            (logical.functions.destroy_buffer)(logical.handle, buffer.handle, core::ptr::null());
            (logical.functions.free_memory)(logical.handle, buffer.memory, core::ptr::null());
        }
    }

    /// Whether the host reaches the contents.
    pub fn is_mapped(&self) -> bool {
        self.mapped.is_some()
    }

    /// Writes `bytes` from byte `offset` on; false if the host does not reach the contents or they are too long. No
    /// submission that touches these bytes is running.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let Some(at) = self.mapped.filter(|_| bytes.len() as u64 <= self.bytes && offset <= self.bytes - bytes.len() as u64) else { return false };
        // SAFETY: in range of the mapping, which is as long as the buffer; coherent, so the next submission sees it.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at.as_ptr().add(offset as usize), bytes.len()) };
        true
    }

    /// `count` values from byte `offset`; empty if they are not inside, not aligned, or not mapped. The borrow ends
    /// before the next submission that touches them, as submissions of a session take `&mut` of it.
    pub fn values<T: Plain>(&self, offset: u64, count: usize) -> &[T] {
        match self.mapped.and_then(|base| place_in::<T>(base.as_ptr(), self.bytes as usize, offset, count)) {
            // SAFETY: in range, aligned, plain; no submission runs.
            Some(at) => unsafe { core::slice::from_raw_parts(at, count) },
            None => &[],
        }
    }
}
