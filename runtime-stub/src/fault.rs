//! Errors of the stub: a code for programs and the parts of a sentence for people.
//!
//! A [`Fault`] holds no text of its own, so it is small and needs no allocator; [`Fault::write`] spells it out into a
//! buffer without `core::fmt`, whose machinery would double the size of the stub.

use crate::abi::{device_feature, feature};
use crate::driver_words;

/// What went wrong, as the C ABI returns it. Values are part of the ABI.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// An argument is out of its range, or a pointer is null.
    Argument = -1,
    /// A file cannot be opened, read, mapped or written.
    Io = -2,
    /// A file is malformed: magic, version, sizes, or an index or range inside it.
    Format = -3,
    /// Files or code of two different bundles are mixed.
    Mismatch = -4,
    /// A file's bytes are not those that were packed.
    Corrupt = -5,
    /// The processor lacks an instruction set that the code needs.
    Cpu = -6,
    /// The system gives no more memory.
    Memory = -7,
    /// The system gives no more threads.
    Threads = -8,
    /// The tokens do not fit into the context.
    ContextFull = -9,
    /// A token id is not below the vocabulary.
    Token = -10,
    /// A buffer of the caller is too small; the message states the need.
    Buffer = -11,
    /// The bundle has no tokenizer, or no chat template.
    NoText = -12,
    /// The call does not fit the state of the session or model.
    State = -13,
    /// Opening would hash the whole bundle each time, which the flags forbid.
    Unverified = -14,
    /// Text is not UTF-8.
    Utf8 = -15,
    /// The chat template has no form for this sequence of messages.
    Chat = -16,
    /// Another call cancelled the work.
    Cancelled = -17,
    /// There is no device that the bundle can run on, it lacks what the shaders need, or it failed.
    Device = -18,
}

/// A value in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Not stated.
    None,
    /// A decimal number.
    Number(u64),
    /// The first eight bytes of a hash or id.
    Hash([u8; 8]),
    /// CPU features by name, bits of [`feature`].
    Features(u64),
    /// GPU features by name, bits of [`device_feature`].
    DeviceFeatures(u64),
    /// Words.
    Text(&'static str),
    /// What the driver said about its last failure: [`driver_words`].
    DriverWords,
}

/// An error: its code and the parts of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For programs.
    pub code: Code,
    /// The file or argument at fault.
    pub subject: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
    /// Which one, counted from 0, where there are several.
    pub index: Option<u32>,
    /// What should have been there.
    pub expected: Value,
    /// What was there.
    pub found: Value,
    /// What to do next; empty if that is evident.
    pub hint: &'static str,
}

/// What everything in the stub returns.
pub type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// A fault without values.
    #[cold]
    #[inline(never)]
    pub const fn new(code: Code, subject: &'static str, what: &'static str) -> Self {
        Self { code, subject, what, index: None, expected: Value::None, found: Value::None, hint: "" }
    }

    /// A system call's failure; `errno` is stated in the message.
    #[cold]
    #[inline(never)]
    pub const fn system(code: Code, subject: &'static str, what: &'static str, errno: i32) -> Self {
        let mut fault = Self::new(code, subject, what);
        fault.found = Value::Number(errno as u64);
        fault.expected = Value::Text("success");
        fault.hint = "the number found is the system's errno";
        fault
    }

    /// The same with values.
    #[cold]
    #[inline(never)]
    pub const fn values(mut self, expected: Value, found: Value) -> Self {
        self.expected = expected;
        self.found = found;
        self
    }

    /// The same with numbers.
    #[cold]
    #[inline(never)]
    pub const fn numbers(self, expected: u64, found: u64) -> Self {
        self.values(Value::Number(expected), Value::Number(found))
    }

    /// The same with an index.
    #[cold]
    #[inline(never)]
    pub const fn at(mut self, index: u32) -> Self {
        self.index = Some(index);
        self
    }

    /// The same with advice.
    #[cold]
    #[inline(never)]
    pub const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    /// Writes the message as UTF-8, cut to the buffer, and returns the number of bytes written (no closing zero).
    pub fn write(&self, out: &mut [u8]) -> usize {
        let mut line = Line { out, at: 0 };
        line.text(self.subject);
        line.text(": ");
        line.text(self.what);
        if let Some(index) = self.index {
            line.text(" (number ");
            line.number(u64::from(index));
            line.text(")");
        }
        if self.expected != Value::None {
            line.text(": expected ");
            line.value(self.expected);
        }
        if self.found != Value::None {
            line.text(if self.expected == Value::None { ": found " } else { ", found " });
            line.value(self.found);
        }
        if !self.hint.is_empty() {
            line.text("; ");
            line.text(self.hint);
        }
        line.at
    }
}

/// The first eight bytes of a hash, for a message.
pub fn hash_value(hash: &[u8; 32]) -> Value {
    let mut short = [0; 8];
    short.copy_from_slice(&hash[..8]);
    Value::Hash(short)
}

struct Line<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Line<'_> {
    fn text(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            if let Some(place) = self.out.get_mut(self.at) {
                *place = byte;
                self.at += 1;
            }
        }
    }

    fn number(&mut self, mut n: u64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.text(core::str::from_utf8(&digits[at..]).unwrap_or(""));
    }

    fn value(&mut self, value: Value) {
        match value {
            Value::None => {}
            Value::Number(n) => self.number(n),
            Value::Text(text) => self.text(text),
            Value::DriverWords => {
                self.text("`");
                driver_words::each(|byte| self.text(core::str::from_utf8(&[byte]).unwrap_or("")));
                self.text("`");
            }
            Value::Hash(bytes) => {
                for byte in bytes {
                    let digits = [hex_digit(byte >> 4), hex_digit(byte & 15)];
                    self.text(core::str::from_utf8(&digits).unwrap_or(""));
                }
                self.text("…");
            }
            Value::Features(bits) => self.names(bits, feature::NAMES),
            Value::DeviceFeatures(bits) => self.names(bits, device_feature::NAMES),
        }
    }

    fn names(&mut self, bits: u64, names: &[(u64, &str)]) {
        let mut left = bits;
        let mut first = true;
        for &(bit, name) in names {
            if bits & bit != 0 {
                self.text(if first { "" } else { "," });
                self.text(name);
                first = false;
                left &= !bit;
            }
        }
        if left != 0 || first {
            self.text(if first && left == 0 { "none" } else { " and unnamed bits" });
        }
    }
}

/// The lower-case hexadecimal digit of a number below 16.
pub fn hex_digit(n: u8) -> u8 {
    if n < 10 { b'0' + n } else { b'a' + n - 10 }
}
