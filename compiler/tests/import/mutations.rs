//! Random damage, the same in every run: an import may fail, it may not panic or run away.

use super::copies::Copy;
use slmc::import::{Checkpoint, ImportOptions, import};
use slmc_ir::graph::verify::verify;
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
};

/// SplitMix64 (Steele, Lea, Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// A byte that means something to a parser, or any.
fn byte(random: &mut Random) -> u8 {
    let telling = b"{}[]\",:0123456789.-eE\\nulltrf \x00\xff";
    if random.below(2) == 0 { telling[random.below(telling.len())] } else { random.next() as u8 }
}

#[test]
fn damaged_headers_never_panic() {
    let copy = Copy::of("llama-tied");
    let path = copy.path("model.safetensors");
    let sound = fs::read(&path).unwrap();
    let mut length = [0; 8];
    length.copy_from_slice(&sound[..8]);
    let header = 8 + u64::from_le_bytes(length) as usize;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let mut random = Random(1);
    let mut refused = 0;
    for round in 0..3000 {
        let mut damaged = sound[..header].to_vec();
        // Every tenth round hits the length itself.
        let reach = if round % 10 == 0 { 8 } else { header };
        for _ in 0..=random.below(4) {
            damaged[random.below(reach)] = byte(&mut random);
        }
        file.write_all_at(&damaged, 0).unwrap();
        refused += usize::from(copy.import().is_err());
    }
    assert!(refused > 2500, "only {refused} of 3000 damaged headers were refused");
}

#[test]
fn damaged_configurations_never_panic() {
    let copy = Copy::of("llama3-rope");
    let sound = fs::read(copy.path("config.json")).unwrap();
    let mut random = Random(2);
    for _ in 0..1000 {
        let mut damaged = sound.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(damaged.len());
            match random.below(4) {
                0 => damaged.insert(at, byte(&mut random)),
                1 => {
                    damaged.remove(at);
                }
                _ => damaged[at] = byte(&mut random),
            }
        }
        copy.write("config.json", &damaged);
        if let Ok(model) = import(copy.dir(), &ImportOptions::default()) {
            assert!(verify(&model.graph).is_ok());
        }
    }
}

#[test]
fn damaged_indices_never_panic() {
    let copy = Copy::of("llama-tied");
    let tensors = copy.tensors();
    copy.store("model-1.safetensors", &tensors);
    copy.remove("model.safetensors");
    let map: serde_json::Map<_, _> = tensors.iter().map(|t| (t.name.clone(), "model-1.safetensors".into())).collect();
    let sound = serde_json::json!({"weight_map": map}).to_string().into_bytes();
    let mut random = Random(3);
    for _ in 0..1000 {
        let mut damaged = sound.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(damaged.len());
            damaged[at] = byte(&mut random);
        }
        copy.write("model.safetensors.index.json", &damaged);
        let _ = Checkpoint::open(copy.dir());
    }
}
