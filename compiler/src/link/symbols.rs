//! Which functions code takes from outside: the ground of a bundle's privacy statement.

use std::collections::BTreeSet;

use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSymbol as _};

use super::{CodeObject, LinkError};

/// What a shared object takes from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SymbolReport {
    /// Undefined symbols, sorted.
    pub undefined: Vec<String>,
    /// Exported symbols, sorted.
    pub exported: Vec<String>,
}

/// Symbols that the objects together leave undefined, sorted.
///
/// # Errors
/// [`LinkError::Object`] if one is not an ELF object.
pub fn undefined_of_objects(objects: &[CodeObject<'_>]) -> Result<Vec<String>, LinkError> {
    let mut undefined = BTreeSet::new();
    let mut defined = BTreeSet::new();
    for object in objects {
        let file = parse(object.name, object.bytes)?;
        for symbol in file.symbols() {
            let Ok(name) = symbol.name() else { continue };
            if name.is_empty() || symbol.is_local() {
                continue;
            }
            if symbol.is_undefined() {
                undefined.insert(name.to_owned())
            } else {
                defined.insert(name.to_owned())
            };
        }
    }
    Ok(undefined.difference(&defined).cloned().collect())
}

/// What the dynamic symbol table of a linked library says.
///
/// # Errors
/// [`LinkError::Object`] if it is not an ELF file.
pub fn undefined_of_shared(bytes: &[u8]) -> Result<SymbolReport, LinkError> {
    let file = parse("the linked library", bytes)?;
    let mut undefined = BTreeSet::new();
    let mut exported = BTreeSet::new();
    for symbol in file.dynamic_symbols() {
        let Ok(name) = symbol.name() else { continue };
        if name.is_empty() {
            continue;
        }
        if symbol.is_undefined() {
            undefined.insert(name.to_owned())
        } else {
            exported.insert(name.to_owned())
        };
    }
    Ok(SymbolReport { undefined: undefined.into_iter().collect(), exported: exported.into_iter().collect() })
}

fn parse<'a>(what: &str, bytes: &'a [u8]) -> Result<ElfFile64<'a, Endianness>, LinkError> {
    ElfFile64::parse(bytes).map_err(|e| LinkError::Object { what: what.to_owned(), detail: e.to_string() })
}
