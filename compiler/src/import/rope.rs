//! Rotary position embedding as configured: the base and how its frequencies are scaled.
//!
//! Two spellings exist. transformers 5 writes `rope_parameters {rope_type, rope_theta, …}`; older files write
//! `rope_theta` beside `rope_scaling {type | rope_type, …}`, which is null when nothing is scaled.

use super::{
    fault::Fault,
    fields::Fields,
    json_file::{brief, cut},
};
use serde_json::{Map, Value};
use slmc_ir::graph::RopeScaling;

/// Keys of the top level that this reader owns.
pub(super) const KEYS: &[&str] = &["rope_theta", "rope_scaling", "rope_parameters"];

/// What transformers takes when a file names no base.
const DEFAULT_THETA: f64 = 10_000.0;
/// Largest accepted base, far above any in use (10⁷).
const MAX_THETA: f64 = 1e12;
/// Largest accepted stretch of the context.
const MAX_FACTOR: f64 = 1e6;
/// Largest accepted original context, in tokens.
const MAX_CONTEXT: usize = 1 << 28;

/// Rotary embedding of one kind of layer.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Base of the geometric series of wave lengths.
    pub theta: f32,
    /// How frequencies are scaled for long contexts.
    pub scaling: RopeScaling,
}

/// Reads either spelling from the top level of `file`.
pub(super) fn read(file: &str, top: &Map<String, Value>, faults: &mut Vec<Fault>) -> RopeSpec {
    let mut fields = Fields::new(file, "", top, faults);
    let outer = theta(&mut fields);
    let object = |key: &str| top.get(key).filter(|v| !v.is_null());
    let (key, chosen) = match (object("rope_parameters"), object("rope_scaling")) {
        (Some(new), Some(old)) => {
            if new != old {
                fields.fault("rope_parameters", format!("differs from rope_scaling = {}; keep one of the two", brief(old)));
            }
            ("rope_parameters.", Some(new))
        }
        (Some(new), None) => ("rope_parameters.", Some(new)),
        (None, old) => ("rope_scaling.", old),
    };
    let plain = |theta: Option<f64>| RopeSpec { theta: theta.unwrap_or(DEFAULT_THETA) as f32, scaling: RopeScaling::Default };
    match chosen {
        None => plain(outer),
        Some(Value::Object(map)) => {
            let mut fields = Fields::new(file, key, map, faults);
            let inner = theta(&mut fields);
            if let (Some(inner), Some(outer)) = (inner, outer)
                && inner != outer
            {
                fields.fault("rope_theta", format!("found {inner}, but the top level says {outer}; keep one"));
            }
            RopeSpec { scaling: scaling(&mut fields), ..plain(inner.or(outer)) }
        }
        Some(other) => {
            fields.fault(key.trim_end_matches('.'), format!("found {}, an object or null is expected", brief(other)));
            plain(outer)
        }
    }
}

fn theta(fields: &mut Fields<'_>) -> Option<f64> {
    fields.optional_number("rope_theta", "a number above 0 and at most 1e12", |v| v as f32 > 0.0 && v <= MAX_THETA)
}

fn scaling(fields: &mut Fields<'_>) -> RopeScaling {
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
        Some("llama3") => ("llama3", &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"]),
        Some(other) => {
            let found = Value::String(cut(other.to_owned()));
            let key = if kind.is_some() { "rope_type" } else { "type" };
            fields.unsupported(key, &found, "supported are default, linear and llama3");
            return RopeScaling::Default;
        }
        None if of_layers || fields.map().is_empty() => ("default", &[]),
        None if fields.map().keys().all(|k| k == "rope_theta") => ("default", &[]),
        None => {
            fields.fault("rope_type", "is missing; default, linear or llama3 is needed");
            return RopeScaling::Default;
        }
    };
    refuse_others(fields, name, known);
    let at_least_one = |v: f64| (1.0..=MAX_FACTOR).contains(&v);
    let positive = |v: f64| v as f32 > 0.0 && v <= MAX_FACTOR;
    match name {
        "linear" => RopeScaling::Linear { factor: fields.number("factor", "a number from 1 to 1e6", at_least_one) as f32 },
        "llama3" => {
            let factor = fields.number("factor", "a number from 1 to 1e6", at_least_one);
            let low = fields.number("low_freq_factor", "a number above 0 and at most 1e6", positive);
            let high = fields.number("high_freq_factor", "a number above 0 and at most 1e6", positive);
            let both = |f: &Fields<'_>| ["low_freq_factor", "high_freq_factor"].iter().all(|k| f.value(k).is_some());
            if both(fields) && high as f32 <= low as f32 {
                fields.fault("high_freq_factor", format!("found {high}, which must be above low_freq_factor = {low}"));
            }
            RopeScaling::Llama3 {
                factor: factor as f32,
                low: low as f32,
                high: high as f32,
                original: fields.size("original_max_position_embeddings", 1..=MAX_CONTEXT) as u32,
            }
        }
        _ => RopeScaling::Default,
    }
}

/// A key that the rope type does not use changes the computation in a way that is not built, unless it is neutral.
fn refuse_others(fields: &mut Fields<'_>, name: &str, known: &[&str]) {
    for (key, value) in fields.map() {
        let read = ["rope_theta", "rope_type", "type"].contains(&key.as_str());
        let neutral = value.is_null()
            || (value.as_f64() == Some(1.0) && ["partial_rotary_factor", "factor", "attention_factor"].contains(&key.as_str()))
            || key == "original_max_position_embeddings";
        if !read && !neutral && !known.contains(&key.as_str()) {
            fields.unsupported(key, value, format!("rope type {name} does not use it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<RopeSpec, Vec<String>> {
        let mut faults = Vec::new();
        let Value::Object(map) = value else { panic!("tests pass objects") };
        let spec = read("config.json", &map, &mut faults);
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
            Ok(RopeSpec { theta: 10_000.0, scaling: RopeScaling::Linear { factor: 2.0 } })
        );
        assert_eq!(parse(json!({"rope_theta": 1e4, "rope_scaling": null})), parse(json!({})));
    }

    #[test]
    fn what_is_not_built_is_named() {
        for kind in ["yarn", "dynamic", "longrope"] {
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
