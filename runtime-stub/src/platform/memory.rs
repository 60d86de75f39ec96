//! Memory straight from the system: read-only file mappings, zeroed tables of plain values, and single owned values.
//!
//! There is no allocator below this crate. Everything that lives longer than a call sits in one of these three and is
//! carved when a model or a session opens.

use core::marker::PhantomData;
use core::mem::size_of;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicPtr;

use super::unix::{self, File};

/// Memory that lasts until drop.
struct Region {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: a region is plain memory; who may touch it when is decided by the wrappers below.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn new(at: *mut u8, len: usize) -> Option<Self> {
        NonNull::new(at).map(|at| Self { at, len })
    }

    /// At least one byte, so that an empty table is still a mapping.
    fn zeroed(bytes: usize) -> Result<Self, i32> {
        let len = bytes.max(1);
        unix::map_anonymous(len).and_then(|at| Self::new(at, len).ok_or(0))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the region is a mapping of this length, and its owner is gone.
        unsafe { unix::unmap(self.at.as_ptr(), self.len) };
    }
}

/// A file's bytes, shared with other processes through the page cache.
pub struct FileMap {
    region: Option<Region>,
}

impl FileMap {
    /// No file.
    pub const fn empty() -> Self {
        Self { region: None }
    }

    /// Maps the first `bytes` bytes, at least 1; the error is the errno.
    pub fn new(file: &File, bytes: usize) -> Result<Self, i32> {
        let region = file.map(bytes).and_then(|at| Region::new(at, bytes).ok_or(0))?;
        Ok(Self { region: Some(region) })
    }

    /// The contents. Whoever cuts the file short while it is mapped gets this process killed by the system.
    pub fn bytes(&self) -> &[u8] {
        match &self.region {
            None => &[],
            // SAFETY: the mapping is readable for its length and lives as long as `self`.
            Some(region) => unsafe { core::slice::from_raw_parts(region.at.as_ptr(), region.len) },
        }
    }

    /// Where kernels find the contents; writing there faults.
    pub fn address(&self) -> *mut u8 {
        self.region.as_ref().map_or(ptr::null_mut(), |region| region.at.as_ptr())
    }

    /// Asks the system to read the file ahead.
    pub fn read_ahead(&self) {
        if let Some(region) = &self.region {
            // SAFETY: the region is a mapping of this length.
            unsafe { unix::read_ahead(region.at.as_ptr(), region.len) };
        }
    }
}

/// A type for which zero bytes are a value and which has nothing to drop.
///
/// # Safety
/// Both must hold.
pub unsafe trait Plain {}

// SAFETY: an integer.
unsafe impl Plain for u8 {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}
// SAFETY: zero bits are 0.0.
unsafe impl Plain for f32 {}
// SAFETY: zero bits are the null pointer.
unsafe impl Plain for AtomicPtr<u8> {}

/// A fixed number of plain values, zero at first, aligned to a page.
pub struct Table<T: Plain> {
    region: Option<Region>,
    count: usize,
    kind: PhantomData<T>,
}

impl<T: Plain> Table<T> {
    /// `count` zeros; the error is the errno.
    pub fn zeroed(count: usize) -> Result<Self, i32> {
        let bytes = count.checked_mul(size_of::<T>()).filter(|&n| n <= isize::MAX as usize).ok_or(12)?;
        Ok(Self { region: Some(Region::zeroed(bytes)?), count, kind: PhantomData })
    }

    /// No values.
    pub const fn empty() -> Self {
        Self { region: None, count: 0, kind: PhantomData }
    }

    /// The first value's place.
    pub fn address(&self) -> *mut T {
        self.region.as_ref().map_or(NonNull::dangling(), |region| region.at.cast()).as_ptr()
    }
}

impl<T: Plain> Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the region holds `count` values, valid from the start, and `&self` forbids `&mut`.
        unsafe { core::slice::from_raw_parts(self.address(), self.count) }
    }
}

impl<T: Plain> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `&mut self` is the only access.
        unsafe { core::slice::from_raw_parts_mut(self.address(), self.count) }
    }
}

/// Memory that kernels write: reached by address while they run, by slices while none runs.
pub struct Workspace {
    region: Region,
}

impl Workspace {
    /// `bytes` zeros; the error is the errno.
    pub fn zeroed(bytes: u64) -> Result<Self, i32> {
        let bytes = usize::try_from(bytes).ok().filter(|&n| n <= isize::MAX as usize).ok_or(12)?;
        Ok(Self { region: Region::zeroed(bytes)? })
    }

    /// Its first byte, for bindings.
    pub fn address(&self) -> *mut u8 {
        self.region.at.as_ptr()
    }

    /// `count` values from byte `offset`; empty if they are not inside or not aligned.
    pub fn values<T: Plain>(&self, offset: u64, count: usize) -> &[T] {
        match self.place::<T>(offset, count) {
            // SAFETY: in range, aligned, plain; kernels run only inside calls that hold `&mut` of the session, which
            // owns this workspace, so nothing writes while this borrow lives.
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
        place_in(self.address(), self.region.len, offset, count)
    }
}

/// Where `count` values lie from byte `offset` of `bytes` bytes at `base`; `None` if not inside or not aligned.
pub(super) fn place_in<T>(base: *mut u8, bytes: usize, offset: u64, count: usize) -> Option<*mut T> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(count.checked_mul(size_of::<T>())?)?;
    let at = base.wrapping_add(start).cast::<T>();
    (end <= bytes && at.is_aligned()).then_some(at)
}

/// One value in memory of its own, which does not move.
pub struct Owned<T> {
    at: NonNull<T>,
}

// SAFETY: as a Box.
unsafe impl<T: Send> Send for Owned<T> {}
// SAFETY: as a Box.
unsafe impl<T: Sync> Sync for Owned<T> {}

impl<T> Owned<T> {
    /// Moves `value` into fresh memory; the error is the errno.
    pub fn new(value: T) -> Result<Self, i32> {
        let region = Region::zeroed(size_of::<T>())?;
        let at = region.at.cast::<T>();
        core::mem::forget(region);
        // SAFETY: fresh memory of the right size; a page satisfies every alignment used here.
        unsafe { at.write(value) };
        Ok(Self { at })
    }

    /// Gives up ownership; [`Owned::from_raw`] takes it back.
    pub fn into_raw(self) -> *mut T {
        let at = self.at.as_ptr();
        core::mem::forget(self);
        at
    }

    /// Takes back what [`Owned::into_raw`] gave.
    ///
    /// # Safety
    /// `at` came from `into_raw` and is given back once.
    pub unsafe fn from_raw(at: *mut T) -> Option<Self> {
        NonNull::new(at).map(|at| Self { at })
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: initialised in `new`, owned by `self`.
        unsafe { self.at.as_ref() }
    }
}

impl<T> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `&mut self` is the only access.
        unsafe { self.at.as_mut() }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the value is initialised and dropped once; then its mapping, made in `new`, goes.
        unsafe {
            ptr::drop_in_place(self.at.as_ptr());
            unix::unmap(self.at.as_ptr().cast(), size_of::<T>().max(1));
        }
    }
}
