//! `share`: weights of equal type and equal content become one.
//!
//! Content is compared by the hash that the importer took of the source's bytes; a weight without hash is never shared.
//! The first of several stays and keeps its name. This covers tied embeddings that a checkpoint stores twice, layers that
//! share a block, and accidental copies; a checkpoint that stores a tied embedding once needs nothing.
//!
//! Before:
//! ```text
//! slmir 0
//! graph @example {chunk = 8, ctx = 32, kv_slots = 0} {
//!   w0 = weight "a" f16[32,32] tensor "a" hash 0xabababababababababababababababababababababababababababababababab
//!   w1 = weight "b" f16[32,32] tensor "b" hash 0xabababababababababababababababababababababababababababababababab
//!   body(v0: f32[T,32]) {
//!     v1: f32[T,32] = linear v0, w0
//!     v2: f32[T,32] = linear v1, w1
//!     return v2
//!   }
//! }
//! ```
//! After `share`, with its report:
//! ```text
//! shared: "a" for "b", 2048 bytes saved
//! slmir 0
//! graph @example {chunk = 8, ctx = 32, kv_slots = 0} {
//!   w0 = weight "a" f16[32,32] tensor "a" hash 0xabababababababababababababababababababababababababababababababab
//!   body(v0: f32[T,32]) {
//!     v1: f32[T,32] = linear v0, w0
//!     v2: f32[T,32] = linear v1, w0
//!     return v2
//!   }
//! }
//! ```

use std::collections::BTreeMap;

use slmc_ir::arena::{Arena, Id};
use slmc_ir::graph::{Graph, TensorType, WeightId};

use crate::manager::{Changed, OptionError, Options, Pass, PassCx, PassError, PassInfo};

/// Row of the pass list.
pub static INFO: PassInfo<Graph> = PassInfo { name: "share", summary: "make weights of equal content one", options: &[], build };

/// What sharing saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharingReport {
    /// One entry for each weight that took the place of others, in order.
    pub shared: Vec<Shared>,
}

/// A weight that took the place of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Name of the one that stays.
    pub kept: String,
    /// Names of those that went.
    pub dropped: Vec<String>,
    /// Bytes that those took, in the format they had when the pass ran.
    pub bytes: u64,
}

impl SharingReport {
    /// Bytes saved in all.
    pub fn bytes(&self) -> u64 {
        self.shared.iter().map(|s| s.bytes).sum()
    }
}

struct Share;

fn build(options: &Options) -> Result<Box<dyn Pass<Graph>>, OptionError> {
    options.reader(INFO.name).finish(Box::new(Share))
}

impl Pass<Graph> for Share {
    fn info(&self) -> &'static PassInfo<Graph> {
        &INFO
    }

    fn run(&self, g: &mut Graph, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut kept = Arena::new();
        let mut first: BTreeMap<(TensorType, [u8; 32]), WeightId> = BTreeMap::new();
        let mut saved: BTreeMap<WeightId, Shared> = BTreeMap::new();
        let mut map = Vec::with_capacity(g.weights.len());
        for (_, weight) in g.weights.iter() {
            let Some(hash) = weight.hash else {
                map.push(kept.push(weight.clone()));
                continue;
            };
            match first.get(&(weight.ty.clone(), hash)) {
                None => {
                    let id = kept.push(weight.clone());
                    first.insert((weight.ty.clone(), hash), id);
                    map.push(id);
                }
                Some(&id) => {
                    let entry = saved.entry(id).or_insert_with(|| Shared { kept: kept[id].name.clone(), dropped: Vec::new(), bytes: 0 });
                    entry.dropped.push(weight.name.clone());
                    entry.bytes += stored_bytes(&weight.ty);
                    map.push(id);
                }
            }
        }
        let changed = Changed::when(!saved.is_empty());
        if changed == Changed::Yes {
            g.weights = kept;
            for (_, node) in g.nodes.iter_mut() {
                node.weights.iter_mut().for_each(|w| *w = map[w.index()]);
            }
        }
        cx.reports.sharing = Some(SharingReport { shared: saved.into_values().collect() });
        Ok(changed)
    }
}

/// Bytes of a tensor of constant shape, scales included, without padding.
pub fn stored_bytes(ty: &TensorType) -> u64 {
    let elements: u64 = ty.const_shape().unwrap_or_default().iter().map(|&n| u64::from(n)).product();
    (elements as f64 * ty.dtype.bits_per_element() / 8.0).ceil() as u64
}
