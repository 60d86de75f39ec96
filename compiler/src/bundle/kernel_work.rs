//! What the kernels of a bundle take, as its manifest tells: arithmetic and bytes of each kernel's launches, counted in the kernel IR.
//!
//! With measured times it says how near a device comes to its limits (`slmc bench --roofline`).

use serde::{Deserialize, Serialize};
use slmc_ir::plan::{Launched, Program, work};

/// A kernel, and what a launch of it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelEntry {
    /// Its name.
    pub name: String,
    /// The list of the plan that launches it: `decode`, `prefill`, `head_one`, `head_many`, `argmax`.
    pub list: String,
    /// Tokens (in the head: rows) of the launches that are described.
    pub tokens: u32,
    /// By tokens in the cache, ascending; one entry if these do not matter.
    pub work: Vec<KernelWork>,
}

/// What a launch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelWork {
    /// Tokens in the cache before the step.
    pub cached: u32,
    /// Multiply-adds of bytes.
    pub byte_products: u64,
    /// Operations on floats; a fused multiply-add is two.
    pub float_ops: u64,
    /// Bytes between memory and processor, if caches keep everything for the time of the launch.
    pub bytes: u64,
}

impl KernelEntry {
    /// What a launch takes with `cached` tokens in the cache: between two entries on the straight line. `None` without entries.
    pub fn at(&self, cached: u32) -> Option<KernelWork> {
        let next = self.work.iter().position(|work| work.cached >= cached);
        let (low, high) = match next {
            None => return self.work.last().map(|last| KernelWork { cached, ..*last }),
            Some(0) => return self.work.first().map(|first| KernelWork { cached, ..*first }),
            Some(i) => (&self.work[i - 1], &self.work[i]),
        };
        let part = f64::from(cached - low.cached) / f64::from(high.cached - low.cached);
        let between = |low: u64, high: u64| (low as f64 + part * (high as f64 - low as f64)).round() as u64;
        Some(KernelWork {
            cached,
            byte_products: between(low.byte_products, high.byte_products),
            float_ops: between(low.float_ops, high.float_ops),
            bytes: between(low.bytes, high.bytes),
        })
    }
}

/// The entries of a program as lowering made it, in the order of its kernels. Those of `prefill` are for whole chunks, those of
/// `head_many` for as many rows as it takes.
pub fn entries(program: &Program) -> Vec<KernelEntry> {
    let Some(plan) = &program.plan else { return Vec::new() };
    let tokens_of = |list: &str| match list {
        "prefill" => plan.chunk,
        "head_many" => plan.head_rows,
        _ => 1,
    };
    program
        .kernels
        .kernels
        .iter()
        .map(|(id, kernel)| {
            let place = plan.lists().into_iter().find_map(|(list, dispatches)| Some((list, dispatches.iter().find(|d| d.kernel == id)?)));
            let Some((list, dispatch)) = place else {
                return KernelEntry { name: kernel.name.clone(), list: String::new(), tokens: 0, work: Vec::new() };
            };
            let tokens = tokens_of(list);
            let mut entries: Vec<KernelWork> = numbers_cached(plan.ctx - tokens.min(plan.ctx))
                .map(|cached| {
                    let grid = dispatch.grid.map(|extent| extent.tiles(tokens, cached));
                    let counted = work(kernel, Launched { t: tokens, p: cached, grid });
                    let bytes = counted.traffic(kernel);
                    KernelWork { cached, byte_products: counted.byte_products, float_ops: counted.float_ops, bytes }
                })
                .collect();
            if entries.iter().all(|e| KernelWork { cached: 0, ..*e } == entries[0]) {
                entries.truncate(1);
            }
            KernelEntry { name: kernel.name.clone(), list: list.to_owned(), tokens, work: entries }
        })
        .collect()
}

/// 0, powers of two from 64 on below `most`, and `most`.
fn numbers_cached(most: u32) -> impl Iterator<Item = u32> {
    let powers = (6..31).map(|i| 1u32 << i).take_while(move |&n| n < most);
    std::iter::once(0).chain(powers).chain((most > 0).then_some(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_entries_lies_a_line() {
        let work = |cached, bytes| KernelWork { cached, byte_products: 7, float_ops: 0, bytes };
        let entry = KernelEntry { name: "k".into(), list: "decode".into(), tokens: 1, work: vec![work(0, 100), work(64, 164), work(100, 164)] };
        let bytes = |cached| entry.at(cached).map(|w| (w.cached, w.byte_products, w.bytes));
        assert_eq!([0, 32, 64, 80, 500].map(bytes), [(0, 100), (32, 132), (64, 164), (80, 164), (500, 164)].map(|(c, b)| Some((c, 7, b))));
        assert_eq!(KernelEntry { work: Vec::new(), ..entry.clone() }.at(3), None);
    }

    #[test]
    fn numbers_of_cached_tokens_end_at_the_most_there_can_be() {
        assert_eq!(numbers_cached(300).collect::<Vec<_>>(), [0, 64, 128, 256, 300]);
        assert_eq!(numbers_cached(64).collect::<Vec<_>>(), [0, 64]);
        assert_eq!(numbers_cached(0).collect::<Vec<_>>(), [0]);
    }
}
