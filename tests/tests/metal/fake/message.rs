//! `objc_msgSend`: finds the method and jumps to it with all arguments in place.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Mutex, PoisonError};

use super::objects::Id;
use super::{methods, state};

/// Registered selectors: name to the address of the name, which is the selector.
static SELECTORS: Mutex<BTreeMap<CString, usize>> = Mutex::new(BTreeMap::new());

/// `sel_registerName`.
pub unsafe extern "C" fn register(name: *const c_char) -> *const c_void {
    // SAFETY: the caller's name ends with a zero.
    let name = unsafe { CStr::from_ptr(name) }.to_owned();
    let mut selectors = SELECTORS.lock().unwrap_or_else(PoisonError::into_inner);
    *selectors.entry(name.clone()).or_insert_with(|| name.into_raw() as usize) as *const c_void
}

/// `objc_msgSend` of x86-64: the six argument registers are kept around the look-up, the stack is not touched.
#[unsafe(naked)]
pub unsafe extern "C" fn send() {
    std::arch::naked_asm!(
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "sub rsp, 8",
        "call {find}",
        "add rsp, 8",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "jmp rax",
        find = sym find,
    )
}

/// The method for this message. A message to null does nothing, as in Objective-C.
extern "C" fn find(receiver: Id, selector: *const c_void) -> *const c_void {
    if receiver.is_null() {
        return nothing as *const c_void;
    }
    let selectors = SELECTORS.lock().unwrap_or_else(PoisonError::into_inner);
    let name = selectors.iter().find(|(_, at)| **at == selector as usize).map(|(name, _)| name.to_string_lossy().into_owned());
    let mut state = state();
    let Some(name) = name else {
        state.fail("a message whose selector is not registered");
        return nothing as *const c_void;
    };
    let Some(class) = state.get(receiver as usize).map(|kind| kind.class()) else {
        state.fail(format!("{name} to what is no object, or no more"));
        return nothing as *const c_void;
    };
    match methods::METHODS.iter().find(|(c, n, _)| *c == class && *n == name) {
        Some((_, _, method)) => method.0,
        None => {
            state.fail(format!("{class} has no method {name}"));
            nothing as *const c_void
        }
    }
}

extern "C" fn nothing() -> usize {
    0
}
