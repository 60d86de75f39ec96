//! Reads the small JSON files of a checkpoint folder.

use super::fault::Fault;
use serde_json::{Map, Value};
use std::{fs::File, io::Read, path::Path};

/// Files larger than this are no configuration. The index of the largest public checkpoints is below 10 MiB.
const LIMIT: u64 = 64 << 20;

/// The text and content of `dir/name`, which must be a JSON object. `None` after pushing a fault.
///
/// # Errors
/// Pushes [`Fault::Io`] for a file that cannot be read (an absent one included) and [`Fault::Json`] for text that is
/// not a JSON object.
pub(super) fn read_object(dir: &Path, name: &str, faults: &mut Vec<Fault>) -> Option<(Vec<u8>, Map<String, Value>)> {
    let path = dir.join(name);
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut text));
    if let Err(error) = read {
        faults.push(Fault::Io { path, detail: error.to_string() });
        return None;
    }
    let detail = if text.len() as u64 > LIMIT {
        format!("larger than {} MiB, which no such file is", LIMIT >> 20)
    } else {
        match serde_json::from_slice::<Value>(&text) {
            Ok(Value::Object(map)) => return Some((text, map)),
            Ok(other) => format!("a JSON object is expected, found {}", brief(&other)),
            Err(error) => format!("not valid JSON: {error}{}", quote_line(&text, error.line())),
        }
    };
    faults.push(Fault::Json { file: name.to_owned(), detail });
    None
}

/// A value as JSON, cut to a length that fits in a message.
pub(super) fn brief(value: &Value) -> String {
    cut(value.to_string())
}

/// `text` cut to a length that fits in a message.
pub(super) fn cut(text: String) -> String {
    const KEEP: usize = 80;
    match text.char_indices().nth(KEEP) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The line that a parse error points at: Python writes `NaN` and `Infinity`, which are not JSON, and the line names the key.
fn quote_line(text: &[u8], line: usize) -> String {
    let found =
        text.split(|b| *b == b'\n').nth(line.saturating_sub(1)).map(|l| String::from_utf8_lossy(l).trim().to_owned()).filter(|l| !l.is_empty());
    match found {
        Some(line) => format!(": `{}`", cut(line)),
        None => String::new(),
    }
}
