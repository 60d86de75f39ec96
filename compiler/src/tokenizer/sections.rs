//! Writes the file: header and sections at their places.

use slmc_runtime_stub::tokenizer::format::{HEADER_LEN, MAGIC, SECTION_ALIGN, SECTION_COUNT, Section, VERSION};

/// The sections as they are filled; those never set are empty.
pub(super) struct Sections {
    bytes: Vec<Vec<u8>>,
}

impl Sections {
    /// All empty.
    pub fn new() -> Sections {
        Sections { bytes: vec![Vec::new(); SECTION_COUNT] }
    }

    /// Sets a table of bytes.
    pub fn bytes(&mut self, section: Section, bytes: Vec<u8>) {
        self.bytes[section as usize] = bytes;
    }

    /// Sets a table of u32 words.
    pub fn words(&mut self, section: Section, words: impl IntoIterator<Item = u32>) {
        self.bytes[section as usize] = words.into_iter().flat_map(u32::to_le_bytes).collect();
    }

    /// Sets a table of u16 numbers.
    pub fn halves(&mut self, section: Section, halves: impl IntoIterator<Item = u16>) {
        self.bytes[section as usize] = halves.into_iter().flat_map(u16::to_le_bytes).collect();
    }

    /// The file; `None` when it is too long for 32-bit offsets.
    pub fn finish(self) -> Option<Vec<u8>> {
        let mut places = Vec::new();
        let mut body = Vec::new();
        for section in &self.bytes {
            places.push((u32::try_from(HEADER_LEN + body.len()).ok()?, u32::try_from(section.len()).ok()?));
            body.extend_from_slice(section);
            body.resize(body.len().next_multiple_of(SECTION_ALIGN), 0);
        }
        let len = u32::try_from(HEADER_LEN + body.len()).ok()?;
        let header = [MAGIC, VERSION, len, SECTION_COUNT as u32].into_iter().chain(places.into_iter().flat_map(|(at, len)| [at, len]));
        let mut file: Vec<u8> = header.flat_map(u32::to_le_bytes).collect();
        file.append(&mut body);
        Some(file)
    }
}
