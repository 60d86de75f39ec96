//! Typed reading of a configuration object, value by value.
//!
//! Every reader returns a usable value: a bad one is pushed as a fault and a neutral stand-in goes on, so that the
//! values after it are checked too. The caller drops the result when there are faults.

use super::{fault::Fault, json_file::brief};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// A JSON object under reading.
pub struct Fields<'a> {
    file: &'a str,
    /// Dotted path of the object in the file, empty or ending in a dot.
    prefix: &'a str,
    map: &'a Map<String, Value>,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Fields<'a> {
    /// Reads `map`, found in `file` under `prefix`.
    pub fn new(file: &'a str, prefix: &'a str, map: &'a Map<String, Value>, faults: &'a mut Vec<Fault>) -> Self {
        Self { file, prefix, map, faults }
    }

    /// The object under reading.
    pub fn map(&self) -> &'a Map<String, Value> {
        self.map
    }

    /// The name of the file.
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// The path of `key` in the file.
    pub fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Reads `map`, an object in the same file under `prefix`, which ends in a dot.
    pub fn within<'b>(&'b mut self, prefix: &'b str, map: &'b Map<String, Value>) -> Fields<'b> {
        Fields { file: self.file, prefix, map, faults: self.faults }
    }

    /// Where faults go, for readers of other files.
    pub fn faults(&mut self) -> &mut Vec<Fault> {
        self.faults
    }

    /// A value that is there and not null.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// Pushes a fault about `key`.
    pub fn fault(&mut self, key: &str, detail: impl Into<String>) {
        self.faults.push(Fault::Config { file: self.file.to_owned(), key: format!("{}{key}", self.prefix), detail: detail.into() });
    }

    /// Pushes that the value of `key` asks for something that is not built.
    pub fn unsupported(&mut self, key: &str, found: &Value, detail: impl Into<String>) {
        self.faults.push(Fault::Unsupported {
            file: self.file.to_owned(),
            key: format!("{}{key}", self.prefix),
            found: brief(found),
            detail: detail.into(),
        });
    }

    /// A whole number in `range` that must be there.
    pub fn size(&mut self, key: &str, range: RangeInclusive<usize>) -> usize {
        let low = *range.start();
        self.optional_size(key, range).unwrap_or_else(|| {
            if self.value(key).is_none() {
                self.fault(key, "is missing; a whole number is needed");
            }
            low
        })
    }

    /// A whole number in `range`. `None` when absent, null or faulty.
    pub fn optional_size(&mut self, key: &str, range: RangeInclusive<usize>) -> Option<usize> {
        let value = self.value(key)?;
        let found = value.as_u64().and_then(|v| usize::try_from(v).ok());
        match found {
            Some(size) if range.contains(&size) => Some(size),
            _ => {
                let detail = format!("found {}, a whole number from {} to {} is expected", brief(value), range.start(), range.end());
                self.fault(key, detail);
                None
            }
        }
    }

    /// A finite number for which `holds`; `expected` says it in words. `None` when absent, null or faulty.
    pub fn optional_number(&mut self, key: &str, expected: &str, holds: impl Fn(f64) -> bool) -> Option<f64> {
        let value = self.value(key)?;
        match value.as_f64().filter(|v| v.is_finite() && holds(*v)) {
            Some(number) => Some(number),
            None => {
                let detail = format!("found {}, {expected} is expected", brief(value));
                self.fault(key, detail);
                None
            }
        }
    }

    /// A finite number that must be there.
    pub fn number(&mut self, key: &str, expected: &str, holds: impl Fn(f64) -> bool) -> f64 {
        self.optional_number(key, expected, holds).unwrap_or_else(|| {
            if self.value(key).is_none() {
                self.fault(key, format!("is missing; {expected} is needed"));
            }
            1.0
        })
    }

    /// true or false; `default` when absent or null.
    pub fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.value(key) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.fault(key, format!("found {}, true or false is expected", brief(other)));
                default
            }
        }
    }

    /// A string. `None` when absent, null or faulty.
    pub fn optional_text(&mut self, key: &str) -> Option<&'a str> {
        match self.value(key)? {
            Value::String(text) => Some(text),
            other => {
                self.fault(key, format!("found {}, a string is expected", brief(other)));
                None
            }
        }
    }

    /// Token ids below `vocab`: a number or a list of numbers. `default` when absent, empty when null.
    pub fn token_ids(&mut self, key: &str, vocab: usize, default: &[u32]) -> Vec<u32> {
        let values = match self.map.get(key) {
            None => return default.to_vec(),
            Some(Value::Null) => return Vec::new(),
            Some(Value::Array(list)) => list.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let mut ids = Vec::with_capacity(values.len());
        for value in values {
            let id = value.as_u64().filter(|id| *id < vocab as u64);
            match id.and_then(|id| u32::try_from(id).ok()) {
                Some(id) => ids.push(id),
                None => self.fault(
                    key,
                    format!("found {}, token ids from 0 to {} (vocab_size is {vocab}) are expected", brief(value), vocab.saturating_sub(1)),
                ),
            }
        }
        ids
    }
}
