//! The functions of Apple's systems that code in a bundle may use: of libSystem, and for Metal of libobjc and Metal.framework.
//!
//! All are older than the oldest systems that the objects are made for (iOS 15, macOS 13). As for Linux, nothing here reaches a
//! network, starts a program or loads a library.

use super::LinkError;

/// Functions of libSystem. Sorted.
const SYSTEM: &[&str] = &[
    "__error",
    "abort",
    "bzero",
    "clock_gettime",
    "close",
    "fstat",
    "fsync",
    "ftruncate",
    "getpid",
    "lseek",
    "madvise",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "mkdir",
    "mlock",
    "mmap",
    "munmap",
    "nanosleep",
    "open",
    "pread",
    "pthread_attr_destroy",
    "pthread_attr_init",
    "pthread_attr_setstacksize",
    "pthread_cond_broadcast",
    "pthread_cond_destroy",
    "pthread_cond_init",
    "pthread_cond_signal",
    "pthread_cond_timedwait_relative_np",
    "pthread_cond_wait",
    "pthread_create",
    "pthread_join",
    "pthread_mutex_destroy",
    "pthread_mutex_init",
    "pthread_mutex_lock",
    "pthread_mutex_unlock",
    "pwrite",
    "read",
    "rename",
    "sched_yield",
    "strlen",
    "sysconf",
    "sysctlbyname",
    "unlink",
    "write",
];

/// What a bundle for Metal takes besides: the Objective-C runtime and the one C function that leads to a device. Sorted.
const GPU: &[&str] = &[
    "MTLCopyAllDevices",
    "MTLCreateSystemDefaultDevice",
    "objc_autoreleasePoolPop",
    "objc_autoreleasePoolPush",
    "objc_getClass",
    "objc_msgSend",
    "objc_release",
    "objc_retain",
    "sel_registerName",
];

/// Whether all of `wanted` (C names) are offered.
///
/// # Errors
/// [`LinkError::Forbidden`] with all that are not.
pub fn check(wanted: &[String], uses_gpu: bool) -> Result<(), LinkError> {
    let is_offered = |name: &str| SYSTEM.binary_search(&name).is_ok() || (uses_gpu && GPU.binary_search(&name).is_ok());
    let names: Vec<String> = wanted.iter().filter(|name| !is_offered(name)).cloned().collect();
    if names.is_empty() { Ok(()) } else { Err(LinkError::Forbidden { names }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::libc_table::reaches_network;

    #[test]
    fn tables_are_sorted_and_offer_no_network() {
        for table in [SYSTEM, GPU] {
            assert!(table.is_sorted());
            assert!(!table.iter().any(|name| reaches_network(name)));
        }
    }

    #[test]
    fn all_that_is_not_offered_is_named_and_metal_is_for_gpus() {
        let wanted = ["connect", "dlopen", "mmap", "objc_msgSend"].map(String::from);
        for (uses_gpu, expected) in [(true, &wanted[..2]), (false, &[wanted[0].clone(), wanted[1].clone(), wanted[3].clone()])] {
            let Err(LinkError::Forbidden { names }) = check(&wanted, uses_gpu) else { panic!("must be refused") };
            assert_eq!(names, expected);
        }
        assert!(check(&wanted[2..3], false).is_ok());
    }
}
