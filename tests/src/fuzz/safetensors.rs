//! `model.safetensors`: whatever is in it is read, scanned and imported, or refused.

use std::fs;

use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use slmc::import::{Checkpoint, ImportOptions, describe, import};

use super::random::Random;
use super::zeros::zeros;
use super::{Target, json as json_mutations, mutate};

/// The reader of safetensors files.
pub(super) struct Safetensors;

fn config() -> Value {
    json!({"model_type": "llama", "hidden_size": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 2, "intermediate_size": 3,
        "vocab_size": 5, "num_hidden_layers": 1, "max_position_embeddings": 16, "rms_norm_eps": 1e-6, "tie_word_embeddings": true})
}

impl Target for Safetensors {
    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let config = config();
        let (decoder, _) = describe(config.as_object().expect("an object"), None).expect("a sound configuration");
        let with_metadata = |mut file: Vec<u8>| {
            let (mut header, data) = parts(&file).expect("a file of ours");
            header["__metadata__"] = json!({"format": "pt"});
            file = framed(&header.to_string().into_bytes(), &data);
            file
        };
        let plain = [Dtype::F32, Dtype::F16, Dtype::BF16].map(|dtype| zeros(&decoder, dtype));
        plain.iter().cloned().chain([with_metadata(plain[0].clone()), framed(b"{}", &[]), vec![]]).collect()
    }

    fn run(&self, input: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder for the input");
        fs::write(folder.path().join("config.json"), config().to_string()).expect("a configuration is written");
        fs::write(folder.path().join("model.safetensors"), input).expect("the input is written");
        if let Ok(checkpoint) = Checkpoint::open(folder.path()) {
            let mut rows = Vec::new();
            for tensor in checkpoint.tensors() {
                let last = tensor.rows().saturating_sub(1)..tensor.rows();
                checkpoint.read_rows_f32(&tensor.name, last, &mut rows).unwrap_or_else(|error| panic!("{}: {error}", tensor.name));
                assert!(checkpoint.read_rows_f32(&tensor.name, 0..tensor.rows() + 1, &mut rows).is_err(), "a row too many of {}", tensor.name);
            }
        }
        match import(folder.path(), &ImportOptions::default()) {
            Ok(_) => "imported".to_owned(),
            Err(error) => error.to_string().replace(folder.path().to_str().unwrap_or_default(), "").chars().take(200).collect(),
        }
    }

    /// Mutates the header as JSON and keeps its length right, or anything as bytes.
    fn mutate(&self, random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
        let (Some((header, data)), Some((donor, _))) = (parts(input), parts(other)) else { return mutate::bytes(random, input, other) };
        if random.below(4) == 0 {
            return mutate::bytes(random, input, other);
        }
        let text = header.to_string().into_bytes();
        match json_mutations::mutated(random, &text, &donor.to_string().into_bytes()) {
            Some(mutated) => framed(&mutated, &data),
            None => mutate::bytes(random, input, other),
        }
    }
}

/// Header and data of a file.
fn parts(file: &[u8]) -> Option<(Value, Vec<u8>)> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (header, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    Some((serde_json::from_slice(header).ok()?, data.to_vec()))
}

fn framed(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}
