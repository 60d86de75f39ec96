//! The header of one safetensors file: eight bytes of length, that much JSON, then the tensors' bytes without gaps.
//!
//! Only the header is read. The entries are the `safetensors` crate's own types, but they are parsed one by one, so
//! that every broken entry is named and not just the first; the crate's check has the last word. The file is taken for
//! hostile: no length in it is believed before it is compared with the file's own.

use super::{
    fault::Fault,
    json_file::{brief, cut},
    stored::StoredDtype,
};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo as Entry},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use std::{collections::BTreeSet, fmt, fs::File, os::unix::fs::FileExt};

/// Longest header that is read; the same bound as the `safetensors` crate's.
const MAX_HEADER: u64 = 100_000_000;
/// Broken entries named before the rest of a header is given up.
const MAX_BROKEN: usize = 1000;

/// A tensor as its file's header describes it, checked against the file's length.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub name: String,
    pub dtype: StoredDtype,
    pub shape: Vec<usize>,
    /// From the start of the file, in bytes.
    pub offset: u64,
    /// In bytes.
    pub len: u64,
}

/// The tensors of `file`, in the order of their bytes. What is broken goes to `faults` under the name `label`.
pub(super) fn read(file: &File, label: &str, faults: &mut Vec<Fault>) -> Vec<Stored> {
    let (text, file_len) = match header_text(file) {
        Ok(found) => found,
        Err(detail) => {
            faults.push(Fault::Header { file: label.to_owned(), detail });
            return Vec::new();
        }
    };
    let parsed = serde_json::from_slice::<Entries>(&text);
    let entries = match parsed {
        Ok(Entries(entries)) => entries,
        Err(error) => {
            faults.push(Fault::Header { file: label.to_owned(), detail: format!("the header is not valid: {error}") });
            return Vec::new();
        }
    };
    let data_start = 8 + text.len() as u64;
    let before = faults.len();
    let sound = sound_entries(entries, label, faults);
    check_layout(&sound, file_len - data_start, label, before, faults);
    stored(sound, data_start, label, faults)
}

/// The header's bytes and the file's length.
fn header_text(file: &File) -> Result<(Vec<u8>, u64), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file_len = file.metadata().map_err(unreadable)?.len();
    if file_len < 8 {
        return Err(format!("truncated: {file_len} bytes, a safetensors file starts with an 8-byte header length"));
    }
    let mut length = [0u8; 8];
    file.read_exact_at(&mut length, 0).map_err(unreadable)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(format!(
            "the header claims {length} bytes, more than the {MAX_HEADER} that safetensors allows; the file is damaged or no safetensors file"
        ));
    }
    if length > file_len - 8 {
        return Err(format!("truncated: the header claims {length} bytes, the file has {} after the length; download it again", file_len - 8));
    }
    let mut text = vec![0u8; length as usize];
    file.read_exact_at(&mut text, 8).map_err(unreadable)?;
    Ok((text, file_len))
}

