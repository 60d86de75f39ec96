//! Zip archives with the same bytes at all times: entries in order, stored, dated 1980, the beginning of the format's time.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::PackageError;

/// Files from this size on need the format's extension.
const LARGE: u64 = u32::MAX as u64;

/// An archive being written.
pub(super) struct Archive<W: Write + Seek> {
    name: String,
    writer: ZipWriter<W>,
}

impl<W: Write + Seek> Archive<W> {
    /// `name` is for messages.
    pub(super) fn new(name: &str, out: W) -> Self {
        Self { name: name.to_owned(), writer: ZipWriter::new(out) }
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), PackageError> {
        self.add_from(path, &mut io::Cursor::new(bytes), bytes.len() as u64)
    }

    /// Adds a file of the disk, without holding it in memory.
    pub(super) fn add_file(&mut self, path: &str, file: &Path) -> Result<(), PackageError> {
        let read = |e: io::Error| PackageError::Read { path: file.to_owned(), detail: e.to_string() };
        let mut from = File::open(file).map_err(read)?;
        let bytes = from.metadata().map_err(read)?.len();
        self.add_from(path, &mut from, bytes)
    }

    fn add_from(&mut self, path: &str, from: &mut dyn Read, bytes: u64) -> Result<(), PackageError> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::DEFAULT)
            .unix_permissions(0o644)
            .large_file(bytes >= LARGE);
        let fault = |detail: String| PackageError::Zip { path: format!("{}: {path}", self.name), detail };
        self.writer.start_file(path, options).map_err(|e| fault(e.to_string()))?;
        io::copy(from, &mut self.writer).map_err(|e| fault(e.to_string()))?;
        Ok(())
    }

    /// Writes the directory at the end and gives the output back.
    pub(super) fn finish(self) -> Result<W, PackageError> {
        self.writer.finish().map_err(|e| PackageError::Zip { path: self.name, detail: e.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_entries_give_equal_bytes() {
        let make = || {
            let mut archive = Archive::new("test.zip", io::Cursor::new(Vec::new()));
            archive.add("a/b.txt", b"text").expect("memory");
            archive.add("c", b"").expect("memory");
            archive.finish().expect("memory").into_inner()
        };
        let bytes = make();
        assert_eq!(bytes, make());
        assert!(bytes.starts_with(b"PK\x03\x04"));
        // Time and date of the first entry: midnight, 1980-01-01.
        assert_eq!(bytes[10..14], [0, 0, 0x21, 0]);
    }
}
