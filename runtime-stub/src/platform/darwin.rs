//! What macOS and iOS on arm64 have differently from Linux: numbers of the C headers, cores, instruction sets.
//!
//! The compiler checks this file; nothing here has run on a device yet.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;

use crate::abi::feature;

/// Numbers that differ between systems.
#[allow(missing_docs, reason = "named as in the C headers")]
pub mod os {
    pub const PROT_READ: i32 = 1;
    pub const PROT_WRITE: i32 = 2;
    pub const MAP_SHARED: i32 = 1;
    pub const MAP_PRIVATE: i32 = 2;
    pub const MAP_ANONYMOUS: i32 = 0x1000;
    pub const O_RDONLY: i32 = 0;
    pub const O_WRONLY: i32 = 1;
    pub const O_CREAT: i32 = 0x200;
    pub const O_EXCL: i32 = 0x800;
    pub const O_CLOEXEC: i32 = 0x100_0000;
    pub const CLOCK_MONOTONIC: i32 = 6;
    pub const EINTR: i32 = 4;
    pub const ENOENT: i32 = 2;
    pub const MADV_WILLNEED: i32 = 3;
    pub const RTLD_NOW: i32 = 2;
    /// Byte offsets in `struct stat`: device (with the mode in its upper half), inode, size, seconds and nanoseconds of
    /// mtime.
    pub const STAT: [usize; 5] = [0, 8, 96, 48, 56];
}

unsafe extern "C" {
    fn sysctlbyname(name: *const c_char, old: *mut c_void, old_len: *mut usize, new: *const c_void, new_len: usize) -> c_int;
}

/// A number that the system tells by name; 0 for a name that it does not know.
fn number(name: &CStr) -> u32 {
    let (mut value, mut len) = (0u32, size_of::<u32>());
    // SAFETY: the name ends with a zero, the value has the length that is stated, and nothing is set.
    let rc = unsafe { sysctlbyname(name.as_ptr(), (&raw mut value).cast(), &raw mut len, ptr::null(), 0) };
    if rc == 0 { value } else { 0 }
}

/// Cores of the machine, at least 1.
pub fn cores() -> u32 {
    number(c"hw.logicalcpu").max(1)
}

/// The features of this machine that [`feature`] names.
pub fn features() -> u64 {
    let named = [
        (c"hw.optional.arm.FEAT_DotProd", feature::DOTPROD),
        (c"hw.optional.arm.FEAT_I8MM", feature::I8MM),
        (c"hw.optional.arm.FEAT_FP16", feature::FP16),
    ];
    named.iter().filter(|(name, _)| number(name) != 0).fold(0, |bits, (_, bit)| bits | bit)
}