/// Header entries in the order of the text, each sound or with its fault.
struct Entries(Vec<(String, Result<Entry, String>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                let mut broken = 0;
                while let Some(name) = map.next_key::<String>()? {
                    let value = map.next_value::<Value>()?;
                    if name == "__metadata__" {
                        continue;
                    }
                    let parsed = entry(&value);
                    broken += usize::from(parsed.is_err());
                    if broken > MAX_BROKEN {
                        return Err(serde::de::Error::custom(format!("more than {MAX_BROKEN} entries are broken")));
                    }
                    entries.push((name, parsed));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

fn entry(value: &Value) -> Result<Entry, String> {
    let field = |key: &str| value.get(key).ok_or_else(|| format!("its header entry {} has no {key}", brief(value)));
    let dtype = field("dtype")?;
    let dtype = Dtype::deserialize(dtype).map_err(|_| format!("{} is no safetensors dtype", brief(dtype)))?;
    let shape = field("shape")?;
    let shape = Vec::<usize>::deserialize(shape).map_err(|_| format!("shape {} is no list of sizes", brief(shape)))?;
    let offsets = field("data_offsets")?;
    let data_offsets = <(usize, usize)>::deserialize(offsets).map_err(|_| format!("data_offsets {} is no pair of byte offsets", brief(offsets)))?;
    Ok(Entry { dtype, shape, data_offsets })
}

/// Entries whose shape, dtype and extent agree, sorted by extent.
fn sound_entries(entries: Vec<(String, Result<Entry, String>)>, label: &str, faults: &mut Vec<Fault>) -> Vec<(String, Entry)> {
    let mut names = BTreeSet::new();
    let mut sound = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let checked = entry.and_then(|entry| {
            if !names.insert(name.clone()) {
                return Err("listed twice in the header".to_owned());
            }
            check_extent(&entry).map(|()| entry)
        });
        match checked {
            Ok(entry) => sound.push((name, entry)),
            Err(detail) => faults.push(Fault::Entry { file: label.to_owned(), tensor: cut(name), detail }),
        }
    }
    sound.sort_by(|a, b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
    sound
}

fn check_extent(entry: &Entry) -> Result<(), String> {
    let (start, end) = entry.data_offsets;
    let bytes = entry
        .shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .and_then(|n| n.checked_mul(entry.dtype.bitsize()))
        .ok_or_else(|| format!("shape {:?} overflows", entry.shape))?
        .div_ceil(8);
    let held = end.checked_sub(start).ok_or_else(|| format!("data_offsets [{start}, {end}] run backwards"))?;
    if held != bytes {
        return Err(format!("data_offsets [{start}, {end}] hold {held} bytes, {} of shape {:?} needs {bytes}", entry.dtype, entry.shape));
    }
    Ok(())
}

/// Tensors must cover the data without overlap or gap. `before` is the fault count before this file's entries: where
/// an entry was already refused, the hole that it leaves is no news.
fn check_layout(sound: &[(String, Entry)], data_len: u64, label: &str, before: usize, faults: &mut Vec<Fault>) {
    let complete = faults.len() == before;
    let (mut end, mut owner) = (0usize, "the header");
    let mut first_cut: Option<&str> = None;
    let mut cut_count = 0usize;
    for (name, entry) in sound {
        let (start, stop) = entry.data_offsets;
        if start < end {
            faults.push(Fault::Entry {
                file: label.to_owned(),
                tensor: name.clone(),
                detail: format!("starts at byte {start} and overlaps {owner}, which ends at {end}"),
            });
        } else if start > end && complete {
            faults.push(Fault::Entry {
                file: label.to_owned(),
                tensor: name.clone(),
                detail: format!("starts at byte {start} and leaves a gap after {owner}, which ends at {end}"),
            });
        }
        if stop as u64 > data_len {
            first_cut.get_or_insert(name);
            cut_count += 1;
        }
        if stop > end {
            (end, owner) = (stop, name);
        }
    }
    if let Some(first) = first_cut {
        faults.push(Fault::Header {
            file: label.to_owned(),
            detail: format!(
                "truncated: {cut_count} tensors reach beyond the file's end (the first is {first}), {} bytes are missing; download it again",
                end as u64 - data_len
            ),
        });
    } else if (end as u64) < data_len && complete {
        faults.push(Fault::Header { file: label.to_owned(), detail: format!("{} bytes at its end belong to no tensor", data_len - end as u64) });
    }
    if faults.len() == before
        && let Err(error) = Metadata::new(None, sound.to_vec())
    {
        faults.push(Fault::Header { file: label.to_owned(), detail: format!("the header is not valid: {error}") });
    }
}

fn stored(sound: Vec<(String, Entry)>, data_start: u64, label: &str, faults: &mut Vec<Fault>) -> Vec<Stored> {
    let mut tensors = Vec::with_capacity(sound.len());
    for (name, entry) in sound {
        let (start, end) = entry.data_offsets;
        match StoredDtype::from_header(entry.dtype) {
            Some(dtype) => {
                tensors.push(Stored { name, dtype, shape: entry.shape, offset: data_start.saturating_add(start as u64), len: (end - start) as u64 })
            }
            None => faults.push(Fault::Dtype { file: label.to_owned(), tensor: name, dtype: entry.dtype.to_string() }),
        }
    }
    tensors
}
