//! The checkpoint's tensors as weights of a graph, and the checkpoint as the provider of their values.

use super::{
    checkpoint::{Checkpoint, TensorInfo},
    scan::TensorDigest,
    stored::StoredDtype,
};
use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{DType, Dim, Graph, TensorType, Weight, WeightId, WeightSource};
use std::{collections::BTreeMap, ops::Range};

/// Makes weights from tensors that were checked and scanned, one for each tensor or part of a tensor however often it is
/// asked for.
#[derive(Debug)]
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    digests: &'a [TensorDigest],
    /// By name and first row.
    made: BTreeMap<(String, u32), WeightId>,
}

impl<'a> Weights<'a> {
    /// Of `checkpoint`, whose scan gave `digests`.
    pub fn new(checkpoint: &'a Checkpoint, digests: &'a [TensorDigest]) -> Self {
        Self { checkpoint, digests, made: BTreeMap::new() }
    }

    /// The tensor called `name`, or those `rows` of it for which it was scanned, as a weight of the graph in the format it is
    /// stored in.
    ///
    /// # Panics
    /// If the checkpoint has no such tensor; decoders ask for tensors of their own table only, which was compared.
    pub fn add(&mut self, graph: &mut Graph, name: &str, rows: Option<Range<u32>>) -> WeightId {
        let start = rows.as_ref().map_or(0, |rows| rows.start);
        if let Some(&id) = self.made.get(&(name.to_owned(), start)) {
            return id;
        }
        let key = |d: &TensorDigest| d.rows.as_ref().map_or(0, |rows| rows.start);
        let digest = self.digests.binary_search_by(|d| (d.name.as_str(), key(d)).cmp(&(name, start as usize))).ok();
        let mut ty = tensor_type(self.info(name));
        let mut shown = name.to_owned();
        if let (Some(rows), Some(first)) = (&rows, ty.shape.first_mut()) {
            *first = Dim::Const(rows.end - rows.start);
            shown = format!("{name}[{}..{}]", rows.start, rows.end);
        }
        let source = WeightSource::Tensor { name: name.to_owned(), rows };
        let id = graph.weights.push(Weight { name: shown, ty, source, hash: digest.map(|at| self.digests[at].hash) });
        self.made.insert((name.to_owned(), start), id);
        id
    }

    /// `value` rounded to the format in which the tensor called `name` is stored.
    ///
    /// # Panics
    /// As [`Weights::add`].
    pub fn rounded(&self, name: &str, value: f64) -> f32 {
        match self.info(name).dtype {
            StoredDtype::F32 => value as f32,
            StoredDtype::F16 => half::f16::from_f64(value).to_f32(),
            StoredDtype::BF16 => half::bf16::from_f64(value).to_f32(),
        }
    }

    fn info(&self, name: &str) -> &'a TensorInfo {
        self.checkpoint.tensor(name).expect("invariant: the tensor table was compared with the checkpoint")
    }
}

fn tensor_type(info: &TensorInfo) -> TensorType {
    let dtype = match info.dtype {
        StoredDtype::F32 => DType::F32,
        StoredDtype::F16 => DType::F16,
        StoredDtype::BF16 => DType::Bf16,
    };
    let dim = |d: &usize| Dim::Const(u32::try_from(*d).expect("invariant: the configuration's limits keep dims below 2^32"));
    TensorType { dtype, shape: info.shape.iter().map(dim).collect() }
}

impl WeightProvider for Checkpoint {
    fn rows(&self, weight: &Weight, rows: Range<u32>) -> Result<Vec<f32>, String> {
        let WeightSource::Tensor { name, rows: part } = &weight.source;
        let info = self.tensor(name).ok_or_else(|| format!("{}: no tensor {name}", self.dir().display()))?;
        let part = part.as_ref().map_or(0..info.rows(), |part| part.start as usize..part.end as usize);
        let mut rows = rows.start as usize..rows.end as usize;
        if info.shape.len() == 1 {
            // One row in the IR's terms, one element per row in the file's.
            rows = (rows.start * part.len())..(rows.end * part.len());
        }
        if rows.end > part.len() {
            return Err(format!("{}: rows up to {} of {} were asked for, it has {}", self.dir().display(), rows.end, weight.name, part.len()));
        }
        let mut values = Vec::new();
        self.read_rows_f32(name, part.start + rows.start..part.start + rows.end, &mut values).map_err(|error| error.to_string())?;
        Ok(values)
    }
}
