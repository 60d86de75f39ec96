//! How the frequencies of a rotation are scaled for contexts longer than the model was first trained with.
//!
//! LongRoPE (Ding et al., arXiv 2402.13753) has two lists of divisors and takes one by the length of the text. Here the length
//! that counts is that of the context, which a compile fixes: see [`LongRope::at`]. The others are the same for every context.

use super::{
    fields::Fields,
    json_file::{brief, cut},
    rope::{Allowed, MAX_CONTEXT, ORIGINAL, Outer, PART_KEYS, one_of},
};
use serde_json::Value;
use slmc_ir::graph::RopeScaling;

/// Largest accepted stretch of the context.
const MAX_FACTOR: f64 = 1e6;
/// Rope types that are built, for messages.
const BUILT: &str = "default, linear, llama3, yarn and longrope";

/// Frequency scaling as configured.
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    /// The same for every context.
    Fixed(RopeScaling),
    /// By the context.
    Long(LongRope),
}

/// LongRoPE as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct LongRope {
    /// Divisors of the frequencies for contexts up to `original`.
    pub short: Vec<f32>,
    /// Divisors for longer ones.
    pub long: Vec<f32>,
    /// Tokens of the context that the model was first trained with.
    pub original: u32,
    /// Factor on cosines and sines.
    pub magnitude: f32,
}

impl LongRope {
    /// The scaling for a context of `ctx` tokens: the long divisors if it exceeds the original one.
    pub fn at(&self, ctx: u32) -> RopeScaling {
        let divisors = if ctx > self.original { &self.long } else { &self.short };
        RopeScaling::PerPair { magnitude: self.magnitude, divisors: divisors.clone() }
    }
}

/// Reads the scaling of a rotation of base `theta` over `rotary_dim` dims from `rope_parameters` or `rope_scaling`.
pub(super) fn read(fields: &mut Fields<'_>, outer: Outer, theta: f32, rotary_dim: usize, allowed: &Allowed) -> Scaling {
    let kind = fields.optional_text("rope_type");
    let older = fields.optional_text("type");
    if let (Some(kind), Some(older)) = (kind, older)
        && kind != older
    {
        fields.fault("rope_type", format!("found \"{kind}\", but type says \"{older}\"; keep one"));
    }
    let of_layers = fields.map().values().any(Value::is_object);
    let (name, known): (&str, &[&str]) = match kind.or(older) {
        Some("default") => ("default", &[]),
        Some("linear") => ("linear", &["factor"]),
        Some("llama3") => ("llama3", &["factor", "low_freq_factor", "high_freq_factor", ORIGINAL]),
        // The name of the first checkpoints.
        Some("longrope" | "su") => ("longrope", &["short_factor", "long_factor", "attention_factor", "factor", ORIGINAL]),
        Some("yarn") => ("yarn", &["factor", "beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate", ORIGINAL]),
        Some(other) => {
            let found = Value::String(cut(other.to_owned()));
            let key = if kind.is_some() { "rope_type" } else { "type" };
            fields.unsupported(key, &found, format!("supported are {BUILT}"));
            return Scaling::Fixed(RopeScaling::Default);
        }
        None if of_layers || fields.map().is_empty() => ("default", &[]),
        None if fields.map().keys().all(|k| ["rope_theta", PART_KEYS[0]].contains(&k.as_str())) => ("default", &[]),
        None => {
            fields.fault("rope_type", format!("is missing; {BUILT} are supported"));
            return Scaling::Fixed(RopeScaling::Default);
        }
    };
    refuse_others(fields, name, known, allowed);
    match name {
        "linear" => Scaling::Fixed(RopeScaling::Linear { factor: stretch(fields) }),
        "llama3" => Scaling::Fixed(llama3(fields)),
        "yarn" => Scaling::Fixed(yarn(fields, outer, theta, rotary_dim)),
        "longrope" => Scaling::Long(long(fields, outer, rotary_dim, allowed)),
        _ => Scaling::Fixed(RopeScaling::Default),
    }
}

fn stretch(fields: &mut Fields<'_>) -> f32 {
    fields.number("factor", "a number from 1 to 1e6", |v| (1.0..=MAX_FACTOR).contains(&v)) as f32
}

fn llama3(fields: &mut Fields<'_>) -> RopeScaling {
    let positive = |v: f64| v as f32 > 0.0 && v <= MAX_FACTOR;
    let factor = stretch(fields);
    let low = fields.number("low_freq_factor", "a number above 0 and at most 1e6", positive);
    let high = fields.number("high_freq_factor", "a number above 0 and at most 1e6", positive);
    let both = ["low_freq_factor", "high_freq_factor"].iter().all(|k| fields.value(k).is_some());
    if both && high as f32 <= low as f32 {
        fields.fault("high_freq_factor", format!("found {high}, which must be above low_freq_factor = {low}"));
    }
    RopeScaling::Llama3 { factor, low: low as f32, high: high as f32, original: fields.size(ORIGINAL, 1..=MAX_CONTEXT) as u32 }
}

/// The context that the model was first trained with, from the object or the top level.
fn original(fields: &mut Fields<'_>, outer: Outer) -> f64 {
    let inner = fields.optional_size(ORIGINAL, 2..=MAX_CONTEXT);
    match one_of(ORIGINAL, inner.map(|v| v as f64), outer.original.map(|v| v as f64), fields) {
        Some(original) => original,
        None => {
            if fields.value(ORIGINAL).is_none() {
                fields.fault(ORIGINAL, "is missing; it is needed here or at the top level");
            }
            2.0
        }
    }
}

