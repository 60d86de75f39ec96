//! Paths joined in a fixed buffer, ending with the zero that system calls want.

use core::ffi::CStr;

use crate::fault::{Code, Fault, Outcome};

/// Bytes of the longest path, its closing zero included.
pub const PATH_BYTES: usize = 4096;

/// A path that needs no allocator.
pub struct Path {
    bytes: [u8; PATH_BYTES],
    len: usize,
}

impl Path {
    /// `dir/name` with the parts of `name` put together; an empty `dir` is the current folder.
    ///
    /// # Errors
    /// [`Code::Argument`] if it is longer than [`PATH_BYTES`].
    pub fn join(dir: &CStr, name: &[&[u8]]) -> Outcome<Self> {
        let mut path = Self { bytes: [0; PATH_BYTES], len: 0 };
        let dir = dir.to_bytes();
        path.push(if dir.is_empty() { b"." } else { dir })?;
        path.push(b"/")?;
        for part in name {
            path.push(part)?;
        }
        Ok(path)
    }

    /// For a system call.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    fn push(&mut self, part: &[u8]) -> Outcome<()> {
        let end = self.len + part.len();
        if end >= PATH_BYTES {
            return Err(Fault::new(Code::Argument, "path", "is too long").numbers(PATH_BYTES as u64 - 1, end as u64));
        }
        self.bytes[self.len..end].copy_from_slice(part);
        self.len = end;
        Ok(())
    }
}
