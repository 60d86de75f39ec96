//! Writing `weights.bin`: section by section, in pieces of a few MiB that all cores work on, hashed as they are written.
//!
//! Resident memory is bounded by the pieces in flight, whatever the model's size: a piece is read from the checkpoint,
//! packed and written to its place, and forgotten. The bytes do not depend on the number of threads.

use std::fs::File;
use std::io::Write as _;
use std::io::{self, BufWriter};

use rayon::prelude::*;

use super::digest::{FileDigest, FileHasher};

/// Bytes of packed data in one piece, at most (or one block, if that is larger).
const PIECE_BYTES: u64 = 4 << 20;

/// A section: where it lies and what makes its bytes.
pub struct Section<'a> {
    /// For messages.
    pub name: &'a str,
    /// Place in the file; sections are in file order and do not overlap.
    pub offset: u64,
    /// Size.
    pub bytes: u64,
    /// Number of blocks, each of `block_bytes` bytes (the last may be shorter); blocks can be packed independently.
    pub blocks: u32,
    /// Bytes of a block.
    pub block_bytes: u64,
}

/// Packing or writing failed.
#[derive(Debug)]
pub enum PackError {
    /// The packer says so, for the section of that index.
    Pack(usize, String),
    /// The file cannot be written.
    Write(io::Error),
}

/// Writes all sections and the zeros between them, and syncs the file. `fill(section, blocks, out)` makes the bytes of
/// consecutive blocks; `out` arrives zeroed. `progress` is told the bytes written since it was last told.
///
/// # Errors
/// The first failure of `fill` or of the system.
pub fn write<F>(file: File, total_bytes: u64, sections: &[Section<'_>], fill: F, progress: &mut dyn FnMut(u64)) -> Result<FileDigest, PackError>
where
    F: Fn(usize, std::ops::Range<u32>, &mut [u8]) -> Result<(), String> + Sync,
{
    let pieces: Vec<Piece> = sections.iter().enumerate().flat_map(|(i, section)| pieces_of(i, section)).collect();
    let mut sink = Sink { file: BufWriter::new(file), hasher: FileHasher::default(), at: 0 };
    let in_flight = rayon::current_num_threads().max(1);
    for wave in pieces.chunks(in_flight) {
        let packed: Vec<Result<Vec<u8>, PackError>> = wave
            .par_iter()
            .map(|piece| {
                let mut out = vec![0; piece.bytes as usize];
                fill(piece.section, piece.blocks.clone(), &mut out).map_err(|e| PackError::Pack(piece.section, e))?;
                Ok(out)
            })
            .collect();
        for (piece, bytes) in wave.iter().zip(packed) {
            let bytes = bytes?;
            sink.pad_to(piece.offset)?;
            sink.put(&bytes)?;
            progress(bytes.len() as u64);
        }
    }
    sink.pad_to(total_bytes)?;
    let file = sink.file.into_inner().map_err(|e| PackError::Write(e.into_error()))?;
    file.sync_all().map_err(PackError::Write)?;
    Ok(sink.hasher.finish())
}

/// Consecutive blocks of one section that are packed at once.
struct Piece {
    section: usize,
    blocks: std::ops::Range<u32>,
    offset: u64,
    bytes: u64,
}

fn pieces_of(section: usize, of: &Section<'_>) -> Vec<Piece> {
    let per_piece = (PIECE_BYTES / of.block_bytes.max(1)).clamp(1, u64::from(u32::MAX)) as u32;
    (0..of.blocks)
        .step_by(per_piece as usize)
        .map(|first| {
            let blocks = first..of.blocks.min(first.saturating_add(per_piece));
            let start = u64::from(first) * of.block_bytes;
            let end = if blocks.end == of.blocks { of.bytes } else { u64::from(blocks.end) * of.block_bytes };
            Piece { section, blocks, offset: of.offset + start, bytes: end - start }
        })
        .collect()
}

struct Sink {
    file: BufWriter<File>,
    hasher: FileHasher,
    at: u64,
}

impl Sink {
    fn put(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.file.write_all(bytes).map_err(PackError::Write)?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn pad_to(&mut self, offset: u64) -> Result<(), PackError> {
        const ZEROS: [u8; 4096] = [0; 4096];
        assert!(offset >= self.at, "invariant: sections are in file order and do not overlap");
        while self.at < offset {
            let n = (offset - self.at).min(ZEROS.len() as u64);
            self.put(&ZEROS[..n as usize])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn pieces_land_in_their_places() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("w");
        let sections = [
            Section { name: "a", offset: 0, bytes: (9 << 20) + 5, blocks: 10, block_bytes: 1 << 20 },
            Section { name: "b", offset: 10 << 20, bytes: 7, blocks: 1, block_bytes: 7 },
        ];
        let fill = |section: usize, blocks: std::ops::Range<u32>, out: &mut [u8]| {
            for (i, byte) in out.iter_mut().enumerate() {
                *byte = (blocks.start as usize + (i >> 20) + 100 * section) as u8;
            }
            Ok(())
        };
        let mut told = 0;
        let file = File::create(&path).expect("writable");
        let digest = write(file, (10 << 20) + 16, &sections, fill, &mut |n| told += n).expect("packs");
        let bytes = fs::read(&path).expect("readable");
        assert_eq!(bytes.len(), (10 << 20) + 16);
        assert_eq!((bytes[0], bytes[(3 << 20) + 1], bytes[(9 << 20) + 4], bytes[(9 << 20) + 5]), (0, 3, 9, 0));
        assert_eq!((bytes[10 << 20], bytes[(10 << 20) + 6], bytes[(10 << 20) + 7]), (100, 100, 0));
        assert_eq!(told, (9 << 20) + 12);
        assert_eq!(digest, super::super::digest::of_file(&path).expect("readable"));
    }

    #[test]
    fn a_fault_of_the_packer_is_reported_with_its_section() {
        let file = tempfile::tempfile().expect("temporary file");
        let sections = [Section { name: "a", offset: 0, bytes: 1, blocks: 1, block_bytes: 1 }];
        let result = write(file, 1, &sections, |_, _, _| Err("no such tensor".to_owned()), &mut |_| ());
        assert!(matches!(result, Err(PackError::Pack(0, detail)) if detail == "no such tensor"));
    }
}
