//! Picks a token from a row of logits, in the order of llama.cpp's default chain: repetition penalty, top-k, top-p,
//! min-p, temperature, draw.
//!
//! Ties are broken by the lower id everywhere, so greedy takes the first maximum and every filter has one answer. A
//! logit that is NaN counts as the lowest. All work happens in a scratch of one `u64` for each vocabulary entry: the
//! upper half is the logit mapped to an integer of the same order, the lower half the complement of the id, so that
//! plain integer order is "more likely first, then lower id first".

use crate::fault::{Code, Fault, Outcome, Value};
use crate::math::exp;

/// How to pick. In C: `slm_sampling`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 = greedy; else logits are divided by it after all filters.
    pub temperature: f32,
    /// Keep this many of the most likely tokens; 0 = all.
    pub top_k: u32,
    /// Keep the fewest tokens whose probabilities sum to at least this, 0 < p ≤ 1; 1 = all.
    pub top_p: f32,
    /// Drop tokens less likely than this share of the most likely one, 0 ≤ p < 1; 0 = none.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of recent tokens; 1 = off.
    pub repetition_penalty: f32,
    /// How many of the last tokens are recent; 0 = off.
    pub repetition_window: u32,
    /// Draws are a function of seed and position: the same seed gives the same answer.
    pub seed: u64,
}

impl Sampling {
    /// The most likely token, always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, repetition_window: 0, seed: 0 };

    /// Whether the answer is the first greatest logit, whatever the other fields say.
    pub fn takes_greatest(&self) -> bool {
        self.temperature == 0.0 && self.repetition_penalty == 1.0
    }

    /// Refuses values outside the ranges above.
    ///
    /// # Errors
    /// [`Code::Argument`] names the field.
    pub fn check(&self) -> Outcome<()> {
        let checks = [
            (self.temperature >= 0.0 && self.temperature.is_finite(), "temperature", "a finite number, 0 or more"),
            (self.top_p > 0.0 && self.top_p <= 1.0, "top_p", "above 0, up to 1"),
            (self.min_p >= 0.0 && self.min_p < 1.0, "min_p", "0 or more, below 1"),
            (self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(), "repetition_penalty", "a finite number above 0"),
        ];
        for (holds, field, range) in checks {
            if !holds {
                return Err(Fault::new(Code::Argument, field, "is out of range").values(Value::Text(range), Value::None));
            }
        }
        Ok(())
    }
}

/// Picks a token. `recent` are the last tokens of the session, newest last; `position` makes draws differ from step to
/// step; `scratch` is at least as long as `logits`, which is not empty. `sampling` has passed [`Sampling::check`].
pub fn sample(logits: &[f32], recent: &[u32], sampling: &Sampling, position: u32, scratch: &mut [u64]) -> u32 {
    if sampling.takes_greatest() {
        return first_maximum(logits);
    }
    let scratch = &mut scratch[..logits.len()];
    let window = recent.len().min(sampling.repetition_window as usize);
    let recent = &recent[recent.len() - window..];
    for (id, (place, &logit)) in scratch.iter_mut().zip(logits).enumerate() {
        *place = key(logit, id as u32);
    }
    if sampling.repetition_penalty != 1.0 {
        penalize(logits, recent, sampling.repetition_penalty, scratch);
    }
    if sampling.temperature == 0.0 {
        return id_of(scratch.iter().copied().max().unwrap_or(0));
    }
    let kept = filter(scratch, sampling);
    draw(kept, sampling.temperature, uniform(sampling.seed, position))
}

fn first_maximum(logits: &[f32]) -> u32 {
    let mut best = (f32::NEG_INFINITY, 0);
    for (id, &logit) in logits.iter().enumerate() {
        // False for NaN.
        if logit > best.0 {
            best = (logit, id as u32);
        }
    }
    best.1
}

/// Once for each token that occurs among the recent ones, however often.
fn penalize(logits: &[f32], recent: &[u32], penalty: f32, keys: &mut [u64]) {
    for &id in recent {
        let Some(&logit) = logits.get(id as usize) else {
            continue;
        };
        let place = &mut keys[id as usize];
        if *place == key(logit, id) {
            *place = key(if logit > 0.0 { logit / penalty } else { logit * penalty }, id);
        }
    }
}

