//! Mutations of bytes, and the choice between them and those of JSON.

use super::json;
use super::random::Random;

/// Longest input that a mutation makes.
pub const LONGEST: usize = 1 << 20;

/// Numbers at which readers of binary files go wrong.
const NUMBERS: [u64; 12] = [0, 1, 7, 8, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Mutates JSON as JSON mostly, and anything as bytes.
pub fn any(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    if random.below(4) > 0
        && let Some(mutated) = json::mutated(random, input, other)
    {
        return mutated;
    }
    bytes(random, input, other)
}

/// One to four mutations of bytes.
pub fn bytes(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        once(random, &mut bytes, other);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn once(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len() + 1);
    let rest = bytes.len() - at;
    let len = random.below(rest.min(64) + 1);
    match random.below(9) {
        0 if rest > 0 => bytes[at] ^= 1 << random.below(8),
        1 if rest > 0 => bytes[at] = random.number() as u8,
        2 => bytes.insert(at, random.number() as u8),
        3 => drop(bytes.drain(at..at + len)),
        4 => bytes.truncate(at),
        5 => {
            let again = bytes[at..at + len].to_vec();
            bytes.splice(at..at, again);
        }
        6 => {
            let width = *random.of(&[1, 2, 4, 8]);
            let number = random.of(&NUMBERS).to_le_bytes();
            bytes.iter_mut().skip(at).zip(&number[..width]).for_each(|(slot, &byte)| *slot = byte);
        }
        7 => {
            let from = random.below(other.len() + 1);
            let len = random.below((other.len() - from).min(256) + 1);
            let end = (at + len).min(bytes.len());
            bytes.splice(at..end, other[from..from + len].iter().copied());
        }
        _ => {
            let end = (at + len).min(bytes.len());
            bytes[at..end].reverse();
        }
    }
}
