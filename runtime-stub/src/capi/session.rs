//! Sessions: open, evaluate, sample, generate, move back, cancel, timings.

use core::cell::UnsafeCell;
use core::ffi::c_char;
use core::sync::atomic::{AtomicBool, Ordering};

use super::model::Model;
use super::types::{Error, GeneratedInfo, GenerationOptions, KernelTime};
use super::{c_str, null, put, report, slice, slice_mut};
use crate::fault::{Code, Fault, Outcome};
use crate::generate::{Generated, Generation, generate};
use crate::platform::memory::Owned;
use crate::sample::Sampling;
use crate::session::{Logits, Session as Conversation, Timings};

/// `SLM_LOGITS_NONE`.
pub const LOGITS_NONE: u32 = 0;
/// `SLM_LOGITS_LAST`.
pub const LOGITS_LAST: u32 = 1;
/// `SLM_LOGITS_ALL`.
pub const LOGITS_ALL: u32 = 2;

/// `SLM_IGNORE_EOS`.
pub const IGNORE_EOS: u32 = 1;
/// `SLM_SHOW_SPECIAL`.
pub const SHOW_SPECIAL: u32 = 2;

/// Most stop strings of one call.
const MAX_STOPS: usize = 16;

/// `slm_session`.
pub struct Session {
    conversation: UnsafeCell<Conversation<'static>>,
    cancel: AtomicBool,
    busy: AtomicBool,
    model: *const Model,
}

// SAFETY: `busy` lets one call at a time reach the conversation; the rest is atomic or constant.
unsafe impl Sync for Session {}

