//! Static libraries for Apple's systems: the objects with their names changed, in one archive. No linker takes part.
//!
//! Every name that the objects define gets the prefix of the model, so that one app holds any number of models; of these only
//! the functions of `slm.h` stay visible beyond the app's image. What is taken from outside keeps its name and must be in
//! [`super::apple_table`]. Members have fixed names and no times, so same objects, same bytes.

use std::collections::BTreeSet;
use std::io::Cursor;

use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};
use object::Endianness;
use object::read::archive::ArchiveFile;
use object::read::macho::MachOFile64;
use object::{Object as _, ObjectSymbol as _};

use super::{CodeObject, LinkError, Linked, SymbolReport, apple_table, macho_names};

/// Most letters of a model's name in an identifier.
const IDENTIFIER_CHARS: usize = 40;

/// A model's name as an identifier of C: small letters, digits and single `_` for all else. One that does not begin with a letter
/// gets `m_` before it.
pub fn identifier(model: &str) -> String {
    let mut name = String::new();
    for c in model.chars().take(IDENTIFIER_CHARS) {
        let c = if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        if c != '_' || !name.ends_with('_') {
            name.push(c);
        }
    }
    match name.trim_matches('_') {
        "" => "model".to_owned(),
        stem if stem.starts_with(|c: char| c.is_ascii_lowercase()) => stem.to_owned(),
        stem => format!("m_{stem}"),
    }
}

/// How the names of a model's symbols begin in a static library.
pub fn symbol_prefix(model: &str) -> String {
    format!("{}_", identifier(model))
}

/// `slm.h` for a static library: `slm_` and `SLM_` at the beginning of names get the prefix, types and constants included, so
/// that headers of two models can be used together.
pub fn prefixed_header(header: &str, prefix: &str) -> String {
    let upper = prefix.to_ascii_uppercase();
    let mut out = format!("/* The names of this model: slm_... is {prefix}slm_... here, SLM_... is {upper}SLM_... */\n");
    let mut before = ' ';
    for (at, c) in header.char_indices() {
        let begins = !(before.is_ascii_alphanumeric() || before == '_');
        if begins && header[at..].starts_with("slm_") {
            out.push_str(prefix);
        } else if begins && header[at..].starts_with("SLM_") {
            out.push_str(&upper);
        }
        out.push(c);
        before = c;
    }
    out
}

/// Makes the library of `objects`, Mach-O for arm64, which export what begins with `export` (C names).
///
/// # Errors
/// Objects of another format, functions that no bundle may use.
pub fn link_static(objects: &[CodeObject<'_>], prefix: &str, export: &str, uses_gpu: bool) -> Result<Linked, LinkError> {
    let mut defined = BTreeSet::new();
    let mut wanted = BTreeSet::new();
    for object in objects {
        let names = names(object.name, object.bytes)?;
        defined.extend(names.defined);
        wanted.extend(names.undefined);
    }
    let undefined: Vec<String> = wanted.difference(&defined).cloned().collect();
    apple_table::check(&undefined, uses_gpu)?;

    let rename = |name: &str| defined.contains(name).then(|| format!("{prefix}{name}"));
    let is_public = |name: &str| name.starts_with(export);
    let mut members = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        let bytes = macho_names::rename(object, &rename, &is_public)?;
        members.push((format!("{prefix}{index}.o"), bytes));
    }
    let bytes = archive(members)?;
    let exported = defined.iter().filter(|name| is_public(name)).map(|name| format!("{prefix}{name}")).collect();
    Ok(Linked { bytes, symbols: SymbolReport { undefined, exported } })
}

/// What the members of a static library take from outside and offer to it, by their C names, sorted.
///
/// # Errors
/// [`LinkError::Object`] if it is no archive of Mach-O objects.
pub fn symbols_of_archive(bytes: &[u8]) -> Result<SymbolReport, LinkError> {
    let fault = |e: object::read::Error| LinkError::Object { what: "the static library".to_owned(), detail: e.to_string() };
    let archive = ArchiveFile::parse(bytes).map_err(fault)?;
    let (mut defined, mut wanted, mut exported) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for member in archive.members() {
        let member = member.map_err(fault)?;
        let names = names(&String::from_utf8_lossy(member.name()), member.data(bytes).map_err(fault)?)?;
        defined.extend(names.defined);
        wanted.extend(names.undefined);
        exported.extend(names.exported);
    }
    let undefined = wanted.difference(&defined).cloned().collect();
    Ok(SymbolReport { undefined, exported: exported.into_iter().collect() })
}

/// The global names of an object, without the underscore that they have in the file.
#[derive(Default)]
struct Names {
    defined: BTreeSet<String>,
    /// Of the defined ones those that other images see.
    exported: BTreeSet<String>,
    undefined: BTreeSet<String>,
}

fn names(what: &str, bytes: &[u8]) -> Result<Names, LinkError> {
    let fault = |e: object::read::Error| LinkError::Object { what: what.to_owned(), detail: e.to_string() };
    let file = MachOFile64::<Endianness>::parse(bytes).map_err(fault)?;
    let mut names = Names::default();
    for symbol in file.symbols() {
        let name = symbol.name().map_err(fault)?;
        let name = name.strip_prefix('_').unwrap_or(name).to_owned();
        if symbol.is_undefined() {
            names.undefined.insert(name);
        } else if symbol.is_global() {
            if symbol.scope() == object::SymbolScope::Dynamic {
                names.exported.insert(name.clone());
            }
            names.defined.insert(name);
        }
    }
    Ok(names)
}

fn archive(members: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>, LinkError> {
    let members: Vec<NewArchiveMember<'_>> = members
        .into_iter()
        .map(|(name, bytes)| NewArchiveMember {
            buf: Box::new(bytes),
            object_reader: &DEFAULT_OBJECT_READER,
            member_name: name,
            mtime: 0,
            uid: 0,
            gid: 0,
            perms: 0o644,
        })
        .collect();
    let mut out = Cursor::new(Vec::new());
    write_archive_to_stream(&mut out, &members, ArchiveKind::Darwin, false, None).map_err(|e| LinkError::io("the static library", &e))?;
    Ok(out.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_one_of_c() {
        for (model, name) in
            [("warehouse", "warehouse"), ("TinyLlama-1.1B-Chat", "tinyllama_1_1b_chat"), ("7B", "m_7b"), ("--", "model"), ("größe", "gr_e")]
        {
            assert_eq!(identifier(model), name, "{model}");
        }
    }

    #[test]
    fn a_header_is_renamed_at_the_beginning_of_names_only() {
        let header = prefixed_header("int slm_open(slm_model *m, SLM_OK, my_slm_x, \"slm.h\");", "a_");
        assert!(header.ends_with("int a_slm_open(a_slm_model *m, A_SLM_OK, my_slm_x, \"slm.h\");"), "{header}");
    }
}
