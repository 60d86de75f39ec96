//! Strings and errors of Foundation.

use core::ffi::{CStr, c_char};

use super::objc::{Id, Objc, Object, send};
use crate::driver_words;

/// `NSUTF8StringEncoding`.
const UTF8: usize = 4;

/// A string object of these bytes; none if they are not UTF-8.
pub fn string(objc: &Objc, bytes: &[u8]) -> Option<Object> {
    // SAFETY: NSString has these methods; `alloc` gives an object that `init…` takes over and gives back, or null.
    unsafe {
        let class = (objc.runtime.class)(c"NSString".as_ptr());
        let raw = send!(objc, class, alloc; Id);
        objc.own(send!(objc, raw, init_bytes, bytes.as_ptr() => *const u8, bytes.len() => usize, UTF8 => usize; Id))
    }
}

/// Copies a string object's UTF-8 to `out`, cut to fit, and returns the bytes written; 0 for null.
///
/// # Safety
/// `string` is null or a live NSString, and a pool is open.
pub unsafe fn copy(objc: &Objc, string: Id, out: &mut [u8]) -> usize {
    if string.is_null() {
        return 0;
    }
    // SAFETY: NSString has this method; its bytes end with a zero and live as long as the pool.
    let text = unsafe { send!(objc, string, utf8; *const c_char) };
    if text.is_null() {
        return 0;
    }
    // SAFETY: as above.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    let len = cut(bytes, out.len());
    out[..len].copy_from_slice(&bytes[..len]);
    len
}

/// Keeps the description of an NSError as the driver's words.
///
/// # Safety
/// `error` is null or a live NSError, and a pool is open.
pub unsafe fn keep_description(objc: &Objc, error: Id) {
    let mut words = [0; 240];
    let mut len = 0;
    if !error.is_null() {
        // SAFETY: NSError has this method; the description lives as long as the pool.
        unsafe {
            let description = send!(objc, error, description; Id);
            len = copy(objc, description, &mut words);
        }
    }
    driver_words::keep(&words[..len]);
}

/// The greatest length up to `most` that does not cut a character.
fn cut(bytes: &[u8], most: usize) -> usize {
    if bytes.len() <= most {
        return bytes.len();
    }
    (0..=most).rev().find(|&at| bytes[at] & 0xc0 != 0x80).unwrap_or(0)
}
