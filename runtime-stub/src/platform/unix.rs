//! Every call into the operating system: the C library's functions by their own names, behind small safe wrappers.
//!
//! This is the file to port. Linux (glibc, bionic) is here; what Darwin has differently is in `darwin.rs`. Nothing else in the crate declares a foreign function, apart
//! from the two symbols of the kernels object in `capi.rs`. No call here opens a connection or starts a process.

use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::ptr;

#[cfg(target_vendor = "apple")]
pub use super::darwin::{cores, os};

/// Numbers that differ between systems.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(missing_docs, reason = "named as in the C headers")]
pub mod os {
    pub const PROT_READ: i32 = 1;
    pub const PROT_WRITE: i32 = 2;
    pub const MAP_SHARED: i32 = 1;
    pub const MAP_PRIVATE: i32 = 2;
    pub const MAP_ANONYMOUS: i32 = 0x20;
    pub const O_RDONLY: i32 = 0;
    pub const O_WRONLY: i32 = 1;
    pub const O_CREAT: i32 = 0o100;
    pub const O_EXCL: i32 = 0o200;
    pub const O_CLOEXEC: i32 = 0o2000000;
    pub const CLOCK_MONOTONIC: i32 = 1;
    pub const EINTR: i32 = 4;
    pub const ENOENT: i32 = 2;
    pub const MADV_WILLNEED: i32 = 3;
    pub const RTLD_NOW: i32 = 2;
    /// Byte offsets in `struct stat` of x86-64 and aarch64: device, inode, size, seconds and nanoseconds of mtime.
    pub const STAT: [usize; 5] = [0, 8, 48, 88, 96];
    /// First argument of `__fxstat`.
    pub const STAT_VERSION: i32 = if cfg!(target_arch = "x86_64") { 1 } else { 0 };
}

/// Storage for a pthread mutex or condition variable, larger than that of any supported system.
#[repr(C, align(16))]
struct Opaque([u8; 96]);

type PthreadT = usize;

unsafe extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn read(fd: c_int, buf: *mut c_void, count: usize) -> isize;
    fn write(fd: c_int, buf: *const c_void, count: usize) -> isize;
    fn fsync(fd: c_int) -> c_int;
    fn rename(from: *const c_char, to: *const c_char) -> c_int;
    fn unlink(path: *const c_char) -> c_int;
    fn getpid() -> c_int;
    fn mmap(at: *mut c_void, len: usize, prot: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
    fn madvise(at: *mut c_void, len: usize, advice: c_int) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut [c_long; 2]) -> c_int;
    fn pthread_create(
        thread: *mut PthreadT,
        attributes: *const c_void,
        main: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
    fn pthread_join(thread: PthreadT, result: *mut *mut c_void) -> c_int;
    fn pthread_mutex_init(mutex: *mut Opaque, attributes: *const c_void) -> c_int;
    fn pthread_mutex_destroy(mutex: *mut Opaque) -> c_int;
    fn pthread_mutex_lock(mutex: *mut Opaque) -> c_int;
    fn pthread_mutex_unlock(mutex: *mut Opaque) -> c_int;
    fn pthread_cond_init(cond: *mut Opaque, attributes: *const c_void) -> c_int;
    fn pthread_cond_destroy(cond: *mut Opaque) -> c_int;
    fn pthread_cond_wait(cond: *mut Opaque, mutex: *mut Opaque) -> c_int;
    fn pthread_cond_broadcast(cond: *mut Opaque) -> c_int;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn sched_getaffinity(pid: c_int, bytes: usize, mask: *mut u64) -> c_int;
    #[cfg(all(any(target_os = "linux", target_os = "android"), target_arch = "aarch64"))]
    fn getauxval(kind: core::ffi::c_ulong) -> core::ffi::c_ulong;
    #[cfg_attr(target_os = "android", link_name = "__errno")]
    #[cfg_attr(target_vendor = "apple", link_name = "__error")]
    fn __errno_location() -> *mut c_int;
    // glibc before 2.33 exports only this name.
    #[cfg(target_env = "gnu")]
    fn __fxstat(version: c_int, fd: c_int, stat: *mut [u64; 32]) -> c_int;
    #[cfg(not(target_env = "gnu"))]
    fn fstat(fd: c_int, stat: *mut [u64; 32]) -> c_int;
    #[cfg(any(feature = "vulkan", feature = "jni"))]
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    #[cfg(any(feature = "vulkan", feature = "jni"))]
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    #[cfg(all(any(feature = "object", feature = "jni"), panic = "abort"))]
    fn abort() -> !;
}

/// Ends the process; what a panic comes down to.
#[cfg(all(any(feature = "object", feature = "jni"), panic = "abort"))]
pub fn die() -> ! {
    // SAFETY: abort takes nothing and does not return.
    unsafe { abort() }
}

/// The error number of the last failed call of this thread.
pub fn errno() -> i32 {
    // SAFETY: the C library gives every thread a valid location.
    unsafe { *__errno_location() }
}

