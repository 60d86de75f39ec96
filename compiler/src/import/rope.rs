//! Rotary position embedding as configured: the base, the rotated part of a head, and how frequencies are scaled.
//!
//! Two spellings exist. transformers 5 writes `rope_parameters {rope_type, rope_theta, …}`; older files write
//! `rope_theta` beside `rope_scaling {type | rope_type, …}`, which is null when nothing is scaled. Where layers differ, the new
//! spelling has an object for each type of layer, the old one a second base.
//!
//! LongRoPE (Ding et al., arXiv 2402.13753) has two lists of divisors and takes one by the length of the text. Here the length
//! that counts is that of the context, which a compile fixes: see [`LongRope::at`].

use super::{
    config::Config,
    fields::Fields,
    json_file::{brief, cut},
};
use serde_json::{Map, Value};
use slmc_ir::graph::RopeScaling;

/// Keys that this reader owns.
pub(super) const KEYS: &[&str] = &["original_max_position_embeddings", "rope_theta", "rope_scaling", "rope_parameters"];

/// What transformers takes when a file names no base.
const DEFAULT_THETA: f64 = 10_000.0;
/// The same for the layers of Gemma 3 that see all.
const DEFAULT_GLOBAL_THETA: f64 = 1_000_000.0;
/// Largest accepted base, far above any in use (10⁷).
const MAX_THETA: f64 = 1e12;
/// Largest accepted stretch of the context.
const MAX_FACTOR: f64 = 1e6;
/// Largest accepted original context, in tokens.
const MAX_CONTEXT: usize = 1 << 28;
/// Where the context that a model was first trained with is given.
const ORIGINAL: &str = "original_max_position_embeddings";
/// Where the rotated part of a head is given, the spelling of `rope_parameters` first.
const PART_KEYS: [&str; 2] = ["partial_rotary_factor", "rope_pct"];
/// Rope types that are built, for messages.
const BUILT: &str = "default, linear, llama3 and longrope";

/// Rotary embedding of one kind of layer.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Base of the geometric series of wave lengths.
    pub theta: f32,
    /// Leading dims of each head that are rotated; even.
    pub rotary_dim: usize,
    /// How frequencies are scaled for long contexts.
    pub scaling: Scaling,
}

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

impl RopeSpec {
    /// The scaling for a context of `ctx` tokens.
    pub fn scaling_at(&self, ctx: u32) -> RopeScaling {
        match &self.scaling {
            Scaling::Fixed(scaling) => scaling.clone(),
            Scaling::Long(long) => long.at(ctx),
        }
    }

    /// In words, what a context of `ctx` tokens decided, if it did.
    pub fn decided_at(&self, ctx: u32) -> Option<String> {
        let Scaling::Long(LongRope { original, .. }) = &self.scaling else { return None };
        let (list, relation) = if ctx > *original { ("long_factor", "exceeds") } else { ("short_factor", "does not exceed") };
        Some(format!("longrope uses {list}: the context of {ctx} {relation} original_max_position_embeddings = {original}"))
    }
}

impl LongRope {
    /// The scaling for a context of `ctx` tokens: the long divisors if it exceeds the original one.
    pub fn at(&self, ctx: u32) -> RopeScaling {
        let divisors = if ctx > self.original { &self.long } else { &self.short };
        RopeScaling::PerPair { magnitude: self.magnitude, divisors: divisors.clone() }
    }
}

/// What a family lets a configuration decide about rotation.
struct Allowed {
    /// Base where none is given.
    theta: f64,
    /// Rotated part of a head where none is given; `None` where heads are rotated whole.
    part: Option<f64>,
    head_dim: usize,
    ctx_max: usize,
    /// The sizes are those of the file.
    sound: bool,
}

/// What the top level says of rotation.
#[derive(Clone, Copy, Default)]
struct Outer {
    theta: Option<f64>,
    part: Option<f64>,
    original: Option<usize>,
}

