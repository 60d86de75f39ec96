//! How the tensors of a checkpoint differ from those that its configuration implies.

use super::{
    checkpoint::Checkpoint,
    decoder::Decoder,
    fault::{Fault, Warning},
    folder::CONFIG,
    scan::TensorDigest,
};
use std::collections::BTreeMap;

/// Models above this size are refused: a wrong size in a configuration, not a small language model.
const MAX_PARAMETERS: u64 = 1 << 40;

/// A tensor that a decoder needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Name in the checkpoint.
    pub name: String,
    /// Shape by the configuration.
    pub shape: Vec<usize>,
}

/// Two names for one tensor: a checkpoint may store `copy` beside `original` if it is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tied {
    /// The name that may be absent.
    pub copy: String,
    /// The name that is used.
    pub original: String,
}

/// Number of weights in a table of tensors.
///
/// # Errors
/// A fault when the sizes of the configuration are beyond any model that can be compiled.
pub fn parameters(table: &[Expected]) -> Result<u64, Fault> {
    table
        .iter()
        .try_fold(0u64, |sum, tensor| {
            let elements = tensor.shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64))?;
            sum.checked_add(elements).filter(|sum| *sum <= MAX_PARAMETERS)
        })
        .ok_or_else(|| Fault::Config {
            file: CONFIG.to_owned(),
            key: "hidden_size".to_owned(),
            detail: format!(
                "the sizes together mean more than {MAX_PARAMETERS} parameters; check hidden_size, intermediate_size, num_hidden_layers and vocab_size"
            ),
        })
}

/// Pushes the missing, misshapen and surplus tensors of a checkpoint, all of them.
///
/// Stored rotary frequencies are ignored: they follow from the configuration. A stored copy of a tied tensor passes here
/// if its shape is right; [`check_tied`] compares its content.
/// What serves something else than text is left out, with a warning that says how much it is.
pub fn compare(decoder: &Decoder, checkpoint: &Checkpoint, faults: &mut Vec<Fault>, warnings: &mut Vec<Warning>) {
    let mut table: BTreeMap<String, Vec<usize>> = decoder.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
    let needed: Vec<String> = table.keys().cloned().collect();
    if let Some(tied) = decoder.tied_pair()
        && let Some(shape) = table.get(&tied.original).cloned()
    {
        table.insert(tied.copy, shape);
    }
    for (name, expected) in &table {
        match checkpoint.tensor(name) {
            None if needed.binary_search(name).is_ok() => {
                faults.push(Fault::MissingTensor { tensor: name.clone(), expected: expected.clone() });
            }
            Some(found) if found.shape != *expected => {
                faults.push(Fault::Misshapen { tensor: name.clone(), found: found.shape.clone(), expected: expected.clone() })
            }
            _ => {}
        }
    }
    let mut left_out: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for found in checkpoint.tensors().filter(|found| !table.contains_key(&found.name) && !is_derived(&found.name)) {
        if let Some(start) = decoder.left_out.iter().find(|start| found.name.starts_with(**start)) {
            let (count, bytes) = left_out.entry(start).or_default();
            *count += 1;
            *bytes += found.len;
        } else {
            let detail = surplus_reason(decoder, &found.name);
            faults.push(Fault::SurplusTensor { tensor: found.name.clone(), found: found.shape.clone(), detail });
        }
    }
    for (start, (count, bytes)) in left_out {
        let detail = format!("{count} tensors {start}* ({bytes} bytes) serve images and are left out: the model answers texts only");
        warnings.push(Warning { file: CONFIG.to_owned(), detail });
    }
}

/// A stored copy of a tied tensor must equal it in dtype, shape and bytes.
pub(super) fn check_tied(tied: Option<Tied>, digests: &[TensorDigest]) -> Option<Fault> {
    let tied = tied?;
    let hash = |name: &str| digests.iter().find(|d| d.name == name).map(|d| d.hash);
    (hash(&tied.copy)? != hash(&tied.original)?).then_some(Fault::NotTied { head: tied.copy, embed: tied.original })
}

/// Buffers that old versions of transformers stored although they follow from the configuration.
fn is_derived(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

fn surplus_reason(decoder: &Decoder, name: &str) -> String {
    let layers = decoder.sizes.blocks;
    let layer = name.split_once("layers.").and_then(|(_, rest)| rest.split_once('.')).and_then(|(number, _)| number.parse::<usize>().ok());
    match layer {
        Some(layer) if layer >= layers => format!("{CONFIG} says num_hidden_layers = {layers}"),
        Some(_) if name.ends_with(".bias") => format!("{CONFIG} asks for no bias here (attention_bias, mlp_bias, use_qkv_bias)"),
        _ => format!("nothing in {CONFIG} asks for it"),
    }
}
