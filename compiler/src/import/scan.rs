//! One pass over all weights: a content hash of each tensor and the search for values that are no numbers.
//!
//! The hash is that of a two-level tree, so that one large embedding spreads over all cores as well as many small
//! tensors do: SHA-256 over `"slmc tensor 1"`, the dtype's name, a zero byte, the rank and dimensions as u64
//! little-endian, and the SHA-256 of each 4 MiB piece of the stored bytes. Equal hashes mean equal dtype, shape and
//! bytes; the number of threads has no influence. Rows of a tensor that are a matrix of their own have the hash of a tensor of
//! that shape.

use super::{
    checkpoint::{Checkpoint, READ_BLOCK, TensorInfo},
    fault::{Fault, ImportError},
    stored::NonFinite,
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, ops::Range};

/// Bytes hashed as one piece. Part of the hash's definition.
const PIECE: u64 = 4 << 20;
/// Bytes hashed, then searched, while they are in the first-level cache.
const STRIDE: usize = 16 << 10;

/// What a scan learned about one tensor, or about some of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorDigest {
    /// Name in the checkpoint.
    pub name: String,
    /// The rows; `None` is the whole tensor.
    pub rows: Option<Range<usize>>,
    /// SHA-256 over dtype, shape and content, see the module's description.
    pub hash: [u8; 32],
}

/// What gets one hash.
struct Section<'a> {
    info: &'a TensorInfo,
    rows: Option<Range<usize>>,
    /// Its bytes from the start of the tensor.
    bytes: Range<u64>,
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
    /// Reads every tensor once, in parallel: the digests, sorted by name and rows. The tensors that `cuts` names have a digest
    /// for each of the given ranges of rows, which must cover the tensor.
    ///
    /// `progress` is called from all threads with the bytes done since its last call.
    ///
    /// # Errors
    /// All tensors that hold NaN or infinite values, and all that cannot be read.
    pub fn scan(&self, cuts: &[(String, Vec<Range<usize>>)], progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<TensorDigest>, ImportError> {
        let cuts: BTreeMap<&str, &[Range<usize>]> = cuts.iter().map(|(name, rows)| (name.as_str(), rows.as_slice())).collect();
        let mut sections: Vec<Section<'_>> = self.tensors().flat_map(|info| sections(info, cuts.get(info.name.as_str()).copied())).collect();
        // On disk order, so that reads go forward through the files.
        sections.sort_by_key(|s| (s.info.file, s.info.offset, s.bytes.start));
        let pieces: Vec<Piece<'_>> = sections.iter().flat_map(Section::pieces).collect();
        let scanned: Vec<Result<Scanned, Fault>> = pieces
            .par_iter()
            .map_init(Vec::new, |block, piece| {
                let done = self.scan_piece(piece, block);
                progress(piece.range.end - piece.range.start);
                done
            })
            .collect();
        self.gather(&sections, scanned)
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

    /// Joins the pieces, which come in the order of `sections`.
    fn gather(&self, sections: &[Section<'_>], scanned: Vec<Result<Scanned, Fault>>) -> Result<Vec<TensorDigest>, ImportError> {
        let mut digests = Vec::with_capacity(sections.len());
        let mut faults = Vec::new();
        let mut non_finite: BTreeMap<&str, Option<NonFinite>> = BTreeMap::new();
        let mut pieces = scanned.into_iter();
        for section in sections {
            let mut hash = section.start_hash();
            let mut unreadable = None;
            for piece in pieces.by_ref().take(section.pieces().count()) {
                match piece {
                    Ok(piece) => {
                        hash.update(piece.hash);
                        if let Some(found) = piece.non_finite {
                            merge(non_finite.entry(&section.info.name).or_default(), found, 0);
                        }
                    }
                    Err(fault) => {
                        unreadable.get_or_insert(fault);
                    }
                }
            }
            faults.extend(unreadable);
            digests.push(TensorDigest { name: section.info.name.clone(), rows: section.rows.clone(), hash: hash.finalize().into() });
        }
        faults.extend(non_finite.into_iter().filter_map(|(tensor, found)| {
            let NonFinite { first, nan, infinite } = found?;
            Some(Fault::NonFinite { tensor: tensor.to_owned(), first, nan, infinite })
        }));
        if !faults.is_empty() {
            return Err(ImportError::new(self.dir(), faults));
        }
        let start = |digest: &TensorDigest| digest.rows.as_ref().map_or(0, |rows| rows.start);
        digests.sort_by(|a, b| (&a.name, start(a)).cmp(&(&b.name, start(b))));
        Ok(digests)
    }
}

/// A tensor as the sections that get a hash each.
fn sections<'a>(info: &'a TensorInfo, cuts: Option<&[Range<usize>]>) -> Vec<Section<'a>> {
    let Some(cuts) = cuts else { return vec![Section { info, rows: None, bytes: 0..info.len }] };
    let row = (info.row_len() * info.dtype.size()) as u64;
    let section = |rows: &Range<usize>| Section { info, rows: Some(rows.clone()), bytes: rows.start as u64 * row..rows.end as u64 * row };
    cuts.iter().map(section).collect()
}

impl<'a> Section<'a> {
    fn pieces(&self) -> impl Iterator<Item = Piece<'a>> + use<'a> {
        let (info, Range { start, end }) = (self.info, self.bytes.clone());
        (0..(end - start).div_ceil(PIECE)).map(move |i| Piece { info, range: start + i * PIECE..(start + (i + 1) * PIECE).min(end) })
    }

    fn start_hash(&self) -> Sha256 {
        let mut hash = Sha256::new();
        hash.update(b"slmc tensor 1");
        hash.update(self.info.dtype.name());
        hash.update([0]);
        hash.update((self.info.shape.len() as u64).to_le_bytes());
        let first = self.rows.as_ref().map(ExactSizeIterator::len);
        for (i, &dim) in self.info.shape.iter().enumerate() {
            let dim = first.filter(|_| i == 0).unwrap_or(dim);
            hash.update((dim as u64).to_le_bytes());
        }
        hash
    }
}

/// Adds `found`, whose index counts from element `base`.
fn merge(all: &mut Option<NonFinite>, found: NonFinite, base: u64) {
    let all = all.get_or_insert(NonFinite { first: base + found.first, nan: 0, infinite: 0 });
    all.nan += found.nan;
    all.infinite += found.infinite;
}
