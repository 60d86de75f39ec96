//! Writes a shared object that holds nothing but versioned function names: all a linker wants to know of a C library.
//!
//! The file has a dynamic symbol table, its strings, one version index per symbol, the version definitions and the
//! dynamic section with the library's name; no code and no program headers, so it can be linked against and not loaded.

use super::libc_table::Arch;

const SHT_STRTAB: u32 = 3;
const SHT_DYNAMIC: u32 = 6;
const SHT_DYNSYM: u32 = 11;
const SHT_GNU_VERDEF: u32 = 0x6fff_fffd;
const SHT_GNU_VERSYM: u32 = 0x6fff_ffff;
const SHF_ALLOC: u64 = 2;
const DT_SONAME: u64 = 14;
const EHDR_BYTES: usize = 64;
const SHDR_BYTES: usize = 64;
const SYM_BYTES: u64 = 24;
const DYN_BYTES: u64 = 16;

/// Section indices, in file order.
const DYNSYM: u32 = 1;
const DYNSTR: u32 = 2;
const SHSTRTAB: u16 = 6;
const SECTION_NAMES: [&str; 7] = ["", ".dynsym", ".dynstr", ".gnu.version", ".gnu.version_d", ".dynamic", ".shstrtab"];

/// A little-endian ELF64 library named `soname` that offers `functions` (name, version; empty = none).
pub fn shared_object(arch: Arch, soname: &str, functions: &[(&str, &str)]) -> Vec<u8> {
    let mut versions: Vec<&str> = functions.iter().map(|f| f.1).filter(|version| !version.is_empty()).collect();
    versions.sort_unstable();
    versions.dedup();
    let mut strings = Strings::new();
    let soname_at = strings.add(soname);

    let mut dynsym = vec![0; SYM_BYTES as usize];
    let mut versym = 0u16.to_le_bytes().to_vec();
    for (name, version) in functions {
        dynsym.extend(strings.add(name).to_le_bytes());
        dynsym.extend([0x12, 0]); // STB_GLOBAL, STT_FUNC; default visibility
        dynsym.extend(1u16.to_le_bytes()); // any defined section will do
        dynsym.extend([0; 16]);
        // 1 is what symbols without a version have.
        let index = versions.iter().position(|v| v == version).map_or(1, |index| index as u16 + 2);
        versym.extend(index.to_le_bytes());
    }

    let mut verdef = Vec::new();
    let entries: Vec<(&str, u16, u16)> =
        std::iter::once((soname, 1, 1)).chain(versions.iter().enumerate().map(|(i, v)| (*v, 0, i as u16 + 2))).collect();
    for (i, &(name, flags, index)) in entries.iter().enumerate() {
        let next = if i + 1 == entries.len() { 0u32 } else { 28 };
        for half in [1, flags, index, 1] {
            verdef.extend(half.to_le_bytes());
        }
        for word in [sysv_hash(name), 20, next, strings.add(name), 0] {
            verdef.extend(word.to_le_bytes());
        }
    }

    let mut dynamic = Vec::new();
    for value in [DT_SONAME, u64::from(soname_at), 0, 0] {
        dynamic.extend(value.to_le_bytes());
    }

    let mut names = Strings::new();
    let name_at: Vec<u32> = SECTION_NAMES.iter().map(|name| names.add(name)).collect();
    let version_count = entries.len() as u32;
    let sections = [
        SectionParts { kind: SHT_DYNSYM, flags: SHF_ALLOC, link: DYNSTR, info: 1, entry: SYM_BYTES, contents: &dynsym },
        SectionParts { kind: SHT_STRTAB, flags: SHF_ALLOC, link: 0, info: 0, entry: 0, contents: &strings.bytes },
        SectionParts { kind: SHT_GNU_VERSYM, flags: SHF_ALLOC, link: DYNSYM, info: 0, entry: 2, contents: &versym },
        SectionParts { kind: SHT_GNU_VERDEF, flags: SHF_ALLOC, link: DYNSTR, info: version_count, entry: 0, contents: &verdef },
        SectionParts { kind: SHT_DYNAMIC, flags: SHF_ALLOC, link: DYNSTR, info: 0, entry: DYN_BYTES, contents: &dynamic },
        SectionParts { kind: SHT_STRTAB, flags: 0, link: 0, info: 0, entry: 0, contents: &names.bytes },
    ];

    let mut out = vec![0; EHDR_BYTES];
    let mut headers = vec![0; SHDR_BYTES];
    for (i, SectionParts { kind, flags, link, info, entry, contents }) in sections.into_iter().enumerate() {
        out.resize(out.len().next_multiple_of(8), 0);
        let at = out.len() as u64;
        headers.extend(name_at[i + 1].to_le_bytes());
        headers.extend(kind.to_le_bytes());
        for value in [flags, at, at, contents.len() as u64] {
            headers.extend(value.to_le_bytes());
        }
        headers.extend(link.to_le_bytes());
        headers.extend(info.to_le_bytes());
        headers.extend(8u64.to_le_bytes());
        headers.extend(entry.to_le_bytes());
        out.extend(contents);
    }
    out.resize(out.len().next_multiple_of(8), 0);
    let headers_at = out.len() as u64;
    out.extend(&headers);
    let header = file_header(arch, headers_at, SECTION_NAMES.len() as u16);
    out[..EHDR_BYTES].copy_from_slice(&header);
    out
}

