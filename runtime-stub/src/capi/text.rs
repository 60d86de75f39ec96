//! Text: `slm_tokenize`, `slm_detokenize`, `slm_chat_prompt`.

use core::ffi::c_char;

use super::session::{Session, with};
use super::types::{ChatMessage, Error};
use super::{c_str, put, slice, slice_mut};
use crate::fault::{Code, Fault, Outcome};
use crate::tokenizer::{EncodeOptions, Message, Role, TypedSpecials};

/// `SLM_SPECIAL_AS_TOKENS`.
pub const SPECIAL_AS_TOKENS: u32 = 1;
/// `SLM_FRAME`.
pub const FRAME: u32 = 2;
/// `SLM_TEXT_SHOW_SPECIAL`.
pub const TEXT_SHOW_SPECIAL: u32 = 1;
/// `SLM_NO_ANSWER_HEAD`.
pub const NO_ANSWER_HEAD: u32 = 1;

/// Most messages of one chat.
pub const MAX_MESSAGES: usize = 256;

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_tokenize(
    session: *mut Session,
    text: *const c_char,
    bytes: usize,
    flags: u32,
    ids: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut Error,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        with(session, error, |conversation, _| {
            check_flags(flags, SPECIAL_AS_TOKENS | FRAME)?;
            let text = slice(text.cast::<u8>(), bytes, "text")?;
            let out = slice_mut(ids, capacity, "ids")?;
            let as_tokens = flags & SPECIAL_AS_TOKENS != 0;
            let options =
                EncodeOptions { typed_specials: if as_tokens { TypedSpecials::Tokens } else { TypedSpecials::Text }, frame: flags & FRAME != 0 };
            let outcome = conversation.text_mut().encode(text, options, out);
            put_count(outcome, count)
        })
    }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_detokenize(
    session: *mut Session,
    ids: *const u32,
    count: usize,
    flags: u32,
    text: *mut c_char,
    capacity: usize,
    bytes: *mut usize,
    error: *mut Error,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        with(session, error, |conversation, _| {
            check_flags(flags, TEXT_SHOW_SPECIAL)?;
            let ids = slice(ids, count, "ids")?;
            let out = slice_mut(text.cast::<u8>(), capacity, "text")?;
            let outcome = conversation.text_mut().decode(ids, flags & TEXT_SHOW_SPECIAL == 0, out);
            put_count(outcome, bytes)
        })
    }
}

/// See `slm.h`.
///
/// # Safety
/// As `slm.h` says.
#[cfg_attr(all(feature = "object", panic = "abort"), unsafe(no_mangle))]
pub unsafe extern "C" fn slm_chat_prompt(
    session: *mut Session,
    messages: *const ChatMessage,
    message_count: usize,
    flags: u32,
    ids: *mut u32,
    capacity: usize,
    count: *mut usize,
    error: *mut Error,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        with(session, error, |conversation, _| {
            check_flags(flags, NO_ANSWER_HEAD)?;
            let given = slice(messages, message_count, "messages")?;
            let mut chat = [Message { role: Role::User, content: &[] }; MAX_MESSAGES];
            let chat = read_messages(given, &mut chat)?;
            let out = slice_mut(ids, capacity, "ids")?;
            let outcome = conversation.text_mut().chat(chat, flags & NO_ANSWER_HEAD == 0, out);
            put_count(outcome, count)
        })
    }
}

/// # Safety
/// Every message's pointers are as `slm.h` says.
unsafe fn read_messages<'o, 'm>(given: &[ChatMessage], out: &'o mut [Message<'m>; MAX_MESSAGES]) -> Outcome<&'o [Message<'m>]> {
    if given.len() > MAX_MESSAGES {
        return Err(Fault::new(Code::Argument, "messages", "are too many").numbers(MAX_MESSAGES as u64, given.len() as u64));
    }
    for (index, (place, message)) in (0u32..).zip(out.iter_mut().zip(given)) {
        // SAFETY: the caller's promise.
        let (role, content) = unsafe {
            let role = c_str(message.role, "role")?.to_bytes();
            (role, slice(message.content.cast::<u8>(), message.content_bytes, "content")?)
        };
        let role = Role::from_name(role).ok_or_else(|| Fault::new(Code::Argument, "role", "is not system, user or assistant").at(index))?;
        *place = Message { role, content };
    }
    Ok(&out[..given.len()])
}

/// The count, also when the buffer was too small: then it is what would have sufficed.
///
/// # Safety
/// `count` is null or writable.
unsafe fn put_count(outcome: Outcome<usize>, count: *mut usize) -> Outcome<()> {
    if let Err(Fault { code: Code::Buffer, expected: crate::fault::Value::Number(needed), .. }) = outcome
        && !count.is_null()
    {
        // SAFETY: the caller's promise.
        unsafe { count.write(needed as usize) };
    }
    let value = outcome?;
    // SAFETY: the caller's promise.
    unsafe { put(count, value, "count") }
}

fn check_flags(flags: u32, known: u32) -> Outcome<()> {
    if flags & !known == 0 {
        return Ok(());
    }
    Err(Fault::new(Code::Argument, "flags", "have unknown bits").numbers(known.into(), flags.into()))
}
