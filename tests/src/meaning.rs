//! Whether two graphs compute the same, by the interpreter, with weights and inputs made up from a hash.
//!
//! A weight's numbers follow from its content hash, or from its name where it has none, so that weights which `share` may
//! make one are equal here too. Two steps are run, so that the cache is read.

use std::ops::Range;

use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{DType, Dim, Graph, SegmentKind, TensorType, Weight, WeightSource};
use slmc_ir::interp::graph::{GraphInterp, Tensor};

/// Tokens of the steps that are run.
const STEPS: [usize; 2] = [3, 1];

/// Relative difference that reordered roundings may make.
const TOLERANCE: f32 = 1e-5;

/// Runs both graphs on the same inputs; `Err` names the first result that differs.
pub fn same(before: &Graph, after: &Graph) -> Result<(), String> {
    for which in [SegmentKind::Body, SegmentKind::Head] {
        let (a, b) = (results(before, which)?, results(after, which)?);
        if a.len() != b.len() {
            return Err(format!("the {which:?} gave {} results and now gives {}", a.len(), b.len()));
        }
        for (i, (a, b)) in a.iter().zip(&b).enumerate() {
            if let Some(at) = a.iter().zip(b).position(|(a, b)| !close(*a, *b)) {
                return Err(format!("result {i} of the {which:?} differs: element {at} was {} and is {}", a[at], b[at]));
            }
            if a.len() != b.len() {
                return Err(format!("result {i} of the {which:?} had {} elements and has {}", a.len(), b.len()));
            }
        }
    }
    Ok(())
}

fn close(a: f32, b: f32) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * (1.0 + a.abs())
}

/// Every output of every step, flat.
fn results(g: &Graph, which: SegmentKind) -> Result<Vec<Vec<f32>>, String> {
    let mut interp = GraphInterp::new(g, &Noise).map_err(|e| e.to_string())?;
    let mut results = Vec::new();
    for (step, &rows) in STEPS.iter().enumerate() {
        let inputs = g.segment(which).inputs.iter().enumerate();
        let inputs = inputs.map(|(i, &v)| input(g, &g.values[v].ty, rows, (step * 16 + i) as u64)).collect();
        for output in interp.run(which, inputs).map_err(|e| e.to_string())? {
            results.push(match output {
                Tensor::Rows { data, .. } => data,
                Tensor::Tokens(ids) => ids.into_iter().map(|id| id as f32).collect(),
                Tensor::Quantized { codes, .. } => codes.into_iter().map(f32::from).collect(),
                Tensor::Slot(..) => Vec::new(),
            });
        }
    }
    Ok(results)
}

/// An input of type `ty` for a step of `rows` tokens; ids stay below every table of the graph.
fn input(g: &Graph, ty: &TensorType, rows: usize, seed: u64) -> Tensor {
    if ty.dtype == DType::U32 {
        let tables = g.weights.iter().filter_map(|(_, w)| w.ty.shape.first());
        let vocab = tables.filter_map(|d| if let Dim::Const(n) = d { Some(u64::from(*n)) } else { None }).min().unwrap_or(1);
        return Tensor::Tokens((0..rows).map(|t| (mix(seed, t as u64) % vocab) as u32).collect());
    }
    let width = ty.last().unwrap_or(0) as usize;
    Tensor::Rows { width, data: (0..rows * width).map(|i| noise(seed, i as u64)).collect() }
}

/// Made-up weights.
struct Noise;

impl WeightProvider for Noise {
    fn rows(&self, weight: &Weight, rows: Range<u32>) -> Result<Vec<f32>, String> {
        let WeightSource::Tensor { name, .. } = &weight.source;
        let bytes: &[u8] = weight.hash.as_ref().map_or(name.as_bytes(), |h| h);
        let seed = bytes.iter().fold(0, |seed, &b| mix(seed, u64::from(b)));
        let k = u64::from(weight.ty.last().unwrap_or(0));
        Ok((u64::from(rows.start) * k..u64::from(rows.end) * k).map(|i| noise(seed, i)).collect())
    }
}

/// A number in −1 … 1.
fn noise(seed: u64, index: u64) -> f32 {
    (mix(seed, index) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// The finalizer of splitmix64 over a seed and an index.
fn mix(seed: u64, index: u64) -> u64 {
    let mut x = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
