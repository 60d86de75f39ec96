//! The native methods of `slmc.Model`, each a translation to one or two functions of `slm.h`.
//!
//! The class sees to it that a handle is live, that calls on one do not overlap (`nativeCancel` apart), and that no array it
//! passes is null where that is not allowed.

use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use super::Bridge;
use super::env::{Elements, Env, Object};
use super::functions::Functions;
use crate::capi::types::{ChatMessage, Error, GeneratedInfo, GenerationOptions, MESSAGE_BYTES};
use crate::fault::{Code, Fault, Outcome};
use crate::sample::Sampling;

/// Most messages of a chat, as in `slm.h`.
const MESSAGES: usize = 256;
/// Most stop strings of an answer, as in `slm.h`.
const STOPS: usize = 16;
/// Tokens that a repetition penalty looks back on.
const REPETITION_WINDOW: u32 = 64;

const fn no_error() -> Error {
    Error { code: 0, message: [0; MESSAGE_BYTES] }
}

/// Hands a failure over: code and message, as they lie in `slm_error`.
fn tell(env: Env, array: Object, error: &Error) {
    // SAFETY: plain bytes without gaps.
    env.set_bytes(array, unsafe { core::slice::from_raw_parts(ptr::from_ref(error).cast(), size_of::<Error>()) });
}

fn tell_fault(env: Env, array: Object, fault: &Fault) {
    let mut error = no_error();
    error.code = fault.code as i32;
    fault.write(&mut error.message[..MESSAGE_BYTES - 1]);
    tell(env, array, &error);
}

fn text(bytes: &[u8]) -> Outcome<&CStr> {
    CStr::from_bytes_until_nul(bytes).map_err(|_| Fault::new(Code::Argument, "text", "does not end with a zero"))
}

/// `long nativeOpen(byte[] library, byte[] folder, byte[] cache, int threads, byte[] error)`: 0 where it failed.
#[unsafe(no_mangle)]
extern "C" fn Java_slmc_Model_nativeOpen(
    env: Env,
    _class: Object,
    library: Object,
    folder: Object,
    cache: Object,
    threads: i32,
    error: Object,
) -> i64 {
    let (library, folder, cache) = (Elements::bytes(env, library), Elements::bytes(env, folder), Elements::bytes(env, cache));
    let loaded = text(library.get_all()).and_then(Functions::load).and_then(|functions| Ok((functions, text(folder.get_all())?)));
    let (functions, folder) = match loaded {
        Ok(loaded) => loaded,
        Err(fault) => {
            tell_fault(env, error, &fault);
            return 0;
        }
    };
    let cache = text(cache.get_all()).map_or(ptr::null(), CStr::as_ptr);
    let mut failed = no_error();
    let mut bridge = Bridge { functions, model: ptr::null_mut(), session: ptr::null_mut() };
    // SAFETY: strings that end with a zero, and places for the answers.
    let code = unsafe { (bridge.functions.open)(folder.as_ptr(), cache, 0, threads.max(0) as u32, &mut bridge.model, &mut failed) };
    if code != 0 {
        tell(env, error, &failed);
        return 0;
    }
    // SAFETY: an open model.
    if unsafe { (bridge.functions.session_open)(bridge.model, &mut bridge.session, &mut failed) } != 0 {
        // SAFETY: without sessions it closes.
        unsafe { (bridge.functions.close)(bridge.model, ptr::null_mut()) };
        tell(env, error, &failed);
        return 0;
    }
    let (close, session_close, model, session) = (bridge.functions.close, bridge.functions.session_close, bridge.model, bridge.session);
    bridge.into_handle().unwrap_or_else(|errno| {
        // SAFETY: both are open and used no more.
        unsafe {
            session_close(session);
            close(model, ptr::null_mut());
        }
        tell_fault(env, error, &Fault::system(Code::Memory, "model", "no memory", errno));
        0
    })
}

/// `void nativeClose(long handle)`.
#[unsafe(no_mangle)]
extern "C" fn Java_slmc_Model_nativeClose(_env: Env, _class: Object, handle: i64) {
    // SAFETY: a live handle, which the class forgets.
    let Some(bridge) = (unsafe { Bridge::take(handle) }) else { return };
    // SAFETY: both are open and used no more.
    unsafe {
        (bridge.functions.session_close)(bridge.session);
        (bridge.functions.close)(bridge.model, ptr::null_mut());
    }
}

