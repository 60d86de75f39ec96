//! The note in a cache folder that a bundle's large files were hashed before and have not changed since.
//!
//! A stamp is named after the plan's hash and holds device, inode, size and time of last change of each file. It
//! saves the full hash at the next opening; whoever can write into the cache folder can also lie in it, so the folder
//! should belong to the app alone. A stamp that is missing, damaged or of another version means: hash again.

use core::ffi::CStr;

use sha2::{Digest as _, Sha256};

use crate::fault::{Outcome, hex_digit};
use crate::path::Path;
use crate::platform::unix::{self, File, FileStat};
use crate::wire::{Wire as _, record};

const MAGIC: [u8; 8] = *b"SLMSTMP\x02";

record! {
    /// One file as the system described it when it was hashed.
    pub struct Seen: 40 bytes {
        /// Device number.
        pub device: u64,
        /// Inode number.
        pub inode: u64,
        /// Bytes.
        pub bytes: u64,
        /// Time of last change, seconds.
        pub seconds: u64,
        /// Time of last change, nanoseconds.
        pub nanoseconds: u64,
    }
}

record! {
    /// The whole stamp file.
    pub struct Stamp: 192 bytes {
        /// Marks the format and its version.
        pub magic: [u8; 8],
        /// The closing hash of `plan.bin`, which vouches for the hashes of the other files.
        pub plan: [u8; 32],
        /// Weights, tokenizer, kernels; zeros for a file that the bundle does not have.
        pub files: [Seen; 3],
        /// SHA-256 of the bytes before.
        pub seal: [u8; 32],
    }
}

const SEALED: usize = 160;

impl Stamp {
    /// The stamp these files would have.
    pub fn new(plan: [u8; 32], files: [FileStat; 3]) -> Self {
        let files = files.map(|f| Seen { device: f.device, inode: f.inode, bytes: f.bytes, seconds: f.seconds, nanoseconds: f.nanoseconds });
        let mut stamp = Self { magic: MAGIC, plan, files, seal: [0; 32] };
        let mut bytes = [0; Self::BYTES];
        stamp.put(&mut bytes);
        stamp.seal = Sha256::digest(&bytes[..SEALED]).into();
        stamp
    }

    /// Bytes of the file.
    pub const BYTES: usize = 192;

    /// Whether the cache folder holds exactly this stamp.
    pub fn is_known(&self, cache_dir: &CStr) -> Outcome<bool> {
        let path = self.path(cache_dir, b"")?;
        let mut found = [0; Self::BYTES];
        let read = File::open(path.as_c_str()).and_then(|file| file.read_full(&mut found));
        Ok(read == Ok(Self::BYTES) && Self::get(&found) == *self)
    }

    /// Writes the stamp aside and moves it into place; false if the folder does not allow it, which costs only time.
    pub fn save(&self, cache_dir: &CStr) -> Outcome<bool> {
        let mut tail = *b".00000000-0000000000000000.tmp";
        hex(&mut tail[1..9], u64::from(unix::process_id()));
        hex(&mut tail[10..26], unix::clock_ns());
        let aside = self.path(cache_dir, &tail)?;
        let place = self.path(cache_dir, b"")?;
        let mut bytes = [0; Self::BYTES];
        self.put(&mut bytes);
        let written = File::create(aside.as_c_str())
            .and_then(|file| file.write_full(&bytes).and_then(|()| file.sync()))
            .and_then(|()| unix::move_file(aside.as_c_str(), place.as_c_str()));
        if written.is_err() {
            unix::remove_file(aside.as_c_str());
        }
        Ok(written.is_ok())
    }

    fn path(&self, cache_dir: &CStr, tail: &[u8]) -> Outcome<Path> {
        let mut name = [0; 32];
        for (digits, byte) in name.chunks_exact_mut(2).zip(self.plan) {
            digits[0] = hex_digit(byte >> 4);
            digits[1] = hex_digit(byte & 15);
        }
        Path::join(cache_dir, &[b"slm-", &name, b".stamp", tail])
    }
}

fn hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = hex_digit((value & 15) as u8);
        value >>= 4;
    }
}