/// Nanoseconds of a clock that never goes back.
pub fn clock_ns() -> u64 {
    let mut time = [0; 2];
    // SAFETY: `time` has the layout of a timespec on 64-bit systems.
    unsafe { clock_gettime(os::CLOCK_MONOTONIC, &mut time) };
    (time[0] as u64) * 1_000_000_000 + time[1] as u64
}

/// Number of this process, for names of temporary files.
pub fn process_id() -> u32 {
    // SAFETY: no arguments, no failure.
    unsafe { getpid() as u32 }
}

/// Cores that this process may run on, at least 1.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn cores() -> u32 {
    let mut mask = [0u64; 128];
    // SAFETY: the mask is as long as stated.
    let rc = unsafe { sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr()) };
    let count: u32 = mask.iter().map(|word| word.count_ones()).sum();
    if rc < 0 { 1 } else { count.max(1) }
}

/// Hardware capability bits of the kernel (`AT_HWCAP` 16, `AT_HWCAP2` 26).
#[cfg(all(any(target_os = "linux", target_os = "android"), target_arch = "aarch64"))]
pub fn hardware_capabilities(kind: u64) -> u64 {
    // SAFETY: unknown kinds give 0.
    unsafe { getauxval(kind) }
}

/// Identity and size of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Bytes.
    pub bytes: u64,
    /// Time of the last change, seconds.
    pub seconds: u64,
    /// Time of the last change, nanoseconds.
    pub nanoseconds: u64,
}

/// An open file, closed when dropped.
pub struct File {
    fd: c_int,
}

impl File {
    /// Opens for reading; the error is the errno.
    pub fn open(path: &CStr) -> Result<Self, i32> {
        Self::open_flags(path, os::O_RDONLY)
    }

    /// Creates a file that must not exist yet; the error is the errno.
    pub fn create(path: &CStr) -> Result<Self, i32> {
        Self::open_flags(path, os::O_WRONLY | os::O_CREAT | os::O_EXCL)
    }

    fn open_flags(path: &CStr, flags: i32) -> Result<Self, i32> {
        // SAFETY: the path ends with a zero; the mode is read only when a file is created.
        let fd = unsafe { open(path.as_ptr(), flags | os::O_CLOEXEC, 0o644 as c_int) };
        if fd < 0 { Err(errno()) } else { Ok(Self { fd }) }
    }

    /// Size and identity.
    pub fn stat(&self) -> Result<FileStat, i32> {
        let mut raw = [0u64; 32];
        // SAFETY: 256 bytes are more than any `struct stat` of a supported system.
        #[cfg(target_env = "gnu")]
        let rc = unsafe { __fxstat(os::STAT_VERSION, self.fd, &mut raw) };
        // SAFETY: as above.
        #[cfg(not(target_env = "gnu"))]
        let rc = unsafe { fstat(self.fd, &mut raw) };
        if rc < 0 {
            return Err(errno());
        }
        let [device, inode, bytes, seconds, nanoseconds] = os::STAT.map(|offset| raw[offset / 8]);
        Ok(FileStat { device, inode, bytes, seconds, nanoseconds })
    }

    /// Fills `out` from the current position; the number of bytes read is smaller only at the end of the file.
    pub fn read_full(&self, out: &mut [u8]) -> Result<usize, i32> {
        let mut done = 0;
        while done < out.len() {
            let rest = &mut out[done..];
            // SAFETY: `rest` is writable for its length.
            let got = unsafe { read(self.fd, rest.as_mut_ptr().cast(), rest.len()) };
            match got {
                0 => break,
                1.. => done += got as usize,
                _ if errno() == os::EINTR => {}
                _ => return Err(errno()),
            }
        }
        Ok(done)
    }

    /// Writes all of `bytes`.
    pub fn write_full(&self, bytes: &[u8]) -> Result<(), i32> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            // SAFETY: `rest` is readable for its length.
            let put = unsafe { write(self.fd, rest.as_ptr().cast(), rest.len()) };
            match put {
                0.. => done += put as usize,
                _ if errno() == os::EINTR => {}
                _ => return Err(errno()),
            }
        }
        Ok(())
    }

    /// Waits until the contents are on the medium.
    pub fn sync(&self) -> Result<(), i32> {
        // SAFETY: the descriptor is open.
        if unsafe { fsync(self.fd) } < 0 { Err(errno()) } else { Ok(()) }
    }

    /// Maps the first `len` bytes, shared and read-only.
    pub(super) fn map(&self, len: usize) -> Result<*mut u8, i32> {
        map(len, os::PROT_READ, os::MAP_SHARED, self.fd)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and used no more.
        unsafe { close(self.fd) };
    }
}

/// Moves a file over another.
pub fn move_file(from: &CStr, to: &CStr) -> Result<(), i32> {
    // SAFETY: both paths end with a zero.
    if unsafe { rename(from.as_ptr(), to.as_ptr()) } < 0 { Err(errno()) } else { Ok(()) }
}

/// Removes a file, if it is there.
pub fn remove_file(path: &CStr) {
    // SAFETY: the path ends with a zero.
    unsafe { unlink(path.as_ptr()) };
}

/// Zeroed private memory.
pub(super) fn map_anonymous(len: usize) -> Result<*mut u8, i32> {
    map(len, os::PROT_READ | os::PROT_WRITE, os::MAP_PRIVATE | os::MAP_ANONYMOUS, -1)
}

