//! Rotary position embedding as configured: the base, the rotated part of a head, and, in `scaling.rs`, how frequencies are
//! scaled.
//!
//! Two spellings exist. transformers 5 writes `rope_parameters {rope_type, rope_theta, …}`; older files write
//! `rope_theta` beside `rope_scaling {type | rope_type, …}`, which is null when nothing is scaled. Where layers differ, the new
//! spelling has an object for each type of layer, the old one a second base.

use super::{
    config::Config,
    fields::Fields,
    json_file::brief,
    scaling::{self, LongRope, Scaling},
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
/// Largest accepted original context, in tokens.
pub(super) const MAX_CONTEXT: usize = 1 << 28;
/// Where the context that a model was first trained with is given.
pub(super) const ORIGINAL: &str = "original_max_position_embeddings";
/// Where the rotated part of a head is given, the spelling of `rope_parameters` first.
pub(super) const PART_KEYS: [&str; 2] = ["partial_rotary_factor", "rope_pct"];

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

/// What a family lets a configuration decide about rotation.
pub(super) struct Allowed {
    /// Base where none is given.
    pub theta: f64,
    /// Rotated part of a head where none is given; `None` where heads are rotated whole.
    pub part: Option<f64>,
    /// Dims of a head.
    pub head_dim: usize,
    /// Tokens that the model was made for.
    pub ctx_max: usize,
    /// The sizes are those of the file.
    pub sound: bool,
}

/// What the top level says of rotation.
#[derive(Clone, Copy, Default)]
pub(super) struct Outer {
    /// The base.
    pub theta: Option<f64>,
    /// The rotated part of a head.
    pub part: Option<f64>,
    /// The context that the model was first trained with.
    pub original: Option<usize>,
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
    RopeSpec { theta, rotary_dim, scaling: scaling::read(fields, outer, theta, rotary_dim, allowed) }
}

/// A value that may be in the object and at the top level, but not twice with a difference.
pub(super) fn one_of(key: &str, inner: Option<f64>, outer: Option<f64>, fields: &mut Fields<'_>) -> Option<f64> {
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
        for kind in ["dynamic", "mrope"] {
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