/// Applies top-k, top-p and min-p; at least one candidate is left.
fn filter<'a>(keys: &'a mut [u64], sampling: &Sampling) -> &'a mut [u64] {
    let all = keys.len();
    let k = if sampling.top_k == 0 { all } else { all.min(sampling.top_k as usize) };
    if k == all && sampling.top_p >= 1.0 {
        return filter_unsorted(keys, sampling.min_p);
    }
    make_heap(keys);
    let best = logit_of(keys[0]);
    let weight = |key: u64| f64::from(exp(logit_of(key) - best));
    // The most likely ones are popped to the end of the slice, so `keys[all - n..]` holds n of them, best last.
    let mut popped = 0;
    let mut mass = 0.0;
    if k < all {
        while popped < k {
            pop_heap(&mut keys[..all - popped]);
            popped += 1;
            mass += weight(keys[all - popped]);
        }
    } else {
        mass = keys.iter().map(|&key| weight(key)).sum();
    }
    let mut kept = 0;
    let mut sum = 0.0;
    while kept < k && (kept == 0 || sampling.top_p >= 1.0 || sum < f64::from(sampling.top_p) * mass) {
        if kept == popped {
            pop_heap(&mut keys[..all - popped]);
            popped += 1;
        }
        let next = weight(keys[all - 1 - kept]);
        if kept > 0 && next < f64::from(sampling.min_p) {
            break;
        }
        sum += next;
        kept += 1;
    }
    &mut keys[all - kept..]
}

fn filter_unsorted(keys: &mut [u64], min_p: f32) -> &mut [u64] {
    if min_p <= 0.0 {
        return keys;
    }
    let best = logit_of(keys.iter().copied().max().unwrap_or(0));
    let mut kept = 0;
    for i in 0..keys.len() {
        if exp(logit_of(keys[i]) - best) >= min_p {
            keys.swap(kept, i);
            kept += 1;
        }
    }
    &mut keys[..kept.max(1)]
}

/// Picks in proportion to e^(logit / temperature); `at` is in 0 ..= 1.
fn draw(keys: &[u64], temperature: f32, at: f64) -> u32 {
    let best = logit_of(keys.iter().copied().max().unwrap_or(0));
    let weight = |key: u64| f64::from(exp((logit_of(key) - best) / temperature));
    let total: f64 = keys.iter().map(|&key| weight(key)).sum();
    let mut left = at * total;
    let mut picked = 0;
    for &key in keys.iter().rev() {
        let share = weight(key);
        if share > 0.0 {
            picked = key;
            if left < share {
                break;
            }
            left -= share;
        }
    }
    id_of(picked)
}

/// A number in 0 .. 1 from seed and position: two rounds of the SplitMix64 finalizer (Steele et al., 2014).
fn uniform(seed: u64, position: u32) -> f64 {
    let mixed = mix(mix(seed ^ 0x5851_f42d_4c95_7f2d).wrapping_add(u64::from(position).wrapping_mul(GOLDEN)));
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn key(logit: f32, id: u32) -> u64 {
    let logit = if logit.is_nan() { f32::MIN } else { logit.clamp(f32::MIN, f32::MAX) };
    // Adding 0 turns −0 into +0, which must compare equal.
    let bits = (logit + 0.0).to_bits();
    let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(ordered) << 32 | u64::from(!id)
}

fn logit_of(key: u64) -> f32 {
    let ordered = (key >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

fn id_of(key: u64) -> u32 {
    !(key as u32)
}

/// Orders a slice as a binary heap, largest first.
fn make_heap(heap: &mut [u64]) {
    for at in (0..heap.len() / 2).rev() {
        sift_down(heap, at);
    }
}

/// Moves the largest value to the end; the rest stays a heap. `heap` is not empty.
fn pop_heap(heap: &mut [u64]) {
    let last = heap.len() - 1;
    heap.swap(0, last);
    sift_down(&mut heap[..last], 0);
}

fn sift_down(heap: &mut [u64], mut at: usize) {
    loop {
        let mut child = 2 * at + 1;
        if child >= heap.len() {
            return;
        }
        if child + 1 < heap.len() && heap[child + 1] > heap[child] {
            child += 1;
        }
        if heap[at] >= heap[child] {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}
