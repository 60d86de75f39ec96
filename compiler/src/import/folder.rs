//! Which files of a Hugging Face folder make up the checkpoint.
//!
//! `model.safetensors` is taken before `model.safetensors.index.json`, as transformers does. Pickles are never opened;
//! beside safetensors files they are left alone, alone they are refused with the way to convert them.

use super::{
    fault::Fault,
    json_file::{brief, read_object},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path},
};

/// The configuration file that every checkpoint has.
pub(super) const CONFIG: &str = "config.json";
/// The weights when they are one file.
pub(super) const SINGLE: &str = "model.safetensors";
/// The table of tensors when the weights are several files.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The weight files of a checkpoint.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// File names in the folder, sorted.
    pub files: Vec<String>,
    /// Sharded checkpoints: the file that holds each tensor.
    pub index: Option<BTreeMap<String, String>>,
}

/// Finds the weight files of `dir`; what is wrong goes to `faults`.
pub(super) fn layout(dir: &Path, faults: &mut Vec<Fault>) -> Layout {
    let names = match file_names(dir) {
        Ok(names) => names,
        Err(fault) => {
            faults.push(fault);
            return Layout::default();
        }
    };
    if !names.contains(CONFIG) {
        let detail = if names.contains("adapter_config.json") {
            "this folder holds an adapter, not a model; merge it into its base model (`merge_and_unload`), save that and give the result"
        } else {
            "it describes the architecture; copy it from where the weights came from"
        };
        faults.push(Fault::MissingFile { file: CONFIG.to_owned(), detail: detail.to_owned() });
    }
    if names.contains(SINGLE) {
        Layout { files: vec![SINGLE.to_owned()], index: None }
    } else if names.contains(INDEX) {
        sharded(dir, &names, faults)
    } else {
        faults.push(no_weights(&names));
        Layout::default()
    }
}

fn file_names(dir: &Path) -> Result<BTreeSet<String>, Fault> {
    let failed = |error: std::io::Error| Fault::Io { path: dir.to_owned(), detail: error.to_string() };
    if !fs::metadata(dir).map_err(failed)?.is_dir() {
        return Err(Fault::NotAFolder { path: dir.to_owned() });
    }
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        names.insert(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn no_weights(names: &BTreeSet<String>) -> Fault {
    let having =
        |endings: &[&str]| -> Vec<String> { names.iter().filter(|n| endings.iter().any(|e| n.to_ascii_lowercase().ends_with(e))).cloned().collect() };
    let pickles = having(&[".bin", ".pt", ".pth", ".pkl", ".ckpt"]);
    if !pickles.is_empty() {
        return Fault::Pickle { files: pickles };
    }
    let others = having(&[".safetensors", ".gguf", ".onnx", ".h5", ".msgpack", ".npz"]);
    Fault::MissingFile {
        file: SINGLE.to_owned(),
        detail: if others.is_empty() {
            format!("neither it nor {INDEX} is in the folder, so there are no weights")
        } else {
            format!("neither it nor {INDEX} is in the folder; found {}, which cannot be imported as they are", others.join(", "))
        },
    }
}

fn sharded(dir: &Path, names: &BTreeSet<String>, faults: &mut Vec<Fault>) -> Layout {
    let Some((_, root)) = read_object(dir, INDEX, faults) else {
        return Layout::default();
    };
    let Some(Value::Object(map)) = root.get("weight_map") else {
        faults.push(Fault::Json {
            file: INDEX.to_owned(),
            detail: match root.get("weight_map") {
                Some(found) => format!("weight_map is {}, an object of tensor names to files is expected", brief(found)),
                None => "has no weight_map".to_owned(),
            },
        });
        return Layout::default();
    };
    let mut index = BTreeMap::new();
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, file) in map {
        match file.as_str() {
            Some(shard) if is_plain_name(shard) => {
                index.insert(tensor.clone(), shard.to_owned());
                shards.entry(shard).or_default().push(tensor);
            }
            _ => faults.push(Fault::Index {
                index: INDEX.to_owned(),
                tensor: tensor.clone(),
                detail: format!("{} is no safetensors file in this folder", brief(file)),
            }),
        }
    }
    if map.is_empty() {
        faults.push(Fault::Json { file: INDEX.to_owned(), detail: "weight_map is empty".to_owned() });
    }
    let mut files = Vec::new();
    for (shard, tensors) in shards {
        if names.contains(shard) {
            files.push(shard.to_owned());
        } else {
            faults.push(Fault::MissingShard {
                index: INDEX.to_owned(),
                shard: shard.to_owned(),
                tensors: tensors.len(),
                first: tensors.iter().min().map_or(String::new(), |t| (*t).to_owned()),
            });
        }
    }
    Layout { files, index: Some(index) }
}

/// A shard must lie in the folder itself: an index that points elsewhere is broken or malicious.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(Component::Normal(part)) if part == name) && parts.next().is_none() && name.ends_with(".safetensors")
}