impl Config<'_> {
    /// The rotation of all layers. `part` is the rotated part of a head where the configuration gives none, `None` in
    /// families that rotate whole heads.
    pub fn rope(&mut self, part: Option<f64>) -> RopeSpec {
        let allowed = Allowed { theta: DEFAULT_THETA, part, head_dim: self.sizes.head_dim, ctx_max: self.sizes.ctx_max, sound: self.is_sound() };
        read(&mut self.fields, &allowed)
    }

    /// The rotations of layers that see all and of those that see a window. `local_theta` is the key of the second base in
    /// the old spelling.
    pub fn rope_by_layer(&mut self, local_theta: &str) -> (RopeSpec, RopeSpec) {
        const NEW: &str = "rope_parameters";
        let (head_dim, ctx_max, sound) = (self.sizes.head_dim, self.sizes.ctx_max, self.is_sound());
        let global = Allowed { theta: DEFAULT_GLOBAL_THETA, part: None, head_dim, ctx_max, sound };
        let local = Allowed { theta: DEFAULT_THETA, part: None, head_dim, ctx_max, sound };
        let by_layer = match self.fields.value(NEW) {
            Some(Value::Object(map)) if map.values().any(Value::is_object) => map,
            _ => {
                let spec = read(&mut self.fields, &global);
                let theta = theta(&mut self.fields, local_theta).unwrap_or(DEFAULT_THETA) as f32;
                return (spec, RopeSpec { theta, rotary_dim: head_dim, scaling: Scaling::Fixed(RopeScaling::Default) });
            }
        };
        let prefix = format!("{}.", self.fields.path(NEW));
        for key in by_layer.keys().filter(|key| !["full_attention", "sliding_attention"].contains(&key.as_str())) {
            self.fields.within(&prefix, by_layer).unsupported(key, &by_layer[key], "types of layers are full_attention and sliding_attention");
        }
        let mut of = |kind: &str, allowed: &Allowed| match by_layer.get(kind) {
            Some(Value::Object(map)) => object(&mut self.fields.within(&format!("{prefix}{kind}."), map), Outer::default(), allowed),
            _ => {
                self.fields.within(&prefix, by_layer).fault(kind, "an object is expected here");
                RopeSpec { theta: allowed.theta as f32, rotary_dim: head_dim, scaling: Scaling::Fixed(RopeScaling::Default) }
            }
        };
        (of("full_attention", &global), of("sliding_attention", &local))
    }
}

/// Reads either spelling from the top level of the configuration.
fn read(fields: &mut Fields<'_>, allowed: &Allowed) -> RopeSpec {
    let outer = Outer {
        theta: theta(fields, "rope_theta"),
        part: PART_KEYS.iter().find_map(|key| part(fields, key, allowed)),
        original: fields.optional_size(ORIGINAL, 2..=MAX_CONTEXT),
    };
    let (key, chosen) = match (fields.value("rope_parameters"), fields.value("rope_scaling")) {
        (Some(new), Some(old)) => {
            if new != old {
                fields.fault("rope_parameters", format!("differs from rope_scaling = {}; keep one of the two", brief(old)));
            }
            ("rope_parameters", Some(new))
        }
        (Some(new), None) => ("rope_parameters", Some(new)),
        (None, old) => ("rope_scaling", old),
    };
    match chosen {
        Some(Value::Object(map)) => {
            let prefix = format!("{}.", fields.path(key));
            object(&mut fields.within(&prefix, map), outer, allowed)
        }
        Some(other) => {
            fields.fault(key, format!("found {}, an object or null is expected", brief(other)));
            object(&mut fields.within("", &Map::new()), outer, allowed)
        }
        None => object(&mut fields.within("", &Map::new()), outer, allowed),
    }
}

/// Reads `rope_parameters` or `rope_scaling`, which may be empty.
fn object(fields: &mut Fields<'_>, outer: Outer, allowed: &Allowed) -> RopeSpec {
    let theta = one_of("rope_theta", theta(fields, "rope_theta"), outer.theta, fields).unwrap_or(allowed.theta) as f32;
    let inner = part(fields, PART_KEYS[0], allowed);
    let part = one_of(PART_KEYS[0], inner, outer.part, fields).or(allowed.part).unwrap_or(1.0);
    let rotary_dim = (allowed.head_dim as f64 * part) as usize;
    if allowed.sound && allowed.part.is_some() && (rotary_dim == 0 || !rotary_dim.is_multiple_of(2)) {
        let of = allowed.head_dim;
        fields.fault(PART_KEYS[0], format!("found {part}, which rotates {rotary_dim} of the {of} dims of a head; an even number is needed"));
    }
    RopeSpec { theta, rotary_dim, scaling: scaling(fields, outer, rotary_dim, allowed) }
}

