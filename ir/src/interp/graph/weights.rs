//! Weights of the interpreter: read on first use, a few rows at a time, and kept in the graph's format (quantized ones as
//! codes and scales).

use super::InterpError;
use crate::arena::Id;
use crate::graph::weight::WeightProvider;
use crate::graph::{Graph, WeightId};
use crate::quant::{dequantize_group, quantize_row, round_row};
use half::f16;

/// A weight `[N, K]`, or `[K]` as one row.
pub(super) struct Loaded {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) data: Data,
}

pub(super) enum Data {
    /// Unquantized, after rounding to the stored format.
    Plain(Vec<f32>),
    /// `scales[i / group] · codes[i]`.
    Groups { group: usize, codes: Vec<i8>, scales: Vec<f16> },
}

impl Loaded {
    /// A row as f32; exact, since a scale has 11 bits and a code 8.
    pub(super) fn row(&self, row: usize) -> Vec<f32> {
        let range = row * self.width..(row + 1) * self.width;
        match &self.data {
            Data::Plain(data) => data[range].to_vec(),
            Data::Groups { group, codes, scales } => {
                let mut out = vec![0.0; self.width];
                let scales = &scales[range.start / group..range.end / group];
                for ((out, codes), scale) in out.chunks_mut(*group).zip(codes[range].chunks(*group)).zip(scales) {
                    dequantize_group(*scale, codes, out);
                }
                out
            }
        }
    }

    /// The rows of these tokens.
    pub(super) fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>, InterpError> {
        let mut out = Vec::with_capacity(tokens.len() * self.width);
        for (position, &token) in tokens.iter().enumerate() {
            if token as usize >= self.rows {
                return Err(InterpError::Token { token, position, vocab: self.rows });
            }
            out.extend(self.row(token as usize));
        }
        Ok(out)
    }
}

/// The weights that were needed so far.
pub(super) struct WeightCache<'a> {
    graph: &'a Graph,
    provider: &'a dyn WeightProvider,
    loaded: Vec<Option<Loaded>>,
}

impl<'a> WeightCache<'a> {
    pub(super) fn new(graph: &'a Graph, provider: &'a dyn WeightProvider) -> Self {
        Self { graph, provider, loaded: graph.weights.iter().map(|_| None).collect() }
    }

    /// The weight, read if need be.
    pub(super) fn get(&mut self, id: WeightId) -> Result<&Loaded, InterpError> {
        if self.loaded[id.index()].is_none() {
            self.loaded[id.index()] = Some(self.load(id)?);
        }
        Ok(self.loaded[id.index()].as_ref().expect("invariant: it was just loaded"))
    }

    fn load(&self, id: WeightId) -> Result<Loaded, InterpError> {
        /// Numbers to ask for at once.
        const BLOCK: usize = 1 << 20;
        let weight = &self.graph.weights[id];
        let error = |why| InterpError::Weight { name: weight.name.clone(), why };
        let (rows, width) = match weight.ty.const_shape().as_deref() {
            Some(&[k]) => (1, k as usize),
            Some(&[n, k]) => (n as usize, k as usize),
            _ => return Err(error(format!("type is {}, expected one or two constant dims", weight.ty))),
        };
        let dtype = weight.ty.dtype;
        let mut data = match dtype.group().filter(|_| dtype.is_quantized_weight()) {
            Some(group) => {
                Data::Groups { group: group as usize, codes: vec![0; rows * width], scales: vec![f16::ZERO; rows * width / group as usize] }
            }
            None => Data::Plain(Vec::with_capacity(rows * width)),
        };
        let step = (BLOCK / width).max(1);
        for first in (0..rows).step_by(step) {
            let last = rows.min(first + step);
            let mut block = self.provider.rows(weight, first as u32..last as u32).map_err(error)?;
            if block.len() != (last - first) * width {
                return Err(error(format!("rows {first}..{last} have {} numbers, expected {}", block.len(), (last - first) * width)));
            }
            match &mut data {
                Data::Plain(all) => {
                    round_row(dtype, &mut block);
                    all.extend(block);
                }
                Data::Groups { group, codes, scales } => {
                    let (from, to) = (first * width, last * width);
                    quantize_row(dtype, &block, &mut codes[from..to], &mut scales[from / *group..to / *group]);
                }
            }
        }
        Ok(Loaded { rows, width, data })
    }
}
