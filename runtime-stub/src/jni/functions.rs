//! The functions of `slm.h` in the library of a bundle, found by name.

use core::ffi::{CStr, c_char, c_void};
use core::mem::{size_of, transmute_copy};

use crate::capi::types::{ChatMessage, Error, GeneratedInfo, GenerationOptions};
use crate::fault::{Code, Fault, Outcome};
use crate::platform::unix::Library;

/// As `slm.h` declares them.
pub(super) struct Functions {
    pub(super) open: unsafe extern "C" fn(*const c_char, *const c_char, u32, u32, *mut *mut c_void, *mut Error) -> i32,
    pub(super) close: unsafe extern "C" fn(*mut c_void, *mut Error) -> i32,
    pub(super) session_open: unsafe extern "C" fn(*const c_void, *mut *mut c_void, *mut Error) -> i32,
    pub(super) session_close: unsafe extern "C" fn(*mut c_void),
    pub(super) reset: unsafe extern "C" fn(*mut c_void, *mut Error) -> i32,
    pub(super) cancel: unsafe extern "C" fn(*const c_void),
    pub(super) tokenize: unsafe extern "C" fn(*mut c_void, *const u8, usize, u32, *mut u32, usize, *mut usize, *mut Error) -> i32,
    pub(super) chat_prompt: unsafe extern "C" fn(*mut c_void, *const ChatMessage, usize, u32, *mut u32, usize, *mut usize, *mut Error) -> i32,
    pub(super) generate: unsafe extern "C" fn(*mut c_void, *const u32, usize, *const GenerationOptions, *mut GeneratedInfo, *mut Error) -> i32,
}

impl Functions {
    /// Loads the library by name.
    ///
    /// # Errors
    /// [`Code::Io`] if it cannot be loaded, [`Code::Format`] if it is no bundle's.
    pub(super) fn load(library: &CStr) -> Outcome<Self> {
        let library = Library::open(library).ok_or_else(|| {
            Fault::new(Code::Io, "the model's library", "cannot be loaded")
                .hint("the name is that of a file in jni/ of the package, such as libwarehouse.so")
        })?;
        // SAFETY: a bundle's library declares them so in its `slm.h`.
        unsafe {
            Ok(Self {
                open: find(&library, c"slm_open")?,
                close: find(&library, c"slm_close")?,
                session_open: find(&library, c"slm_session_open")?,
                session_close: find(&library, c"slm_session_close")?,
                reset: find(&library, c"slm_reset")?,
                cancel: find(&library, c"slm_cancel")?,
                tokenize: find(&library, c"slm_tokenize")?,
                chat_prompt: find(&library, c"slm_chat_prompt")?,
                generate: find(&library, c"slm_generate")?,
            })
        }
    }
}

/// # Safety
/// `F` is the type of the function of this name.
unsafe fn find<F: Copy>(library: &Library, name: &CStr) -> Outcome<F> {
    const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
    let at = library.symbol(name);
    if at.is_null() {
        return Err(Fault::new(Code::Format, "the model's library", "is not that of a bundle: it lacks a function of slm.h"));
    }
    // SAFETY: the caller knows the type.
    Ok(unsafe { transmute_copy(&at) })
}