/// YaRN (Peng et al., arXiv 2309.00071): frequencies that turn at least `beta_fast` times in the original context stay, those that
/// turn at most `beta_slow` times are divided by the factor, and between the two the divisor's inverse changes evenly from pair to
/// pair. Cosines and sines grow with the logarithm of the factor.
fn yarn(fields: &mut Fields<'_>, outer: Outer, theta: f32, rotary_dim: usize) -> RopeScaling {
    let positive = |v: f64| v as f32 > 0.0 && v <= MAX_FACTOR;
    let expected = "a number above 0 and at most 1e6";
    let factor = f64::from(stretch(fields));
    let original = original(fields, outer);
    let fast = fields.optional_number("beta_fast", expected, positive).unwrap_or(32.0);
    let slow = fields.optional_number("beta_slow", expected, positive).unwrap_or(1.0);
    if slow > fast {
        fields.fault("beta_slow", format!("found {slow}, at most beta_fast = {fast} is expected"));
    }
    let growth = |weight: f64| if factor > 1.0 { 0.1 * weight * factor.ln() + 1.0 } else { 1.0 };
    let scales = ["mscale", "mscale_all_dim"].map(|key| fields.optional_number(key, "a number from 0 to 1e6", |v| (0.0..=MAX_FACTOR).contains(&v)));
    let by_factor = match scales {
        [Some(one), Some(all)] if one > 0.0 && all > 0.0 => growth(one) / growth(all),
        _ => growth(1.0),
    };
    let magnitude = fields.optional_number("attention_factor", expected, positive).unwrap_or(by_factor);
    let whole = fields.flag("truncate", true);
    if theta <= 1.0 {
        fields.fault("rope_theta", format!("found {theta}, a number above 1 is expected with yarn"));
    }
    // The pair that turns so often in the original context.
    let pair = |turns: f64| rotary_dim as f64 * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * f64::from(theta).ln());
    let (first, last) = (pair(fast), pair(slow));
    let (first, last) = if whole { (first.floor(), last.ceil()) } else { (first, last) };
    let (first, mut last) = (first.max(0.0), last.min(rotary_dim as f64 - 1.0));
    if first == last {
        last += 0.001;
    }
    let divisor = |i: usize| {
        let divided = ((i as f64 - first) / (last - first)).clamp(0.0, 1.0);
        (1.0 / (divided / factor + 1.0 - divided)) as f32
    };
    RopeScaling::PerPair { magnitude: magnitude as f32, divisors: (0..rotary_dim / 2).map(divisor).collect() }
}

/// The factor on cosines and sines is sqrt(1 + ln(s) / ln(original)) where the model stretches its original context s times.
fn long(fields: &mut Fields<'_>, outer: Outer, rotary_dim: usize, allowed: &Allowed) -> LongRope {
    let original = original(fields, outer);
    let stretch = allowed.ctx_max as f64 / original;
    if let Some(factor) = fields.optional_number("factor", "a number above 0 and at most 1e6", |v| v > 0.0 && v <= MAX_FACTOR)
        && factor != stretch
    {
        fields.fault("factor", format!("found {factor}, but max_position_embeddings / {ORIGINAL} is {stretch}; remove it"));
    }
    let by_stretch = if stretch > 1.0 { (1.0 + stretch.ln() / original.ln()).sqrt() } else { 1.0 };
    let magnitude = fields.optional_number("attention_factor", "a number above 0 and at most 1e6", |v| v as f32 > 0.0 && v <= MAX_FACTOR);
    let (short, long) = (divisors(fields, "short_factor", rotary_dim, allowed), divisors(fields, "long_factor", rotary_dim, allowed));
    LongRope { short, long, original: original as u32, magnitude: magnitude.unwrap_or(by_stretch) as f32 }
}

/// A list of divisors, one for each rotated pair of dims.
fn divisors(fields: &mut Fields<'_>, key: &str, rotary_dim: usize, allowed: &Allowed) -> Vec<f32> {
    let pairs = rotary_dim / 2;
    match fields.value(key) {
        None => fields.fault(key, format!("is missing; a list of {pairs} numbers is needed")),
        Some(Value::Array(list)) if allowed.sound && list.len() != pairs => {
            fields.fault(key, format!("has {} numbers, {pairs} are expected: one for each rotated pair of dims of a head", list.len()));
        }
        Some(Value::Array(list)) => {
            let read = |v: &Value| v.as_f64().filter(|v| *v as f32 > 0.0 && *v <= MAX_FACTOR).map(|v| v as f32);
            if let Some(at) = list.iter().position(|v| read(v).is_none()) {
                fields.fault(key, format!("entry {at}: found {}, a number above 0 and at most 1e6 is expected", brief(&list[at])));
            }
            return list.iter().filter_map(read).collect();
        }
        Some(other) => fields.fault(key, format!("found {}, a list of {pairs} numbers is expected", brief(other))),
    }
    vec![1.0; pairs]
}

/// A key that the rope type does not use changes the computation in a way that is not built, unless it is neutral.
fn refuse_others(fields: &mut Fields<'_>, name: &str, known: &[&str], allowed: &Allowed) {
    for (key, value) in fields.map() {
        let read = ["rope_theta", "rope_type", "type"].contains(&key.as_str()) || (key == PART_KEYS[0] && allowed.part.is_some());
        let neutral = value.is_null()
            || (value.as_f64() == Some(1.0) && [PART_KEYS[0], "factor", "attention_factor"].contains(&key.as_str()))
            || key == ORIGINAL;
        if !read && !neutral && !known.contains(&key.as_str()) {
            fields.unsupported(key, value, format!("rope type {name} does not use it"));
        }
    }
}