/// A section header's fields, as the ELF specification names them, and what the section holds.
struct SectionParts<'a> {
    kind: u32,
    flags: u64,
    link: u32,
    info: u32,
    entry: u64,
    contents: &'a [u8],
}

fn file_header(arch: Arch, section_headers: u64, sections: u16) -> [u8; EHDR_BYTES] {
    let mut header = [0; EHDR_BYTES];
    header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
    header[16..18].copy_from_slice(&3u16.to_le_bytes()); // ET_DYN
    header[18..20].copy_from_slice(&arch.machine().to_le_bytes());
    header[20..24].copy_from_slice(&1u32.to_le_bytes());
    header[40..48].copy_from_slice(&section_headers.to_le_bytes());
    header[52..54].copy_from_slice(&(EHDR_BYTES as u16).to_le_bytes());
    header[54..56].copy_from_slice(&56u16.to_le_bytes());
    header[58..60].copy_from_slice(&(SHDR_BYTES as u16).to_le_bytes());
    header[60..62].copy_from_slice(&sections.to_le_bytes());
    header[62..64].copy_from_slice(&SHSTRTAB.to_le_bytes());
    header
}

/// A string table under construction.
struct Strings {
    bytes: Vec<u8>,
}

impl Strings {
    fn new() -> Self {
        Self { bytes: vec![0] }
    }
    fn add(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.bytes.len() as u32;
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        at
    }
}

/// The hash by which version names are compared (System V ABI).
fn sysv_hash(name: &str) -> u32 {
    let mut h = 0u32;
    for byte in name.bytes() {
        h = (h << 4).wrapping_add(u32::from(byte));
        let high = h & 0xf000_0000;
        h = (h ^ (high >> 24)) & !high;
    }
    h
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::read::elf::ElfFile64;
    use object::{Endianness, Object as _, ObjectSymbol as _};

    #[test]
    fn a_reader_finds_the_functions_and_the_versions() {
        let bytes = shared_object(Arch::Aarch64, "libc.so.6", &[("mmap", "GLIBC_2.17"), ("open", "GLIBC_2.4")]);
        let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
        assert_eq!(file.kind(), object::ObjectKind::Dynamic);
        assert_eq!(file.architecture(), object::Architecture::Aarch64);
        let names: Vec<&str> = file.dynamic_symbols().filter_map(|symbol| symbol.name().ok()).filter(|name| !name.is_empty()).collect();
        assert_eq!(names, ["mmap", "open"]);
        assert!(file.dynamic_symbols().filter(|symbol| symbol.name() == Ok("mmap")).all(|symbol| symbol.is_definition()));
        for text in ["libc.so.6", "GLIBC_2.17", "GLIBC_2.4"] {
            assert!(bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_hash_is_the_one_of_the_system_v_abi() {
        assert_eq!(sysv_hash("GLIBC_2.2.5"), 0x0969_1a75);
        assert_eq!(sysv_hash("GLIBC_2.17"), 0x0696_9197);
    }
}
