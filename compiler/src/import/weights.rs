//! The checkpoint's tensors as weights of a graph, and the checkpoint as the provider of their values.

use super::{
    checkpoint::{Checkpoint, TensorInfo},
    scan::TensorDigest,
    stored::StoredDtype,
};
use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{DType, Dim, Graph, TensorType, Weight, WeightId, WeightSource};
use std::ops::Range;

/// Makes weights from tensors that were checked and scanned.
#[derive(Debug)]
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    digests: &'a [TensorDigest],
}

impl<'a> Weights<'a> {
    /// Of `checkpoint`, whose scan gave `digests`.
    pub fn new(checkpoint: &'a Checkpoint, digests: &'a [TensorDigest]) -> Self {
        Self { checkpoint, digests }
    }

    /// Adds the tensor called `name` to the graph's weights, in the format it is stored in.
    ///
    /// # Panics
    /// If the checkpoint has no such tensor; architectures ask for tensors of their own table only, which was compared.
    pub fn add(&self, graph: &mut Graph, name: &str) -> WeightId {
        let info = self.checkpoint.tensor(name).expect("invariant: the tensor table was compared with the checkpoint");
        let digest = self.digests.binary_search_by(|d| d.name.as_str().cmp(name)).ok().map(|at| self.digests[at].hash);
        graph.weights.push(Weight { name: name.to_owned(), ty: tensor_type(info), source: WeightSource::tensor(name), hash: digest })
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
        let rows = part.start + rows.start..part.start + rows.end;
        let mut values = Vec::new();
        self.read_rows_f32(name, rows, &mut values).map_err(|error| error.to_string())?;
        Ok(values)
    }
}
