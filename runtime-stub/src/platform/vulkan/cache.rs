//! The driver's compiled shaders in a file of the cache folder.
//!
//! The file belongs to one plan, one device and one driver, which its name and its head say; whatever is wrong with it
//! (other head, cut short, a flipped bit) means that shaders are compiled again and the file is replaced. It is written
//! aside and moved into place.

use core::ffi::CStr;

use sha2::{Digest as _, Sha256};

use super::physical::Description;
use crate::fault::{Outcome, hex_digit};
use crate::path::Path;
use crate::platform::memory::Table;
use crate::platform::unix::{self, File};
use crate::wire::{Wire as _, record};

const MAGIC: [u8; 8] = *b"SLMPIPE\x01";

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 28;

record! {
    /// What stands before the driver's bytes; behind them stands the SHA-256 of all before.
    pub struct Head: 80 bytes {
        /// Marks the format and its version.
        pub magic: [u8; 8],
        /// The closing hash of `plan.bin`, which vouches for the shaders.
        pub plan: [u8; 32],
        /// `vendorID`.
        pub vendor: u32,
        /// `deviceID`.
        pub device: u32,
        /// `driverVersion`.
        pub driver: u32,
        /// 0.
        pub reserved: u32,
        /// `pipelineCacheUUID`.
        pub uuid: [u8; 16],
        /// Bytes of the driver.
        pub bytes: u64,
    }
}

/// Bytes of [`Head`].
pub const HEAD_BYTES: usize = 80;
const HASH_BYTES: usize = 32;

/// Where the compiled shaders of a model came from. Said by [`super::Vulkan::compiled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiled {
    /// From the file.
    Cached,
    /// They were compiled, and the file was written.
    Written,
    /// They were compiled; there is no cache folder, or it cannot be written.
    NotWritten,
}

/// A file of compiled shaders that may be there or not.
pub struct CacheFile<'a> {
    dir: &'a CStr,
    head: Head,
}

impl<'a> CacheFile<'a> {
    /// The file in `dir` for a plan with this hash on this device.
    pub fn new(dir: &'a CStr, plan: [u8; 32], device: &Description) -> Self {
        let head = Head {
            magic: MAGIC,
            plan,
            vendor: device.vendor_id,
            device: device.device_id,
            driver: device.driver_version,
            reserved: 0,
            uuid: device.cache_uuid,
            bytes: 0,
        };
        Self { dir, head }
    }

    /// The file's contents if it is whole and the right one; the driver's bytes are those from [`HEAD_BYTES`] on, but
    /// for the last 32.
    ///
    /// # Errors
    /// [`Code::Argument`](crate::fault::Code::Argument) for a folder with too long a name.
    pub fn read(&self) -> Outcome<Option<Table<u8>>> {
        let path = self.path(b"")?;
        Ok(self.read_checked(path.as_c_str()))
    }

    fn read_checked(&self, path: &CStr) -> Option<Table<u8>> {
        let file = File::open(path).ok()?;
        let bytes = file.stat().ok()?.bytes;
        if bytes < (HEAD_BYTES + HASH_BYTES) as u64 || bytes > MAX_BYTES {
            return None;
        }
        let mut contents = Table::<u8>::zeroed(bytes as usize).ok()?;
        if file.read_full(&mut contents) != Ok(bytes as usize) {
            return None;
        }
        let expected = Head { bytes: bytes - (HEAD_BYTES + HASH_BYTES) as u64, ..self.head };
        let (body, seal) = contents.split_at(contents.len() - HASH_BYTES);
        let whole = Head::get(body) == expected && Sha256::digest(body)[..] == *seal;
        whole.then_some(contents)
    }

    /// Writes the driver's bytes; false if the folder does not allow it, which costs only time.
    ///
    /// # Errors
    /// As [`CacheFile::read`].
    pub fn write(&self, data: &[u8]) -> Outcome<bool> {
        let mut tail = *b".00000000-0000000000000000.tmp";
        hex(&mut tail[1..9], &unix::process_id().to_be_bytes());
        hex(&mut tail[10..26], &unix::clock_ns().to_be_bytes());
        let (aside, place) = (self.path(&tail)?, self.path(b"")?);
        let mut head = [0; HEAD_BYTES];
        Head { bytes: data.len() as u64, ..self.head }.put(&mut head);
        let seal = Sha256::new().chain_update(head).chain_update(data).finalize();
        let written = File::create(aside.as_c_str())
            .and_then(|file| {
                file.write_full(&head)?;
                file.write_full(data)?;
                file.write_full(&seal)?;
                file.sync()
            })
            .and_then(|()| unix::move_file(aside.as_c_str(), place.as_c_str()));
        if written.is_err() {
            unix::remove_file(aside.as_c_str());
        }
        Ok(written.is_ok())
    }

    /// `slm-`, a hash of the head, `.pipelines`.
    fn path(&self, tail: &[u8]) -> Outcome<Path> {
        let mut head = [0; HEAD_BYTES];
        self.head.put(&mut head);
        let mut name = [0; 32];
        hex(&mut name, &Sha256::digest(head)[..16]);
        Path::join(self.dir, &[b"slm-", &name, b".pipelines", tail])
    }
}

fn hex(out: &mut [u8], bytes: &[u8]) {
    for (digits, byte) in out.chunks_exact_mut(2).zip(bytes) {
        digits[0] = hex_digit(byte >> 4);
        digits[1] = hex_digit(byte & 15);
    }
}
