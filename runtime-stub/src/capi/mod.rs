//! The C boundary, as `include/slm.h` documents it: null checks, lengths to slices, faults to codes and messages.
//!
//! Every function can be called by any thread; calls on one session must not overlap, and one that does is refused.
//! Without the feature `object` the functions are ordinary Rust for tests, and `slm_open` is absent, as it needs the
//! linked kernels; [`model::open_with`] takes them as an argument.
#![allow(unsafe_code, reason = "pointers from C")]

pub mod model;
pub mod session;
pub mod text;
pub mod types;

use core::ffi::{CStr, c_char};

use crate::fault::{Code, Fault, Outcome};
use types::{Error, MESSAGE_BYTES};

/// What a call returns when it did what it should.
pub const OK: i32 = 0;

/// Code and message for the caller; `error` may be null.
///
/// # Safety
/// `error` is null or writable.
unsafe fn report(outcome: Outcome<()>, error: *mut Error) -> i32 {
    let Err(fault) = outcome else { return OK };
    // SAFETY: the caller's promise.
    if let Some(error) = unsafe { error.as_mut() } {
        error.code = fault.code as i32;
        error.message = [0; MESSAGE_BYTES];
        fault.write(&mut error.message[..MESSAGE_BYTES - 1]);
    }
    fault.code as i32
}

fn null(subject: &'static str) -> Fault {
    Fault::new(Code::Argument, subject, "is a null pointer")
}

/// # Safety
/// `at` is null or has `count` readable values.
unsafe fn slice<'a, T>(at: *const T, count: usize, subject: &'static str) -> Outcome<&'a [T]> {
    match (at.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(null(subject)),
        // SAFETY: the caller's promise.
        (false, _) => Ok(unsafe { core::slice::from_raw_parts(at, count) }),
    }
}

/// # Safety
/// `at` is null or has `count` writable values that nothing else uses during the call.
unsafe fn slice_mut<'a, T>(at: *mut T, count: usize, subject: &'static str) -> Outcome<&'a mut [T]> {
    match (at.is_null(), count) {
        (_, 0) => Ok(&mut []),
        (true, _) => Err(null(subject)),
        // SAFETY: the caller's promise.
        (false, _) => Ok(unsafe { core::slice::from_raw_parts_mut(at, count) }),
    }
}

/// # Safety
/// `at` is null or ends with a zero byte.
unsafe fn c_str<'a>(at: *const c_char, subject: &'static str) -> Outcome<&'a CStr> {
    if at.is_null() {
        return Err(null(subject));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { CStr::from_ptr(at) })
}

/// # Safety
/// `at` is null or writable.
unsafe fn put<T>(at: *mut T, value: T, subject: &'static str) -> Outcome<()> {
    if at.is_null() {
        return Err(null(subject));
    }
    // SAFETY: the caller's promise.
    unsafe { at.write(value) };
    Ok(())
}