/// `int nativeReset(long handle, byte[] error)`.
#[unsafe(no_mangle)]
extern "C" fn Java_slmc_Model_nativeReset(env: Env, _class: Object, handle: i64, error: Object) -> i32 {
    // SAFETY: a live handle.
    let bridge = unsafe { Bridge::of(handle) };
    let mut failed = no_error();
    // SAFETY: an open session.
    let code = unsafe { (bridge.functions.reset)(bridge.session, &mut failed) };
    if code != 0 {
        tell(env, error, &failed);
    }
    code
}

/// `void nativeCancel(long handle)`, from any thread.
#[unsafe(no_mangle)]
extern "C" fn Java_slmc_Model_nativeCancel(_env: Env, _class: Object, handle: i64) {
    // SAFETY: a live handle with an open session.
    unsafe {
        let bridge = Bridge::of(handle);
        (bridge.functions.cancel)(bridge.session);
    }
}

/// Fills `out`, an `int[]`, by `ask` and returns how many ids there are, even where that is more than there is room for; a negative
/// code where it failed.
fn ids(env: Env, out: Object, error: Object, ask: impl Fn(&mut [u32], &mut usize, &mut Error) -> i32) -> i32 {
    let (mut count, mut failed) = (0, no_error());
    let code = ask(Elements::ints_to_write(env, out).get_all_mut(), &mut count, &mut failed);
    if code == 0 || code == Code::Buffer as i32 {
        return i32::try_from(count).unwrap_or(i32::MAX);
    }
    tell(env, error, &failed);
    code
}

/// `int nativeTokenize(long handle, byte[] text, int flags, int[] ids, byte[] error)`; this text needs no zero at its end.
#[unsafe(no_mangle)]
extern "C" fn Java_slmc_Model_nativeTokenize(env: Env, _class: Object, handle: i64, text: Object, flags: i32, out: Object, error: Object) -> i32 {
    // SAFETY: a live handle.
    let bridge = unsafe { Bridge::of(handle) };
    let text = Elements::bytes(env, text);
    let text = text.get_all();
    ids(env, out, error, |ids, count, failed| {
        // SAFETY: an open session, and slices with their lengths.
        unsafe { (bridge.functions.tokenize)(bridge.session, text.as_ptr(), text.len(), flags as u32, ids.as_mut_ptr(), ids.len(), count, failed) }
    })
}

/// `int nativeChat(long handle, byte[] messages, int[] ids, byte[] error)`: role and content of each message in turn, each ending
/// with a zero.
#[unsafe(no_mangle)]
extern "C" fn Java_slmc_Model_nativeChat(env: Env, _class: Object, handle: i64, messages: Object, out: Object, error: Object) -> i32 {
    // SAFETY: a live handle.
    let bridge = unsafe { Bridge::of(handle) };
    let bytes = Elements::bytes(env, messages);
    let mut rest = bytes.get_all();
    let mut list = [ChatMessage { role: ptr::null(), content: ptr::null(), content_bytes: 0 }; MESSAGES];
    let mut used = 0;
    while !rest.is_empty() {
        let message = next(&mut rest).and_then(|role| Ok((role, next(&mut rest)?)));
        let (role, content) = match message {
            Ok(_) if used == MESSAGES => {
                tell_fault(env, error, &Fault::new(Code::Argument, "messages", "are too many").numbers(MESSAGES as u64, MESSAGES as u64 + 1));
                return Code::Argument as i32;
            }
            Ok(message) => message,
            Err(fault) => {
                tell_fault(env, error, &fault);
                return fault.code as i32;
            }
        };
        list[used] = ChatMessage { role: role.as_ptr(), content: content.as_ptr(), content_bytes: content.count_bytes() };
        used += 1;
    }
    ids(env, out, error, |ids, count, failed| {
        // SAFETY: an open session, slices with their lengths, and strings that live until `bytes` is given back.
        unsafe { (bridge.functions.chat_prompt)(bridge.session, list.as_ptr(), used, 0, ids.as_mut_ptr(), ids.len(), count, failed) }
    })
}

