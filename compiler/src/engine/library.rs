//! The loaded code of a bundle: its functions by name, with their types from the stub's own source.

use std::ffi::c_char;
use std::path::{Path, PathBuf};

use libloading::Library;
use slmc_runtime_stub::capi::types::{ChatMessage, Error, GeneratedInfo, GenerationOptions, Info, KernelTime};
use slmc_runtime_stub::sample::Sampling;
use slmc_runtime_stub::session::Timings;

use super::EngineError;

/// `slm_model`, opaque.
#[repr(C)]
pub(super) struct RawModel([u8; 0]);

/// `slm_session`, opaque.
#[repr(C)]
pub(super) struct RawSession([u8; 0]);

macro_rules! functions {
    ($( $name:ident: fn($($argument:ty),* $(,)?) $(-> $result:ty)?; )*) => {
        /// The functions of `slm.h` in one library, which stays loaded as long as this lives.
        pub(super) struct Functions {
            $( pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?, )*
            _library: Library,
        }

        impl Functions {
            /// Loads the library and finds every function.
            ///
            /// # Safety
            /// The library is the code of a bundle: its initialisers are none and its functions are those of `slm.h`.
            pub(super) unsafe fn load(path: &Path) -> Result<Self, EngineError> {
                // SAFETY: the caller's promise.
                let library = unsafe { Library::new(path) }
                    .map_err(|source| EngineError::Load { path: path.to_owned(), source })?;
                $(
                    // SAFETY: the caller promises the types of `slm.h`.
                    let $name = *unsafe {
                        library.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>(stringify!($name))
                    }
                    .map_err(|_| missing(path, stringify!($name)))?;
                )*
                Ok(Self { $( $name, )* _library: library })
            }
        }
    };
}

functions! {
    slm_open: fn(*const c_char, *const c_char, u32, u32, *mut *mut RawModel, *mut Error) -> i32;
    slm_close: fn(*mut RawModel, *mut Error) -> i32;
    slm_info: fn(*const RawModel, *mut Info, *mut Error) -> i32;
    slm_session_open: fn(*const RawModel, *mut *mut RawSession, *mut Error) -> i32;
    slm_session_close: fn(*mut RawSession);
    slm_set_chunk: fn(*mut RawSession, u32, *mut Error) -> i32;
    slm_position: fn(*const RawSession, *mut u32, *mut Error) -> i32;
    slm_reset: fn(*mut RawSession, *mut Error) -> i32;
    slm_rewind: fn(*mut RawSession, u32, *mut Error) -> i32;
    slm_cancel: fn(*const RawSession);
    slm_timings: fn(*const RawSession, *mut Timings, *mut Error) -> i32;
    slm_tokenize: fn(*mut RawSession, *const c_char, usize, u32, *mut u32, usize, *mut usize, *mut Error) -> i32;
    slm_detokenize: fn(*mut RawSession, *const u32, usize, u32, *mut c_char, usize, *mut usize, *mut Error) -> i32;
    slm_chat_prompt: fn(*mut RawSession, *const ChatMessage, usize, u32, *mut u32, usize, *mut usize, *mut Error) -> i32;
    slm_eval: fn(*mut RawSession, *const u32, usize, u32, *mut f32, usize, *mut Error) -> i32;
    slm_profile: fn(*mut RawSession, *const u32, usize, *mut KernelTime, usize, *mut usize, *mut Error) -> i32;
    slm_sample: fn(*mut RawSession, *const Sampling, *mut u32, *mut Error) -> i32;
    slm_generate: fn(*mut RawSession, *const u32, usize, *const GenerationOptions, *mut GeneratedInfo, *mut Error) -> i32;
}

fn missing(path: &Path, name: &'static str) -> EngineError {
    EngineError::Symbol { path: PathBuf::from(path), name }
}
