//! Buffers between guards: a write outside shows after the launch.

const GUARD: u8 = 0xa5;

/// 64 bytes at a multiple of 64.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A buffer's bytes at a multiple of 64, with 64 guard bytes before and at least as many after.
pub struct Guarded {
    lines: Vec<Line>,
    bytes: usize,
}

impl Guarded {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut lines = vec![Line([GUARD; 64]); bytes.len().div_ceil(64) + 3];
        for (line, part) in lines[1..].iter_mut().zip(bytes.chunks(64)) {
            line.0[..part.len()].copy_from_slice(part);
        }
        Self { lines, bytes: bytes.len() }
    }

    /// Where kernels find it.
    pub fn address(&mut self) -> *mut u8 {
        self.lines[1..].as_mut_ptr().cast()
    }

    /// Its length.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// What it holds now; `Err` if a guard was written.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let all: Vec<u8> = self.lines.iter().flat_map(|line| line.0).collect();
        let (before, rest) = all.split_at(64);
        let (inside, after) = rest.split_at(self.bytes);
        if let Some(at) = after.iter().position(|&b| b != GUARD) {
            return Err(format!("byte {} of a buffer of {} was written", self.bytes + at, self.bytes));
        }
        if before.iter().any(|&b| b != GUARD) {
            return Err("bytes before a buffer were written".to_owned());
        }
        Ok(inside.to_vec())
    }
}