/// Runs `work` with the conversation, unless another call is in it, and reports its outcome.
///
/// # Safety
/// `session` is null or a live session; `error` is null or writable.
pub(super) unsafe fn with(
    session: *const Session,
    error: *mut Error,
    work: impl FnOnce(&mut Conversation<'static>, &AtomicBool) -> Outcome<()>,
) -> i32 {
    // SAFETY: the caller's promise.
    let outcome = match unsafe { session.as_ref() } {
        None => Err(null("session")),
        Some(session) if session.busy.swap(true, Ordering::Acquire) => {
            let _ = session;
            Err(Fault::new(Code::State, "session", "is in use by another call"))
        }
        Some(session) => {
            // SAFETY: `busy` was clear and is set, so this is the only reference.
            let outcome = work(unsafe { &mut *session.conversation.get() }, &session.cancel);
            session.busy.store(false, Ordering::Release);
            outcome
        }
    };
    // SAFETY: the caller's promise.
    unsafe { report(outcome, error) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_session_open(model: *const Model, session: *mut *mut Session, error: *mut Error) -> i32 {
    // SAFETY: the caller's promise; the model outlives its sessions, as `slm_close` counts them.
    let outcome = match unsafe { model.as_ref() } {
        None => Err(null("model")),
        Some(live) => Conversation::open(&live.opened).and_then(|conversation| {
            let memory = |errno| Fault::system(Code::Memory, "session", "no memory", errno);
            let opened = Owned::new(Session {
                conversation: UnsafeCell::new(conversation),
                cancel: AtomicBool::new(false),
                busy: AtomicBool::new(false),
                model,
            })
            .map_err(memory)?;
            if session.is_null() {
                return Err(null("session"));
            }
            live.sessions.fetch_add(1, Ordering::AcqRel);
            // SAFETY: not null, so writable, says the caller.
            unsafe { session.write(opened.into_raw()) };
            Ok(())
        }),
    };
    // SAFETY: the caller's promise.
    unsafe { report(outcome, error) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_session_close(session: *mut Session) {
    // SAFETY: null, or a live session that the caller uses no more.
    if let Some(session) = unsafe { Owned::from_raw(session) } {
        let model = session.model;
        drop(session);
        // SAFETY: the model counts this session, so it is open.
        unsafe { &*model }.sessions.fetch_sub(1, Ordering::AcqRel);
    }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_set_chunk(session: *mut Session, chunk: u32, error: *mut Error) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { with(session, error, |conversation, _| conversation.set_chunk(chunk)) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_eval(
    session: *mut Session,
    ids: *const u32,
    count: usize,
    which: u32,
    logits: *mut f32,
    capacity: usize,
    error: *mut Error,
) -> i32 {
    let work = |conversation: &mut Conversation<'_>, cancel: &AtomicBool| {
        // SAFETY: the caller's promise.
        let ids = unsafe { slice(ids, count, "ids")? };
        match which {
            LOGITS_NONE => conversation.eval(ids, Logits::None, cancel),
            LOGITS_ALL => {
                // SAFETY: the caller's promise.
                let out = unsafe { slice_mut(logits, capacity, "logits")? };
                conversation.eval(ids, Logits::All(out), cancel)
            }
            LOGITS_LAST if logits.is_null() => conversation.eval(ids, Logits::Last, cancel),
            LOGITS_LAST => {
                let vocab = conversation.model().plan().header.vocab as usize;
                if capacity < vocab {
                    return Err(Fault::new(Code::Buffer, "logits", "buffer is too small").numbers(vocab as u64, capacity as u64));
                }
                conversation.eval(ids, Logits::Last, cancel)?;
                // SAFETY: the caller's promise.
                let out = unsafe { slice_mut(logits, vocab, "logits")? };
                out.copy_from_slice(conversation.logits()?);
                Ok(())
            }
            other => Err(Fault::new(Code::Argument, "which", "names no kind of logits").numbers(2, other.into())),
        }
    };
    // SAFETY: the caller's promise.
    unsafe { with(session, error, work) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_sample(session: *mut Session, sampling: *const Sampling, id: *mut u32, error: *mut Error) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        with(session, error, |conversation, _| {
            let sampling = sampling.as_ref().ok_or_else(|| null("sampling"))?;
            put(id, conversation.sample(sampling)?, "id")
        })
    }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_generate(
    session: *mut Session,
    ids: *const u32,
    count: usize,
    options: *const GenerationOptions,
    generated: *mut GeneratedInfo,
    error: *mut Error,
) -> i32 {
    let work = |conversation: &mut Conversation<'_>, cancel: &AtomicBool| {
        // SAFETY: the caller's promise.
        let (ids, options) = unsafe { (slice(ids, count, "ids")?, options.as_ref()) };
        let options = options.ok_or_else(|| null("options"))?;
        if options.flags & !(IGNORE_EOS | SHOW_SPECIAL) != 0 {
            return Err(Fault::new(Code::Argument, "flags", "have unknown bits").numbers(3, options.flags.into()));
        }
        let mut stops: [&[u8]; MAX_STOPS] = [&[]; MAX_STOPS];
        // SAFETY: the caller's promise.
        let given: &[*const c_char] = unsafe { slice(options.stops, options.stop_count, "stops")? };
        if given.len() > MAX_STOPS {
            return Err(Fault::new(Code::Argument, "stops", "are too many").numbers(MAX_STOPS as u64, given.len() as u64));
        }
        for (stop, &text) in stops.iter_mut().zip(given) {
            // SAFETY: the caller's promise.
            *stop = unsafe { c_str(text, "stops")? }.to_bytes();
        }
        let how = Generation {
            sampling: options.sampling,
            max_tokens: options.max_tokens,
            ignore_eos: options.flags & IGNORE_EOS != 0,
            show_special: options.flags & SHOW_SPECIAL != 0,
            stops: &stops[..given.len()],
        };
        let mut receiver = |id: u32, text: &[u8]| match options.receiver {
            None => true,
            // SAFETY: the caller's function, called as `slm.h` says; the text is readable for its length.
            Some(receiver) => unsafe { receiver(options.user, id, text.as_ptr().cast(), text.len()) == 0 },
        };
        let mut done = Generated::NONE;
        let outcome = generate(conversation, ids, &how, cancel, &mut receiver, &mut done);
        // SAFETY: null or writable, says the caller.
        if let Some(generated) = unsafe { generated.as_mut() } {
            *generated = GeneratedInfo {
                end: done.end as u32,
                prompt_tokens: done.prompt_tokens,
                reused_tokens: done.reused_tokens,
                tokens: done.tokens,
                prefill_ns: done.prefill_ns,
                decode_ns: done.decode_ns,
            };
        }
        outcome
    };
    // SAFETY: the caller's promise.
    unsafe { with(session, error, work) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_reset(session: *mut Session, error: *mut Error) -> i32 {
    let work = |conversation: &mut Conversation<'_>, _: &AtomicBool| {
        conversation.reset();
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with(session, error, work) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_rewind(session: *mut Session, position: u32, error: *mut Error) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { with(session, error, |conversation, _| conversation.rewind(position)) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_position(session: *const Session, position: *mut u32, error: *mut Error) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { with(session, error, |conversation, _| put(position, conversation.position(), "position")) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_cancel(session: *const Session) {
    // SAFETY: the caller's promise; only the atomic flag is touched.
    if let Some(session) = unsafe { session.as_ref() } {
        session.cancel.store(true, Ordering::Relaxed);
    }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_timings(session: *const Session, timings: *mut Timings, error: *mut Error) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { with(session, error, |conversation, _| put(timings, conversation.timings(), "timings")) }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_profile(
    session: *mut Session,
    ids: *const u32,
    count: usize,
    times: *mut KernelTime,
    capacity: usize,
    kernels: *mut usize,
    error: *mut Error,
) -> i32 {
    let work = |conversation: &mut Conversation<'_>, _: &AtomicBool| {
        let plan = conversation.model().plan();
        let needed = plan.header.kernel_count as usize;
        // SAFETY: the caller's promise.
        let (ids, out) = unsafe {
            put(kernels, needed, "kernels")?;
            (slice(ids, count, "ids")?, slice_mut(times, capacity, "times")?)
        };
        let Some(out) = out.get_mut(..needed) else {
            return Err(Fault::new(Code::Buffer, "times", "buffer is too small").numbers(needed as u64, capacity as u64));
        };
        for (kernel, time) in (0..).zip(&mut *out) {
            let name = if kernel < plan.header.shaders.count { plan.shader(kernel).entry } else { [0; 64] };
            *time = KernelTime { name, kernel, dispatches: 0, ns: 0 };
        }
        conversation.profile(ids, &mut |kernel, ns| {
            if let Some(time) = out.get_mut(kernel as usize) {
                time.dispatches += 1;
                time.ns += ns;
            }
        })
    };
    // SAFETY: the caller's promise.
    unsafe { with(session, error, work) }
}
