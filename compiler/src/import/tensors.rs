//! How the tensors of a checkpoint differ from those that its configuration implies.

use super::{architecture::Architecture, checkpoint::Checkpoint, fault::Fault, folder::CONFIG, scan::TensorDigest};
use std::collections::BTreeMap;

/// Models above this size are refused: a wrong size in a configuration, not a small language model.
const MAX_PARAMETERS: u64 = 1 << 40;

/// A tensor that an architecture needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Name in the checkpoint.
    pub name: String,
    /// Shape by the configuration.
    pub shape: Vec<usize>,
}

/// Two names for one tensor: a checkpoint may store `copy` beside `original` if it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tied {
    /// The name that may be absent.
    pub copy: &'static str,
    /// The name that is used.
    pub original: &'static str,
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
pub fn compare(architecture: &dyn Architecture, checkpoint: &Checkpoint, faults: &mut Vec<Fault>) {
    let mut table: BTreeMap<String, Vec<usize>> = architecture.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
    let needed: Vec<String> = table.keys().cloned().collect();
    if let Some(tied) = architecture.tied()
        && let Some(shape) = table.get(tied.original).cloned()
    {
        table.insert(tied.copy.to_owned(), shape);
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
    let layers = architecture.summary().layers;
    for found in checkpoint.tensors() {
        if !table.contains_key(&found.name) && !is_derived(&found.name) {
            faults.push(Fault::SurplusTensor { tensor: found.name.clone(), found: found.shape.clone(), detail: surplus_reason(&found.name, layers) });
        }
    }
}

/// A stored copy of a tied tensor must equal it in dtype, shape and bytes.
pub fn check_tied(tied: Option<Tied>, digests: &[TensorDigest]) -> Option<Fault> {
    let tied = tied?;
    let hash = |name: &str| digests.iter().find(|d| d.name == name).map(|d| d.hash);
    (hash(tied.copy)? != hash(tied.original)?).then(|| Fault::NotTied { head: tied.copy.to_owned(), embed: tied.original.to_owned() })
}

/// Buffers that old versions of transformers stored although they follow from the configuration.
fn is_derived(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

fn surplus_reason(name: &str, layers: usize) -> String {
    let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')).and_then(|(number, _)| number.parse::<usize>().ok());
    match layer {
        Some(layer) if layer >= layers => format!("{CONFIG} says num_hidden_layers = {layers}"),
        Some(_) if name.ends_with(".bias") => format!("{CONFIG} asks for no bias here (attention_bias, mlp_bias)"),
        _ => format!("nothing in {CONFIG} asks for it"),
    }
}
