//! The object of a GPU bundle for its host: the code header and an empty kernel table, both hidden.

use super::Fault;
use crate::ObjectFile;
use object::macho::{PLATFORM_IOS, PLATFORM_IOSSIMULATOR, PLATFORM_MACOS, Version};
use object::write::{MachOBuildVersion, Mangling, Object, StandardSection, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

/// Symbols that a runtime finds the code by.
const CODE: &str = "slmc_code";
const KERNELS: &str = "slmc_kernels";

/// Alignment of the header.
const ALIGN: u64 = 64;

/// The object format of a triple; `None` if this file does not know it.
pub(super) fn format(triple: &str) -> Option<(BinaryFormat, Architecture)> {
    let architecture = match triple.split('-').next()? {
        "x86_64" => Architecture::X86_64,
        "aarch64" | "arm64" => Architecture::Aarch64,
        _ => return None,
    };
    if triple.contains("-apple-") {
        return (architecture == Architecture::Aarch64).then_some((BinaryFormat::MachO, architecture));
    }
    (triple.contains("-linux-")).then_some((BinaryFormat::Elf, architecture))
}

/// The object for `triple`, which [`format`] knows.
pub(super) fn write(triple: &str, header: &[u8]) -> Result<ObjectFile, Fault> {
    let (binary, architecture) = format(triple).ok_or_else(|| Fault(format!("no object format for {triple}")))?;
    let mut object = Object::new(binary, architecture, Endianness::Little);
    if binary == BinaryFormat::MachO {
        object.set_mangling(Mangling::MachO);
        object.set_macho_build_version(build_version(triple));
    } else {
        // Without this section linkers make the stack executable.
        object.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Other);
    }
    let section = object.section_id(StandardSection::ReadOnlyData);
    // The empty table has room for one address: linkers treat symbols without bytes as part of what precedes them.
    for (name, bytes, align) in [(CODE, header, ALIGN), (KERNELS, [0u8; 8].as_slice(), 8)] {
        let symbol = object.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: 0,
            size: 0,
            kind: SymbolKind::Data,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        object.add_symbol_data(symbol, section, bytes, align);
    }
    let bytes = object.write().map_err(|e| Fault(e.to_string()))?;
    Ok(ObjectFile { name: "slmc_table".into(), bytes, symbols: vec![CODE.into(), KERNELS.into()] })
}

/// The least systems, those of the runtime's objects; their Metal takes MSL 2.3.
fn build_version(triple: &str) -> MachOBuildVersion {
    let mut version = MachOBuildVersion::default();
    let (platform, least) = match triple {
        _ if triple.ends_with("-ios-sim") => (PLATFORM_IOSSIMULATOR, 15),
        _ if triple.contains("-ios") => (PLATFORM_IOS, 15),
        _ => (PLATFORM_MACOS, 13),
    };
    version.platform = platform;
    version.minos = Version(least << 16);
    version.sdk = Version(least << 16);
    version
}