fn map(len: usize, prot: i32, flags: i32, fd: i32) -> Result<*mut u8, i32> {
    // SAFETY: the system chooses the place, so no existing memory changes.
    let at = unsafe { mmap(ptr::null_mut(), len, prot, flags, fd, 0) };
    if at as isize == -1 { Err(errno()) } else { Ok(at.cast()) }
}

/// Gives a mapping back.
///
/// # Safety
/// `at` and `len` are those of a mapping that nothing refers to any more.
pub(super) unsafe fn unmap(at: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { munmap(at.cast(), len) };
}

/// Asks the system to read a mapping ahead; only a hint.
///
/// # Safety
/// `at` and `len` are those of a mapping.
pub(super) unsafe fn read_ahead(at: *mut u8, len: usize) {
    // SAFETY: the caller's promise; the advice changes no contents.
    unsafe { madvise(at.cast(), len, os::MADV_WILLNEED) };
}

/// A shared library of the system, loaded until the process ends.
#[cfg(any(feature = "vulkan", feature = "jni"))]
pub struct Library {
    handle: *mut c_void,
}

#[cfg(any(feature = "vulkan", feature = "jni"))]
impl Library {
    /// Loads it by name with all it needs.
    pub fn open(name: &CStr) -> Option<Self> {
        // SAFETY: the name ends with a zero. Initializers of the library run, as for any library of the system.
        let handle = unsafe { dlopen(name.as_ptr(), os::RTLD_NOW) };
        if handle.is_null() { None } else { Some(Self { handle }) }
    }

    /// The address of a symbol; null if there is none.
    pub fn symbol(&self, name: &CStr) -> *const c_void {
        // SAFETY: a live library and a name that ends with a zero.
        unsafe { dlsym(self.handle, name.as_ptr()) }
    }
}

/// A running thread.
pub struct Thread {
    handle: PthreadT,
}

impl Thread {
    /// Starts `main(argument)`; the error is the errno.
    ///
    /// # Safety
    /// `argument` stays valid for `main` until [`Thread::join`] has returned.
    pub unsafe fn start(main: unsafe extern "C" fn(*mut c_void) -> *mut c_void, argument: *mut c_void) -> Result<Self, i32> {
        let mut handle = 0;
        // SAFETY: default attributes; the caller promises for the argument.
        let rc = unsafe { pthread_create(&mut handle, ptr::null(), main, argument) };
        if rc == 0 { Ok(Self { handle }) } else { Err(rc) }
    }

    /// Waits for its end.
    pub fn join(self) {
        // SAFETY: `self` is consumed, so a handle is joined once.
        unsafe { pthread_join(self.handle, ptr::null_mut()) };
    }
}

/// A mutex with a condition: where threads sleep. It must not move after [`Monitor::init`].
pub struct Monitor {
    mutex: core::cell::UnsafeCell<Opaque>,
    condition: core::cell::UnsafeCell<Opaque>,
}

// SAFETY: pthread objects are made for use by many threads; all access goes through the pthread functions.
unsafe impl Sync for Monitor {}
// SAFETY: as above; it moves between threads only before `init`.
unsafe impl Send for Monitor {}

impl Monitor {
    /// Storage that [`Monitor::init`] has to prepare.
    pub const fn new() -> Self {
        Self { mutex: core::cell::UnsafeCell::new(Opaque([0; 96])), condition: core::cell::UnsafeCell::new(Opaque([0; 96])) }
    }

    /// Prepares the storage at its final place.
    ///
    /// # Safety
    /// Called once, before any other method; `self` does not move from now on.
    pub unsafe fn init(&self) {
        // SAFETY: the storage is large and aligned enough, and not in use yet.
        unsafe {
            pthread_mutex_init(self.mutex.get(), ptr::null());
            pthread_cond_init(self.condition.get(), ptr::null());
        }
    }

    /// Takes the mutex; every call is followed by [`Monitor::unlock`] on the same thread.
    pub fn lock(&self) {
        // SAFETY: initialised, see `init`.
        unsafe { pthread_mutex_lock(self.mutex.get()) };
    }

    /// Gives the mutex back.
    pub fn unlock(&self) {
        // SAFETY: initialised and held by this thread.
        unsafe { pthread_mutex_unlock(self.mutex.get()) };
    }

    /// Sleeps until [`Monitor::wake_all`], or for no reason; the mutex is held before and after.
    pub fn wait(&self) {
        // SAFETY: initialised, and the mutex is held.
        unsafe { pthread_cond_wait(self.condition.get(), self.mutex.get()) };
    }

    /// Wakes every sleeper.
    pub fn wake_all(&self) {
        // SAFETY: initialised.
        unsafe { pthread_cond_broadcast(self.condition.get()) };
    }

    /// Gives the storage back.
    ///
    /// # Safety
    /// No thread uses the monitor any more.
    pub unsafe fn destroy(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            pthread_cond_destroy(self.condition.get());
            pthread_mutex_destroy(self.mutex.get());
        }
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Self::new()
    }
}
