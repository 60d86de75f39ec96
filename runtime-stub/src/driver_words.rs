//! What a driver said about its last failure, once for the process.
//!
//! A [`Fault`](crate::fault::Fault) holds no text of its own, but a driver's words (the message of its compiler, say) are
//! often the only thing that explains a failure. They are kept here until the next failure; two threads that fail at the
//! same moment may mix theirs, which garbles a message and nothing else.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Bytes kept.
const ROOM: usize = 240;

static BYTES: [AtomicU8; ROOM] = [const { AtomicU8::new(0) }; ROOM];
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Keeps `words`, cut to the room. What is not printable ASCII becomes a blank, so that any part of it is UTF-8.
pub fn keep(words: &[u8]) {
    let len = words.len().min(ROOM);
    LENGTH.store(0, Ordering::Release);
    for (place, &byte) in BYTES.iter().zip(words) {
        place.store(if (b' '..=b'~').contains(&byte) { byte } else { b' ' }, Ordering::Relaxed);
    }
    LENGTH.store(len, Ordering::Release);
}

/// Hands out what was kept, byte by byte.
pub fn each(mut take: impl FnMut(u8)) {
    let len = LENGTH.load(Ordering::Acquire);
    for place in BYTES.iter().take(len) {
        take(place.load(Ordering::Relaxed));
    }
}
