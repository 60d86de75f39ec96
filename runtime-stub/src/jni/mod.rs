//! What Java calls: the native methods of the class `slmc.Model`, in a library of their own.
//!
//! The library has no model in it. `nativeOpen` loads the library of a bundle by its name and finds the functions of `slm.h`
//! there, so one app may hold any number of models, each as its bundle has it, byte for byte. Text passes as UTF-8 bytes that
//! end with a zero; the last argument `error` takes an `slm_error`, and what a method returns is for the class to read.
#![allow(unsafe_code, reason = "a C interface on both sides")]

mod env;
mod functions;
mod methods;

use core::ffi::c_void;

use crate::platform::memory::Owned;
use functions::Functions;

/// An open model with one session, as a number in the hands of the class.
struct Bridge {
    functions: Functions,
    model: *mut c_void,
    session: *mut c_void,
}

impl Bridge {
    /// The number that stands for it.
    fn into_handle(self) -> Result<i64, i32> {
        Owned::new(self).map(|owned| owned.into_raw() as i64)
    }

    /// # Safety
    /// `handle` came from [`Bridge::into_handle`] and was not taken back.
    unsafe fn of<'b>(handle: i64) -> &'b Self {
        // SAFETY: the caller's promise.
        unsafe { &*(handle as *const Self) }
    }

    /// # Safety
    /// As [`Bridge::of`]; the handle is used no more.
    unsafe fn take(handle: i64) -> Option<Owned<Self>> {
        // SAFETY: the caller's promise.
        unsafe { Owned::from_raw(handle as *mut Self) }
    }
}