/// A value that may be in the object and at the top level, but not twice with a difference.
fn one_of(key: &str, inner: Option<f64>, outer: Option<f64>, fields: &mut Fields<'_>) -> Option<f64> {
    if let (Some(inner), Some(outer)) = (inner, outer)
        && inner != outer
    {
        fields.fault(key, format!("found {inner}, but the top level says {outer}; keep one"));
    }
    inner.or(outer)
}

fn theta(fields: &mut Fields<'_>, key: &str) -> Option<f64> {
    fields.optional_number(key, "a number above 0 and at most 1e12", |v| v as f32 > 0.0 && v <= MAX_THETA)
}

/// The rotated part of a head, in families that have one.
fn part(fields: &mut Fields<'_>, key: &str, allowed: &Allowed) -> Option<f64> {
    allowed.part?;
    fields.optional_number(key, "a number above 0 and at most 1", |v| v > 0.0 && v <= 1.0)
}

fn scaling(fields: &mut Fields<'_>, outer: Outer, rotary_dim: usize, allowed: &Allowed) -> Scaling {
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

/// The factor on cosines and sines is sqrt(1 + ln(s) / ln(original)) where the model stretches its original context s times.
fn long(fields: &mut Fields<'_>, outer: Outer, rotary_dim: usize, allowed: &Allowed) -> LongRope {
    let inner = fields.optional_size(ORIGINAL, 2..=MAX_CONTEXT);
    let original = match one_of(ORIGINAL, inner.map(|v| v as f64), outer.original.map(|v| v as f64), fields) {
        Some(original) => original,
        None => {
            if fields.value(ORIGINAL).is_none() {
                fields.fault(ORIGINAL, "is missing; longrope needs it here or at the top level");
            }
            2.0
        }
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::Fault;
    use serde_json::json;

    fn parse(value: Value) -> Result<RopeSpec, Vec<String>> {
        parse_part(value, None)
    }

    /// Heads of 16 dims, made for 8192 tokens.
    fn parse_part(value: Value, part: Option<f64>) -> Result<RopeSpec, Vec<String>> {
        let mut faults = Vec::new();
        let Value::Object(map) = value else { panic!("tests pass objects") };
        let allowed = Allowed { theta: DEFAULT_THETA, part, head_dim: 16, ctx_max: 8192, sound: true };
        let spec = read(&mut Fields::new("config.json", "", &map, &mut faults), &allowed);
        if faults.is_empty() { Ok(spec) } else { Err(faults.iter().map(Fault::to_string).collect()) }
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let old = parse(json!({"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}));
        let new = parse(json!({"rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}));
        assert_eq!(old, new);
        assert_eq!(
            parse(json!({"rope_scaling": {"type": "linear", "factor": 2}})),
            Ok(RopeSpec { theta: 10_000.0, rotary_dim: 16, scaling: Scaling::Fixed(RopeScaling::Linear { factor: 2.0 }) })
        );
        assert_eq!(parse(json!({"rope_theta": 1e4, "rope_scaling": null})), parse(json!({})));
    }

    #[test]
    fn what_is_not_built_is_named() {
        for kind in ["yarn", "dynamic", "mrope"] {
            let faults = parse(json!({"rope_scaling": {"rope_type": kind, "factor": 2.0}})).unwrap_err();
            assert!(faults[0].contains(kind) && faults[0].contains("rope_scaling.rope_type"), "{faults:?}");
        }
        let faults = parse(json!({"rope_parameters": {"rope_type": "llama3", "rope_theta": -1, "factor": 0.5,
            "low_freq_factor": 4.0, "high_freq_factor": 1.0, "attention_factor": 0.7}}))
        .unwrap_err();
        for key in ["rope_theta", "rope_parameters.factor", "high_freq_factor", "attention_factor", "original_max"] {
            assert!(faults.iter().any(|f| f.contains(key)), "{key}: {faults:?}");
        }
        let nested = parse(json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}})).unwrap_err();
        assert!(nested[0].contains("full_attention"), "{nested:?}");
    }
}
