//! SHA-256 of files, whole and in pieces.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use slmc_runtime_stub::abi::CHUNK_BYTES;

/// A SHA-256, 64 lower-case hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Parses 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::try_from(char::from(pair[0]).to_digit(16)? * 16 + char::from(pair[1]).to_digit(16)?).ok()?;
        }
        Some(Self(out))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("a digest is 64 lower-case hex digits"))
    }
}

/// What is known of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigest {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of all of it.
    pub sha256: Digest,
    /// SHA-256 of each MiB, the last piece shorter.
    pub chunks: Vec<Digest>,
}

/// Takes the digests of a file while its bytes go by in order.
#[derive(Default)]
pub struct FileHasher {
    whole: Sha256,
    chunk: Sha256,
    in_chunk: usize,
    bytes: u64,
    chunks: Vec<Digest>,
}

impl FileHasher {
    /// Takes the next bytes of the file.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES as usize - self.in_chunk));
            self.chunk.update(now);
            self.in_chunk += now.len();
            if self.in_chunk == CHUNK_BYTES as usize {
                self.end_chunk();
            }
            bytes = later;
        }
    }

    /// The digests of what went by.
    pub fn finish(mut self) -> FileDigest {
        if self.in_chunk > 0 {
            self.end_chunk();
        }
        FileDigest { bytes: self.bytes, sha256: Digest(self.whole.finalize().into()), chunks: self.chunks }
    }

    fn end_chunk(&mut self) {
        self.chunks.push(Digest(std::mem::take(&mut self.chunk).finalize().into()));
        self.in_chunk = 0;
    }
}

/// Reads a file once and takes its digests.
///
/// # Errors
/// What the system says.
pub fn of_file(path: &Path) -> io::Result<FileDigest> {
    let mut file = File::open(path)?;
    let mut hasher = FileHasher::default();
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_depend_on_the_way_bytes_arrive() {
        let bytes: Vec<u8> = (0..(CHUNK_BYTES + 12_345)).map(|i| (i * 7 % 251) as u8).collect();
        let mut whole = FileHasher::default();
        whole.update(&bytes);
        let mut parts = FileHasher::default();
        bytes.chunks(100_003).for_each(|part| parts.update(part));
        let digest = whole.finish();
        assert_eq!(digest, parts.finish());
        assert_eq!(digest.chunks.len(), 2);
        assert_eq!(digest.chunks[0], Digest::of(&bytes[..CHUNK_BYTES as usize]));
        assert_eq!(Digest::parse(&digest.sha256.to_string()), Some(digest.sha256));
    }
}
