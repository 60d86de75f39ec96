//! Other names for the symbols of a Mach-O object, and what of it other images see.
//!
//! Code and relocations speak of symbols by index, so only the symbol table's name offsets and the table of names change: a new
//! one is written at the end of the file, where compilers put it.

use object::endian::LittleEndian;
use object::macho::{self, MachHeader64, Nlist64, SymtabCommand};
use object::pod::{bytes_of, from_bytes};
use object::read::macho::MachHeader as _;

use super::{CodeObject, LinkError};

type Header = MachHeader64<LittleEndian>;
type Entry = Nlist64<LittleEndian>;

/// Bytes of a symbol table's entry.
const ENTRY_BYTES: usize = size_of::<Entry>();
/// Names in the file begin with it.
const MARK: char = '_';

/// The object with its global symbols renamed (`rename` takes and gives C names; `None` keeps one) and all that it defines but
/// `is_public` (asked by the old C name) hidden from other images.
///
/// # Errors
/// [`LinkError::Object`] for anything but a little-endian 64-bit Mach-O object with one symbol table.
pub fn rename(object: &CodeObject<'_>, rename: &dyn Fn(&str) -> Option<String>, is_public: &dyn Fn(&str) -> bool) -> Result<Vec<u8>, LinkError> {
    let fault = |detail: &str| LinkError::Object { what: object.name.to_owned(), detail: detail.to_owned() };
    let (at, table) = symbol_table(object.bytes).map_err(|detail| fault(&detail))?;
    let field = |value: object::endian::U32<LittleEndian>| value.get(LittleEndian) as usize;
    let (symbols_at, count) = (field(table.symoff), field(table.nsyms));
    let (names_at, names_end) = (field(table.stroff), field(table.stroff) + field(table.strsize));
    let old_names = object.bytes.get(names_at..names_end).ok_or_else(|| fault("its names lie beyond its end"))?.to_vec();
    let symbols_end = symbols_at + count * ENTRY_BYTES;
    if object.bytes.len() < symbols_end {
        return Err(fault("its symbols lie beyond its end"));
    }
    let mut out = if names_end == object.bytes.len() { object.bytes[..names_at].to_vec() } else { object.bytes.to_vec() };
    out.resize(out.len().next_multiple_of(8), 0);

    // Offset 0 means no name.
    let mut names = vec![0];
    for index in 0..count {
        let place = symbols_at + index * ENTRY_BYTES..symbols_at + (index + 1) * ENTRY_BYTES;
        let bytes = object.bytes.get(place.clone()).ok_or_else(|| fault("its symbols lie beyond its end"))?;
        let (entry, _) = from_bytes::<Entry>(bytes).map_err(|()| fault("its symbols are out of line"))?;
        let mut entry = *entry;
        let old = old_names.get(field(entry.n_strx)..).ok_or_else(|| fault("a symbol has no name"))?;
        let old = old.split(|byte| *byte == 0).next().unwrap_or_default();
        let old = std::str::from_utf8(old).map_err(|_| fault("a symbol's name is not UTF-8"))?;
        let is_global = !entry.n_type.is_stab() && entry.n_type.is_ext();
        let is_defined = entry.n_type.typ() != macho::N_UNDF;
        let mut name = old.to_owned();
        if is_global {
            let c_name = old.strip_prefix(MARK).unwrap_or(old);
            if let Some(new) = rename(c_name) {
                name = format!("{MARK}{new}");
            }
            if is_defined && !is_public(c_name) {
                entry.n_type |= macho::N_PEXT;
            }
        }
        let offset = if name.is_empty() { 0 } else { names.len() };
        entry.n_strx.set(LittleEndian, offset as u32);
        if !name.is_empty() {
            names.extend(name.bytes());
            names.push(0);
        }
        out.get_mut(place).ok_or_else(|| fault("its names lie before its symbols"))?.copy_from_slice(bytes_of(&entry));
    }
    names.resize(names.len().next_multiple_of(8), 0);
    let mut table = table;
    table.stroff.set(LittleEndian, out.len() as u32);
    table.strsize.set(LittleEndian, names.len() as u32);
    out.extend(names);
    out[at..at + size_of::<SymtabCommand<LittleEndian>>()].copy_from_slice(bytes_of(&table));
    Ok(out)
}

/// Offset in the file and contents of the command that describes the symbol table.
fn symbol_table(bytes: &[u8]) -> Result<(usize, SymtabCommand<LittleEndian>), String> {
    let header = Header::parse(bytes, 0).map_err(|e| e.to_string())?;
    if header.filetype(LittleEndian) != macho::MH_OBJECT {
        return Err("is no relocatable object".to_owned());
    }
    let mut commands = header.load_commands(LittleEndian, bytes, 0).map_err(|e| e.to_string())?;
    let mut at = size_of::<Header>();
    while let Some(command) = commands.next().map_err(|e| e.to_string())? {
        if let Some(table) = command.symtab().map_err(|e| e.to_string())? {
            return Ok((at, *table));
        }
        at += command.cmdsize() as usize;
    }
    Err("has no symbol table".to_owned())
}
