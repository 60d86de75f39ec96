//! Weights as tensors: read in blocks of rows, several weights at a time, and rounded to the values that the graph's
//! format represents.

use burn_tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use slmc_ir::arena::Id;
use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{Graph, Weight, WeightId};
use slmc_ir::quant::round_row;

/// Numbers to ask a provider for at once.
const BLOCK: usize = 1 << 20;

/// Values row by row, and `[rows, columns]`.
type Rows = (Vec<f32>, [usize; 2]);

/// All weights of a graph.
pub(super) struct Loaded(Vec<Tensor<2>>);

impl Loaded {
    /// Reads every weight. `Err` has a line for each that could not be read.
    pub(super) fn read(graph: &Graph, provider: &dyn WeightProvider, device: &Device) -> Result<Self, Vec<String>> {
        let weights: Vec<&Weight> = graph.weights.iter().map(|(_, w)| w).collect();
        let read: Vec<Result<Rows, String>> = weights.par_iter().map(|w| values(w, provider)).collect();
        let (mut tensors, mut faults) = (Vec::with_capacity(read.len()), Vec::new());
        for result in read {
            match result {
                Ok((values, shape)) => tensors.push(Tensor::from_data(TensorData::new(values, shape), device)),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self(tensors)) } else { Err(faults) }
    }

    /// A weight `[N, K]`.
    pub(super) fn matrix(&self, id: WeightId) -> Tensor<2> {
        self.0[id.index()].clone()
    }

    /// A weight `[K]`.
    pub(super) fn vector(&self, id: WeightId) -> Tensor<1> {
        self.0[id.index()].clone().flatten(0, 1)
    }
}

/// What the weight's format represents, row-major, with its shape; a vector is one row.
fn values(weight: &Weight, provider: &dyn WeightProvider) -> Result<Rows, String> {
    let (rows, width) = match weight.ty.const_shape().as_deref() {
        Some(&[k]) => (1, k as usize),
        Some(&[n, k]) => (n as usize, k as usize),
        _ => return Err(format!("weight {}: it is {}, expected one or two constant dims", weight.name, weight.ty)),
    };
    let step = (BLOCK / width.max(1)).max(1);
    let mut all = vec![0.0; rows * width];
    let blocks: Vec<(usize, &mut [f32])> = (0..rows).step_by(step).zip(all.chunks_mut(step * width.max(1))).collect();
    blocks.into_par_iter().try_for_each(|(first, block)| {
        let last = rows.min(first + step);
        let source = provider.rows(weight, first as u32..last as u32).map_err(|why| format!("weight {}: {why}", weight.name))?;
        if source.len() != block.len() {
            return Err(format!("weight {}: rows {first}..{last} have {} numbers, expected {}", weight.name, source.len(), block.len()));
        }
        block.copy_from_slice(&source);
        block.chunks_exact_mut(width).for_each(|row| round_row(weight.ty.dtype, row));
        Ok(())
    })?;
    Ok((all, [rows, width]))
}
