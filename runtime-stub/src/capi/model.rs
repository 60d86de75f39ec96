//! `slm_open`, `slm_close`, `slm_info`, `slm_error_message`.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicU32, Ordering};

use super::types::{Error, Info};
use super::{c_str, null, put, report};
use crate::abi::ABI_VERSION;
use crate::bundle::Bundle;
use crate::fault::{Code, Fault, Outcome};
use crate::model::{Model as Opened, OpenOptions};
use crate::platform::memory::Owned;
use crate::verify::Wish;
use crate::walk::Kernels;

/// `SLM_VERIFY_ALWAYS`: hash everything even if a stamp is known.
pub const VERIFY_ALWAYS: u32 = 1;
/// `SLM_REFUSE_UNCACHED`: refuse to open without a cache folder.
pub const REFUSE_UNCACHED: u32 = 2;

/// Where the number of the device stands in the flags, 1 higher than it is; see `SLM_DEVICE`.
pub const DEVICE_SHIFT: u32 = 16;
const DEVICE_MASK: u32 = 0xff << DEVICE_SHIFT;

/// `slm_model`. The fields are dropped in this order: the model borrows the bundle.
pub struct Model {
    pub(super) opened: Opened<'static>,
    pub(super) sessions: AtomicU32,
    _bundle: Owned<Bundle>,
}

/// The linked kernels.
#[cfg(all(feature = "object", panic = "abort"))]
fn linked() -> Kernels {
    use crate::abi::{CodeHeader, KernelFn};

    unsafe extern "C" {
        static slmc_code: CodeHeader;
        static slmc_kernels: [KernelFn; 0];
    }
    // SAFETY: both symbols come from the kernels object that slmc links in; it writes them as `abi.rs` says.
    unsafe {
        let header = &*&raw const slmc_code;
        let count = header.kernel_count as usize;
        let functions = core::slice::from_raw_parts((&raw const slmc_kernels).cast::<KernelFn>(), count);
        Kernels::new(header, functions)
    }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg(all(feature = "object", panic = "abort"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn slm_open(
    dir: *const c_char,
    cache_dir: *const c_char,
    flags: u32,
    threads: u32,
    model: *mut *mut Model,
    error: *mut Error,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { open_with(linked(), dir, cache_dir, flags, threads, model, error) }
}

/// `slm_open` with given kernels.
///
/// # Safety
/// As `slm.h` says for `slm_open`.
pub unsafe fn open_with(
    kernels: Kernels,
    dir: *const c_char,
    cache_dir: *const c_char,
    flags: u32,
    threads: u32,
    model: *mut *mut Model,
    error: *mut Error,
) -> i32 {
    // SAFETY: the caller's promise.
    let outcome = unsafe {
        c_str(dir, "dir").and_then(|dir| {
            let cache_dir = if cache_dir.is_null() { None } else { Some(c_str(cache_dir, "cache_dir")?) };
            put(model, core::ptr::null_mut(), "model")?;
            let opened = open(kernels, dir, cache_dir, flags, threads)?;
            put(model, opened.into_raw(), "model")
        })
    };
    // SAFETY: the caller's promise.
    unsafe { report(outcome, error) }
}

fn open(kernels: Kernels, dir: &CStr, cache_dir: Option<&CStr>, flags: u32, threads: u32) -> Outcome<Owned<Model>> {
    if flags & !(VERIFY_ALWAYS | REFUSE_UNCACHED | DEVICE_MASK) != 0 {
        return Err(Fault::new(Code::Argument, "flags", "have unknown bits").numbers(3, flags.into()));
    }
    let memory = |errno| Fault::system(Code::Memory, "model", "no memory", errno);
    let bundle = Owned::new(Opened::open_files(dir, kernels)?).map_err(memory)?;
    // SAFETY: the bundle does not move, and `Model` drops what borrows it first.
    let borrowed: &'static Bundle = unsafe { core::mem::transmute::<&Bundle, &'static Bundle>(&bundle) };
    let wish = Wish { cache_dir, rehash: flags & VERIFY_ALWAYS != 0, refuse_uncached: flags & REFUSE_UNCACHED != 0 };
    let opened = Opened::open(borrowed, kernels, OpenOptions { threads, wish, device: flags >> DEVICE_SHIFT, ..OpenOptions::default() })?;
    Owned::new(Model { opened, sessions: AtomicU32::new(0), _bundle: bundle }).map_err(memory)
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_close(model: *mut Model, error: *mut Error) -> i32 {
    if model.is_null() {
        return super::OK;
    }
    // SAFETY: a live model, says the caller.
    let open = unsafe { &*model }.sessions.load(Ordering::Acquire);
    let outcome = if open == 0 {
        // SAFETY: it came from `into_raw`, and the caller uses it no more.
        drop(unsafe { Owned::from_raw(model) });
        Ok(())
    } else {
        Err(Fault::new(Code::State, "model", "still has open sessions").numbers(0, open.into()))
    };
    // SAFETY: the caller's promise.
    unsafe { report(outcome, error) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_info(model: *const Model, info: *mut Info, error: *mut Error) -> i32 {
    // SAFETY: the caller's promise.
    let outcome = match unsafe { model.as_ref() } {
        None => Err(null("model")),
        // SAFETY: the caller's promise.
        Some(model) => unsafe { put(info, describe(&model.opened), "info") },
    };
    // SAFETY: the caller's promise.
    unsafe { report(outcome, error) }
}

fn describe(model: &Opened<'_>) -> Info {
    let plan = model.plan();
    let header = &plan.header;
    let mut name = header.name;
    name[name.len() - 1] = 0;
    let tokenizer = model.tokenizer();
    Info {
        name,
        manifest_digest: header.manifest_digest,
        code_id: header.code_id,
        parameters: header.parameters,
        weights_bytes: header.weights_bytes,
        arena_bytes: header.arena_bytes,
        kv_bytes: header.kv_bytes,
        kv_token_bytes: plan.kv_position_bytes(),
        context: header.ctx,
        chunk: header.chunk,
        vocab: header.vocab,
        threads: model.device().threads(),
        trust: model.trust() as u32,
        has_text: u32::from(tokenizer.is_some()),
        has_chat: u32::from(tokenizer.is_some_and(|tokenizer| tokenizer.has_chat())),
        abi_version: ABI_VERSION,
        device: header.device,
        device_name: model.device().name(),
    }
}

/// See `slm.h`.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub extern "C" fn slm_error_message(code: i32) -> *const c_char {
    let text = match code {
        0 => c"success",
        -1 => c"an argument is out of its range or null",
        -2 => c"a file cannot be opened, read, mapped or written",
        -3 => c"a file is malformed or of another version",
        -4 => c"files or code of two bundles are mixed",
        -5 => c"a file differs from what was packed",
        -6 => c"the processor lacks an instruction set",
        -7 => c"the system gives no more memory",
        -8 => c"the system gives no more threads",
        -9 => c"the tokens do not fit into the context",
        -10 => c"a token id is not below the vocabulary",
        -11 => c"a buffer is too small",
        -12 => c"the bundle has no tokenizer or no chat template",
        -13 => c"the call does not fit the state of session or model",
        -14 => c"opening would hash the bundle each time, which the flags forbid",
        -15 => c"text is not UTF-8",
        -16 => c"the chat template does not take these messages",
        -17 => c"cancelled",
        -18 => c"no device runs the bundle, or the device failed",
        _ => c"unknown code",
    };
    text.as_ptr()
}
