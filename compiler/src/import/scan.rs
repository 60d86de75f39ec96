//! One pass over all weights: a content hash of each tensor and the search for values that are no numbers.
//!
//! The hash is that of a two-level tree, so that one large embedding spreads over all cores as well as many small
//! tensors do: SHA-256 over `"slmc tensor 1"`, the dtype's name, a zero byte, the rank and dimensions as u64
//! little-endian, and the SHA-256 of each 4 MiB piece of the stored bytes. Equal hashes mean equal dtype, shape and
//! bytes; the number of threads has no influence.

use super::{
    checkpoint::{Checkpoint, READ_BLOCK, TensorInfo},
    fault::{Fault, ImportError},
    stored::NonFinite,
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// Bytes hashed as one piece. Part of the hash's definition.
const PIECE: u64 = 4 << 20;
/// Bytes hashed, then searched, while they are in the first-level cache.
const STRIDE: usize = 16 << 10;

/// What a scan learned about one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorDigest {
    /// Name in the checkpoint.
    pub name: String,
    /// SHA-256 over dtype, shape and content, see the module's description.
    pub hash: [u8; 32],
}

struct Piece<'a> {
    info: &'a TensorInfo,
    range: Range<u64>,
}

struct Scanned {
    hash: [u8; 32],
    non_finite: Option<NonFinite>,
}

impl Checkpoint {
    /// Reads every tensor once, in parallel: the digests, sorted by name.
    ///
    /// `progress` is called from all threads with the bytes done since its last call.
    ///
    /// # Errors
    /// All tensors that hold NaN or infinite values, and all that cannot be read.
    pub fn scan(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<TensorDigest>, ImportError> {
        let mut tensors: Vec<&TensorInfo> = self.tensors().collect();
        // On disk order, so that reads go forward through the files.
        tensors.sort_by_key(|t| (t.file, t.offset));
        let pieces: Vec<Piece<'_>> = tensors
            .iter()
            .flat_map(|info| (0..info.len.div_ceil(PIECE)).map(move |i| Piece { info, range: i * PIECE..((i + 1) * PIECE).min(info.len) }))
            .collect();
        let scanned: Vec<Result<Scanned, Fault>> = pieces
            .par_iter()
            .map_init(Vec::new, |block, piece| {
                let done = self.scan_piece(piece, block);
                progress(piece.range.end - piece.range.start);
                done
            })
            .collect();
        self.gather(&tensors, scanned)
    }

    fn scan_piece(&self, piece: &Piece<'_>, block: &mut Vec<u8>) -> Result<Scanned, Fault> {
        let dtype = piece.info.dtype;
        let mut hash = Sha256::new();
        let mut non_finite: Option<NonFinite> = None;
        let mut element = piece.range.start / dtype.size() as u64;
        block.resize(READ_BLOCK, 0);
        self.read_blocks(piece.info, piece.range.clone(), block, |bytes| {
            for run in bytes.chunks(STRIDE) {
                hash.update(run);
                if let Some(found) = dtype.non_finite(run) {
                    merge(&mut non_finite, found, element);
                }
                element += (run.len() / dtype.size()) as u64;
            }
        })?;
        Ok(Scanned { hash: hash.finalize().into(), non_finite })
    }

    /// Joins the pieces, which come in the order of `tensors`.
    fn gather(&self, tensors: &[&TensorInfo], scanned: Vec<Result<Scanned, Fault>>) -> Result<Vec<TensorDigest>, ImportError> {
        let mut digests = Vec::with_capacity(tensors.len());
        let mut faults = Vec::new();
        let mut pieces = scanned.into_iter();
        for info in tensors {
            let mut hash = start_hash(info);
            let mut non_finite: Option<NonFinite> = None;
            let mut unreadable = None;
            for piece in pieces.by_ref().take(info.len.div_ceil(PIECE) as usize) {
                match piece {
                    Ok(piece) => {
                        hash.update(piece.hash);
                        if let Some(found) = piece.non_finite {
                            merge(&mut non_finite, found, 0);
                        }
                    }
                    Err(fault) => {
                        unreadable.get_or_insert(fault);
                    }
                }
            }
            faults.extend(unreadable);
            if let Some(found) = non_finite {
                faults.push(Fault::NonFinite { tensor: info.name.clone(), first: found.first, nan: found.nan, infinite: found.infinite });
            }
            digests.push(TensorDigest { name: info.name.clone(), hash: hash.finalize().into() });
        }
        if !faults.is_empty() {
            return Err(ImportError::new(self.dir(), faults));
        }
        digests.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(digests)
    }
}

fn start_hash(info: &TensorInfo) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update(b"slmc tensor 1");
    hash.update(info.dtype.name());
    hash.update([0]);
    hash.update((info.shape.len() as u64).to_le_bytes());
    for dim in &info.shape {
        hash.update((*dim as u64).to_le_bytes());
    }
    hash
}

/// Adds `found`, whose index counts from element `base`.
fn merge(all: &mut Option<NonFinite>, found: NonFinite, base: u64) {
    let all = all.get_or_insert(NonFinite { first: base + found.first, nan: 0, infinite: 0 });
    all.nan += found.nan;
    all.infinite += found.infinite;
}
