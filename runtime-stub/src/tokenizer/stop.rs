//! Stop strings over the text stream: text that may yet turn out to begin a stop string is held back.
//!
//! A matcher owns its strings and its held text in fixed arrays, so it can live in a session without allocation.

use super::decode::append;

/// Most stop strings of a matcher.
pub const MAX_STOPS: usize = 16;
/// Most bytes of all stop strings together, hence of held text.
pub const MAX_STOP_BYTES: usize = 512;

/// Why a stop string was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopError {
    /// An empty string would stop at once.
    Empty,
    /// More than `MAX_STOPS` strings.
    TooMany,
    /// More than [`MAX_STOP_BYTES`] bytes in all.
    TooLong,
}

impl StopError {
    /// One line for a person.
    pub fn message(&self) -> &'static str {
        match self {
            StopError::Empty => "a stop string is empty",
            StopError::TooMany => "more than 16 stop strings",
            StopError::TooLong => "the stop strings have more than 512 bytes in all",
        }
    }
}

/// What [`StopMatcher::push`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopStep {
    /// Bytes written to `out`: text that is certain not to belong to a stop string.
    pub written: usize,
    /// The stop string (by its order of addition) that ends the answer here. Text before it has been written, it and what follows it not.
    pub stopped: Option<usize>,
}

/// Watches a text stream for stop strings.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    text: [u8; MAX_STOP_BYTES],
    ends: [u16; MAX_STOPS],
    count: usize,
    held: [u8; MAX_STOP_BYTES],
    len: usize,
}

impl Default for StopMatcher {
    fn default() -> Self {
        Self::new()
    }
}

impl StopMatcher {
    /// Without stop strings: passes everything on at once.
    pub const fn new() -> Self {
        StopMatcher { text: [0; MAX_STOP_BYTES], ends: [0; MAX_STOPS], count: 0, held: [0; MAX_STOP_BYTES], len: 0 }
    }

    /// Adds a stop string.
    pub fn add(&mut self, stop: &[u8]) -> Result<(), StopError> {
        if stop.is_empty() {
            return Err(StopError::Empty);
        }
        let start = self.end_of(self.count.wrapping_sub(1));
        let end = start.saturating_add(stop.len());
        let room = self.text.get_mut(start..end).ok_or(StopError::TooLong)?;
        *self.ends.get_mut(self.count).ok_or(StopError::TooMany)? = end as u16;
        room.iter_mut().zip(stop).for_each(|(slot, &byte)| *slot = byte);
        self.count += 1;
        Ok(())
    }

    /// Forgets all stop strings and held text.
    pub fn clear(&mut self) {
        self.count = 0;
        self.len = 0;
    }

    /// Forgets held text: a new answer begins.
    pub fn restart(&mut self) {
        self.len = 0;
    }

    /// Appends text and writes what is certain. `out` needs `bytes.len() +` [`MAX_STOP_BYTES`] bytes. Of several stop strings that end at
    /// the same place the longest counts. After a stop the held text is empty.
    pub fn push(&mut self, bytes: &[u8], out: &mut [u8]) -> StopStep {
        let mut written = 0;
        for &byte in bytes {
            if let Some(slot) = self.held.get_mut(self.len) {
                *slot = byte;
                self.len += 1;
            }
            let held = self.held.get(..self.len).unwrap_or(&[]);
            let ended = (0..self.count).filter(|&i| held.ends_with(self.stop(i))).max_by_key(|&i| (self.stop(i).len(), self.count - i));
            if let Some(stop) = ended {
                let before = held.len() - self.stop(stop).len();
                written = append(out, written, held.get(..before).unwrap_or(&[]));
                self.len = 0;
                return StopStep { written, stopped: Some(stop) };
            }
            let keep = (0..self.count).map(|i| overlap(held, self.stop(i))).max().unwrap_or(0);
            let sure = held.len() - keep;
            written = append(out, written, held.get(..sure).unwrap_or(&[]));
            for i in 0..if sure > 0 { keep } else { 0 } {
                let byte = self.held.get(sure + i).copied().unwrap_or(0);
                if let Some(slot) = self.held.get_mut(i) {
                    *slot = byte;
                }
            }
            self.len = keep;
        }
        StopStep { written, stopped: None }
    }

    /// Ends the stream: writes the held text, which was no stop string, and returns its length.
    pub fn finish(&mut self, out: &mut [u8]) -> usize {
        let written = append(out, 0, self.held.get(..self.len).unwrap_or(&[]));
        self.len = 0;
        written
    }

    fn end_of(&self, i: usize) -> usize {
        self.ends.get(i).map_or(0, |&end| usize::from(end))
    }

    fn stop(&self, i: usize) -> &[u8] {
        self.text.get(self.end_of(i.wrapping_sub(1))..self.end_of(i)).unwrap_or(&[])
    }
}

/// Length of the longest end of `held` that begins `stop`.
fn overlap(held: &[u8], stop: &[u8]) -> usize {
    (1..=held.len().min(stop.len())).rev().find(|&n| held.ends_with(stop.get(..n).unwrap_or(&[]))).unwrap_or(0)
}
