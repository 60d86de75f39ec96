//! Objects that are written without a code generator's help: the code header with the kernel table, and the machine code of one
//! kernel. All symbols are hidden.

use crate::ObjectFile;
use crate::symbols::{CODE, KERNELS, TABLE};
use object::macho::{PLATFORM_IOS, PLATFORM_IOSSIMULATOR, PLATFORM_MACOS, Version};
use object::write::{MachOBuildVersion, Mangling, Object, Relocation, StandardSection, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationEncoding, RelocationFlags, RelocationKind, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

/// Alignment of header, table and code.
const ALIGN: u64 = 64;

/// The object format of a triple; `None` if this file does not know it.
pub(crate) fn format(triple: &str) -> Option<(BinaryFormat, Architecture)> {
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

/// The object that a runtime finds the code by, for a `triple` that [`format`] knows: the header and the addresses of `kernels`,
/// which other objects define. A table without kernels has room for one address all the same: linkers treat symbols without bytes
/// as part of what precedes them.
pub(crate) fn table(triple: &str, kernels: &[String], header: &[u8]) -> Result<ObjectFile, String> {
    let mut object = start(triple)?;
    let constants = object.section_id(StandardSection::ReadOnlyData);
    let code = symbol(&mut object, CODE, SymbolKind::Data);
    object.add_symbol_data(code, constants, header, ALIGN);
    let addresses = vec![0; 8 * kernels.len().max(1)];
    let section = if kernels.is_empty() { constants } else { object.section_id(StandardSection::ReadOnlyDataWithRel) };
    let place = symbol(&mut object, KERNELS, SymbolKind::Data);
    let first = object.add_symbol_data(place, section, &addresses, ALIGN);
    for (i, kernel) in kernels.iter().enumerate() {
        let symbol = symbol(&mut object, kernel, SymbolKind::Text);
        let flags = RelocationFlags::Generic { kind: RelocationKind::Absolute, encoding: RelocationEncoding::Generic, size: 64 };
        let relocation = Relocation { offset: first + 8 * i as u64, symbol, addend: 0, flags };
        object.add_relocation(section, relocation).map_err(|e| e.to_string())?;
    }
    finish(object, TABLE, &[CODE, KERNELS])
}

/// The object of one kernel, whose code needs nothing from elsewhere.
#[cfg(feature = "cranelift")]
pub(crate) fn kernel(triple: &str, name: &str, code: &[u8]) -> Result<ObjectFile, String> {
    let mut object = start(triple)?;
    let section = object.section_id(StandardSection::Text);
    let place = symbol(&mut object, name, SymbolKind::Text);
    object.add_symbol_data(place, section, code, ALIGN);
    finish(object, name, &[name])
}

fn start(triple: &str) -> Result<Object<'static>, String> {
    let (binary, architecture) = format(triple).ok_or_else(|| format!("no object format for {triple}"))?;
    let mut object = Object::new(binary, architecture, Endianness::Little);
    if binary == BinaryFormat::MachO {
        object.set_mangling(Mangling::MachO);
        object.set_macho_build_version(build_version(triple));
    } else {
        // Without this section linkers make the stack executable.
        object.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Other);
    }
    Ok(object)
}

/// A hidden symbol, undefined until data is added for it.
fn symbol(object: &mut Object<'_>, name: &str, kind: SymbolKind) -> SymbolId {
    object.add_symbol(Symbol {
        name: name.as_bytes().to_vec(),
        value: 0,
        size: 0,
        kind,
        scope: SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Undefined,
        flags: SymbolFlags::None,
    })
}

fn finish(object: Object<'_>, name: &str, symbols: &[&str]) -> Result<ObjectFile, String> {
    let bytes = object.write().map_err(|e| e.to_string())?;
    Ok(ObjectFile { name: name.into(), bytes, symbols: symbols.iter().map(|s| (*s).to_owned()).collect() })
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