/// Takes a string and its zero from the beginning of `rest`.
fn next<'t>(rest: &mut &'t [u8]) -> Outcome<&'t CStr> {
    let string = text(rest)?;
    *rest = &rest[string.to_bytes_with_nul().len()..];
    Ok(string)
}

/// Who gets the pieces of an answer.
struct Listener {
    env: Env,
    receiver: Object,
    method: Object,
}

/// The receiver of `slm_generate`: calls `boolean piece(int id, byte[] text)`, and stops at an exception.
unsafe extern "C" fn piece(user: *mut c_void, id: u32, text: *const c_char, bytes: usize) -> i32 {
    // SAFETY: `nativeGenerate` passes a listener that lives until `slm_generate` returns, which calls this in its own thread.
    let listener = unsafe { &*user.cast::<Listener>() };
    let text = if bytes == 0 {
        &[]
    } else {
        // SAFETY: says `slm.h`.
        unsafe { core::slice::from_raw_parts(text.cast::<u8>(), bytes) }
    };
    let array = listener.env.new_bytes(text);
    if array.is_null() {
        return 1;
    }
    let goes_on = listener.env.call_piece(listener.receiver, listener.method, id, array);
    listener.env.forget(array);
    i32::from(!goes_on || listener.env.has_exception())
}

/// `int nativeGenerate(long handle, int[] prompt, int maxTokens, float temperature, int topK, float topP, float repetitionPenalty,
/// long seed, byte[] stops, Object receiver, long[] counts, byte[] error)`: how the answer ended (`SLM_END_*`), or a negative code. `stops` are
/// strings that each end with a zero; `counts` takes tokens of the prompt, of these reused, tokens of the answer, and the
/// nanoseconds of prefill and decode.
#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "Java passes no structures")]
extern "C" fn Java_slmc_Model_nativeGenerate(
    env: Env,
    _class: Object,
    handle: i64,
    prompt: Object,
    max_tokens: i32,
    temperature: f32,
    top_k: i32,
    top_p: f32,
    repetition_penalty: f32,
    seed: i64,
    stops: Object,
    receiver: Object,
    counts: Object,
    error: Object,
) -> i32 {
    // SAFETY: a live handle.
    let bridge = unsafe { Bridge::of(handle) };
    let (prompt, stop_bytes) = (Elements::ints(env, prompt), Elements::bytes(env, stops));
    let mut rest = stop_bytes.get_all();
    let mut list = [ptr::null::<c_char>(); STOPS];
    let mut stop_count = 0;
    while !rest.is_empty() {
        match (next(&mut rest), list.get_mut(stop_count)) {
            (Ok(stop), Some(place)) => *place = stop.as_ptr(),
            _ => {
                tell_fault(env, error, &Fault::new(Code::Argument, "stops", "are too many, or hold a zero"));
                return Code::Argument as i32;
            }
        }
        stop_count += 1;
    }
    let method = env.piece_method(receiver);
    if method.is_null() {
        return Code::Argument as i32;
    }
    let mut listener = Listener { env, receiver, method };
    let options = GenerationOptions {
        sampling: Sampling {
            temperature,
            top_k: top_k.max(0) as u32,
            top_p,
            repetition_penalty,
            repetition_window: if repetition_penalty == 1.0 { 0 } else { REPETITION_WINDOW },
            seed: seed as u64,
            ..Sampling::GREEDY
        },
        max_tokens: max_tokens.max(0) as u32,
        flags: 0,
        stops: list.as_ptr(),
        stop_count,
        receiver: Some(piece),
        user: ptr::from_mut(&mut listener).cast(),
    };
    let (mut generated, mut failed) = (GeneratedInfo::default(), no_error());
    let ids = prompt.get_all();
    // SAFETY: an open session, a slice with its length, and options whose pointers live until the return.
    let code = unsafe { (bridge.functions.generate)(bridge.session, ids.as_ptr(), ids.len(), &options, &mut generated, &mut failed) };
    if env.has_exception() {
        return code;
    }
    let numbers = [generated.prompt_tokens, generated.reused_tokens, generated.tokens].map(i64::from);
    env.set_longs(counts, &[numbers[0], numbers[1], numbers[2], generated.prefill_ns as i64, generated.decode_ns as i64]);
    if code != 0 {
        tell(env, error, &failed);
        return code;
    }
    generated.end as i32
}
