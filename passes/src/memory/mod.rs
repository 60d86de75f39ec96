//! The memory plan: arena offsets by live ranges.
//!
//! A buffer lives from the first dispatch of a list that binds it to the last. Buffers that no list uses at the same time
//! share bytes; pinned ones share with none. Offsets are multiples of 64, or of what the target's bindings ask for. Largest first, each at the lowest place that is
//! free for its whole life: simple, deterministic, and near the bound of the fullest moment for chains of layers.

use std::collections::BTreeMap;

use slmc_ir::arena::Id;
use slmc_ir::plan::{ArenaId, Binding, Plan, Program};
use slmc_ir::target::Target;

use crate::manager::{Changed, OptionError, Options, Pass, PassCx, PassError, PassInfo};

/// Row of the pass list.
pub static INFO: PassInfo<Program> = PassInfo { name: "memory", summary: "place activations in the arena", options: &[], build };

struct Memory;

fn build(options: &Options) -> Result<Box<dyn Pass<Program>>, OptionError> {
    options.reader(INFO.name).finish(Box::new(Memory))
}

impl Pass<Program> for Memory {
    fn info(&self) -> &'static PassInfo<Program> {
        &INFO
    }

    fn run(&self, m: &mut Program, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let Some(arena) = &mut m.plan else {
            return Err(PassError::Unsupported(vec!["there is no plan to lay out, only kernels; give a file with a `plan`".to_owned()]));
        };
        let before = arena.clone();
        plan(arena, cx.target.map_or(ALIGN, Target::binding_align));
        Ok(Changed::when(*arena != before))
    }
}

/// Alignment of every buffer where no target asks for more.
pub const ALIGN: u64 = 64;

/// First and last use of a buffer: (list, dispatch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    list: usize,
    first: usize,
    last: usize,
}

impl Life {
    fn meets(&self, other: &Life) -> bool {
        self.list == other.list && self.first <= other.last && other.first <= self.last
    }
}

/// Gives every arena buffer its offset, a multiple of `align`, and sets [`Plan::arena_bytes`].
pub fn plan(plan: &mut Plan, align: u64) {
    let lives = lives(plan);
    let mut order: Vec<ArenaId> = plan.arena.ids().collect();
    order.sort_by_key(|&id| (!plan.arena[id].pinned, std::cmp::Reverse(plan.arena[id].bytes), id.index()));
    let mut placed: Vec<ArenaId> = Vec::new();
    let mut total = 0;
    for id in order {
        let bytes = plan.arena[id].bytes.next_multiple_of(align);
        let mut taken: Vec<(u64, u64)> = placed
            .iter()
            .filter(|&&other| conflict(plan, &lives, id, other))
            .map(|&other| (plan.arena[other].offset, plan.arena[other].offset + plan.arena[other].bytes.next_multiple_of(align)))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (begin, end) in taken {
            if at + bytes <= begin {
                break;
            }
            at = at.max(end);
        }
        plan.arena[id].offset = at;
        total = total.max(at + bytes);
        placed.push(id);
    }
    plan.arena_bytes = total;
}

fn conflict(plan: &Plan, lives: &BTreeMap<ArenaId, Vec<Life>>, a: ArenaId, b: ArenaId) -> bool {
    if plan.arena[a].pinned || plan.arena[b].pinned {
        return true;
    }
    let none = Vec::new();
    let (a, b) = (lives.get(&a).unwrap_or(&none), lives.get(&b).unwrap_or(&none));
    a.iter().any(|x| b.iter().any(|y| x.meets(y)))
}

fn lives(plan: &Plan) -> BTreeMap<ArenaId, Vec<Life>> {
    let mut lives: BTreeMap<ArenaId, Vec<Life>> = BTreeMap::new();
    for (list, (_, dispatches)) in plan.lists().into_iter().enumerate() {
        for (i, dispatch) in dispatches.iter().enumerate() {
            for binding in &dispatch.bindings {
                let Binding::Arena(id) = *binding else { continue };
                let known = lives.entry(id).or_default();
                match known.iter_mut().find(|l| l.list == list) {
                    Some(life) => life.last = i,
                    None => known.push(Life { list, first: i, last: i }),
                }
            }
        }
    }
    lives
}

#[cfg(test)]
mod tests {
    use super::*;
    use slmc_ir::arena::Arena;
    use slmc_ir::kernel::KernelId;
    use slmc_ir::plan::{ArenaBuffer, Dispatch, Extent};

    fn chain(bytes: &[u64], pinned: &[bool]) -> Plan {
        let mut arena = Arena::new();
        let ids: Vec<ArenaId> = bytes
            .iter()
            .zip(pinned)
            .enumerate()
            .map(|(i, (&bytes, &pinned))| arena.push(ArenaBuffer { name: format!("b{i}"), bytes, offset: 0, pinned }))
            .collect();
        let decode = ids
            .windows(2)
            .map(|w| Dispatch {
                kernel: KernelId::new(0),
                bindings: w.iter().copied().map(Binding::Arena).collect(),
                grid: [Extent::fixed(1); 3],
                beside: false,
            })
            .collect();
        let (tokens, logits) = (ids[0], ids[0]);
        Plan {
            chunk: 1,
            ctx: 1,
            vocab: 1,
            head_rows: 8,
            arena,
            arena_bytes: 0,
            kv: Vec::new(),
            kv_bytes: 0,
            packed: Arena::new(),
            weights_bytes: 0,
            tokens,
            logits,
            picked: None,
            decode,
            prefill: Vec::new(),
            head_one: Vec::new(),
            head_many: Vec::new(),
            argmax: Vec::new(),
        }
    }

    #[test]
    fn a_chain_needs_two_neighbours() {
        let mut p = chain(&[64, 128, 64, 128, 64], &[false; 5]);
        plan(&mut p, ALIGN);
        assert_eq!(p.arena_bytes, 192);
        for w in p.arena.ids().collect::<Vec<_>>().windows(2) {
            let (a, b) = (&p.arena[w[0]], &p.arena[w[1]]);
            assert!(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset, "{a:?} overlaps {b:?}");
        }
    }

    #[test]
    fn pinned_buffers_share_with_none() {
        let mut p = chain(&[64, 64, 64, 64], &[true, false, false, true]);
        plan(&mut p, ALIGN);
        assert_eq!(p.arena_bytes, 256);
    }
}
