//! What a model saves by storing a weight once that it uses several times.
//!
//! Three kinds: a head that is the embedding, blocks that are run several times, and weights of equal content under different
//! names, which the pass `share` makes one. Bytes are those of the checkpoint's formats.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use slmc_ir::graph::{Graph, WeightId};
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::graph::share::{Shared, stored_bytes};
use slmc_passes::manager::{self, Drive, PassCx, PassSpec, PipelineError};

use crate::pipeline::name_matches;

/// What a model saves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sharing {
    /// Bytes saved in all.
    pub bytes: u64,
    /// The embedding that is the head too.
    pub tied: Option<Saving>,
    /// Blocks that are run several times.
    pub blocks: Option<BlockSaving>,
    /// Weights of equal content, by the first of them.
    pub duplicates: Vec<Duplicates>,
}

/// A weight that serves twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Saving {
    /// Its name.
    pub name: String,
    /// Bytes that a second one would take.
    pub bytes: u64,
}

/// Blocks that are run several times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockSaving {
    /// Weights of these blocks.
    pub weights: usize,
    /// Blocks that are stored.
    pub stored: usize,
    /// Layers that are run.
    pub run: usize,
    /// Bytes that the other runs would take.
    pub bytes: u64,
}

/// Weights of equal content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// The one that stays.
    pub kept: String,
    /// Those that it stands for.
    pub dropped: Vec<String>,
    /// Bytes of these.
    pub bytes: u64,
}

impl Sharing {
    /// Of a graph as imported, whose layers have `stored` blocks.
    ///
    /// # Errors
    /// A graph that does not verify.
    pub fn of(graph: &Graph, stored: usize) -> Result<Self, PipelineError> {
        let mut uses: BTreeMap<WeightId, (u64, u64)> = BTreeMap::new();
        for (segment, in_body) in [(&graph.body, true), (&graph.head, false)] {
            for id in segment.order.iter().flat_map(|&n| &graph.nodes[n].weights) {
                let (body, head) = uses.entry(*id).or_default();
                *(if in_body { body } else { head }) += 1;
            }
        }
        let mut sharing = Self::default();
        let mut repeated = (0, 0);
        for (&id, &(body, head)) in &uses {
            let bytes = stored_bytes(&graph.weights[id].ty);
            if body > 0 && head > 0 {
                sharing.tied = Some(Saving { name: graph.weights[id].name.clone(), bytes });
            } else if body > 1 {
                repeated = (repeated.0 + 1, repeated.1 + (body - 1) * bytes);
            }
        }
        if let (weights @ 1.., bytes) = repeated {
            sharing.blocks = Some(BlockSaving { weights, stored, run: graph.kv_slots as usize, bytes });
        }
        sharing.duplicates = duplicates(graph)?;
        sharing.bytes = sharing.tied.as_ref().map_or(0, |s| s.bytes)
            + sharing.blocks.as_ref().map_or(0, |s| s.bytes)
            + sharing.duplicates.iter().map(|d| d.bytes).sum::<u64>();
        Ok(sharing)
    }
}

/// As the pass `share` finds them.
fn duplicates(graph: &Graph) -> Result<Vec<Duplicates>, PipelineError> {
    let clock = || Duration::ZERO;
    let mut cx = PassCx::new(&name_matches, &clock);
    manager::run(&mut graph.clone(), &PassSpec::list(&["share"]), GRAPH_PASSES, &mut cx, &mut Drive::default())?;
    let found = cx.reports.sharing.unwrap_or_default().shared;
    Ok(found.into_iter().map(|Shared { kept, dropped, bytes }| Duplicates { kept, dropped, bytes }).collect())
}
