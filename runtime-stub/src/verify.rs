//! Hashes the large files of a bundle piece by piece over all threads, or trusts a stamp that says it was done.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest as _, Sha256};

use crate::bundle::{Bundle, Mapped};
use crate::fault::{Code, Fault, Outcome, hash_value};
use crate::plan::Plan;
use crate::pool::{Pool, Work};
use crate::stamp::Stamp;

/// How a bundle's contents came to be trusted. Values are part of the ABI.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Everything was hashed; no stamp was kept, as no cache folder was given.
    Hashed = 0,
    /// Everything was hashed, and a stamp written.
    Stamped = 1,
    /// A stamp said that it was hashed before.
    Known = 2,
    /// Everything was hashed; the cache folder could not be written.
    NotStamped = 3,
}

/// What the caller wants verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// Where stamps are kept; none = hash each time.
    pub cache_dir: Option<&'a CStr>,
    /// Hash even if a stamp is known.
    pub rehash: bool,
    /// Refuse to open without a cache folder.
    pub refuse_uncached: bool,
}

/// Makes sure that the files are those that were packed.
///
/// # Errors
/// [`Code::Corrupt`] names the file and its first differing piece; [`Code::Unverified`] as wished.
pub fn verify(bundle: &Bundle, pool: &Pool, wish: Wish<'_>) -> Outcome<Trust> {
    if wish.cache_dir.is_none() && wish.refuse_uncached {
        return Err(Fault::new(Code::Unverified, "cache_dir", "none is given, so each opening would hash the bundle")
            .hint("give a folder for stamps or allow hashing"));
    }
    let plan = bundle.plan();
    let files = [bundle.weights(), bundle.tokenizer(), bundle.kernels()];
    let stamp = Stamp::new(plan.hash(), files.map(|file| file.stat));
    if let Some(dir) = wish.cache_dir
        && !wish.rehash
        && stamp.is_known(dir)?
    {
        return Ok(Trust::Known);
    }
    for file in files {
        verify_file(&plan, file, pool)?;
    }
    match wish.cache_dir {
        None => Ok(Trust::Hashed),
        Some(dir) => Ok(if stamp.save(dir)? { Trust::Stamped } else { Trust::NotStamped }),
    }
}

fn verify_file(plan: &Plan<'_>, file: &Mapped, pool: &Pool) -> Outcome<()> {
    file.map.read_ahead();
    let hashing = Hashing { plan, file, first_bad: AtomicU32::new(u32::MAX) };
    pool.run(&hashing);
    let bad = hashing.first_bad.into_inner();
    if bad == u32::MAX {
        return Ok(());
    }
    let (expected, found) = (plan.piece_hash(&file.entry, bad), piece_digest(file, bad));
    Err(Fault::new(Code::Corrupt, file.name, "SHA-256 of a piece differs")
        .at(bad)
        .values(hash_value(&expected), hash_value(&found))
        .hint("copy the bundle again"))
}

struct Hashing<'a> {
    plan: &'a Plan<'a>,
    file: &'a Mapped,
    first_bad: AtomicU32,
}

impl Work for Hashing<'_> {
    fn tiles(&self, stage: u32) -> Option<u32> {
        (stage == 0).then_some(self.file.entry.hash_count)
    }

    fn run(&self, _stage: u32, tile: u32) {
        if piece_digest(self.file, tile) != self.plan.piece_hash(&self.file.entry, tile) {
            self.first_bad.fetch_min(tile, Ordering::Relaxed);
        }
    }
}

fn piece_digest(file: &Mapped, index: u32) -> [u8; 32] {
    let bytes = file.map.bytes();
    let piece = file.entry.chunk_bytes as usize;
    let start = (index as usize * piece).min(bytes.len());
    let end = (start + piece).min(bytes.len());
    Sha256::digest(&bytes[start..end]).into()
}
