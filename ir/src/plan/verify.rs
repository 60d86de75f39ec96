//! The verifier of plans: reports every fault against these rules, by the name that stands in messages:
//!
//! - `plan`: `1 <= chunk <= ctx`, vocabulary and head rows at least 1; the buffers of token ids and logits (with a list
//!   `argmax`, of the token picked) exist, are pinned and large enough.
//! - `region`: arena buffers, KV halves and packed sections lie inside their regions at multiples of 64; packed sections, KV
//!   halves and pinned arena buffers share no byte with another; a packed section has the bytes of its content.
//! - `binding`: a dispatch binds as many ranges as its kernel has parameters, each large enough and aligned for its
//!   parameter; weights are bound to parameters that are only read.
//! - `overlap`: within a dispatch, a range that is written overlaps no other, unless both are the same.
//! - `beside`: a dispatch that does not wait shares no byte that either side writes with those it may run beside.
//! - `grid`: no step launches more tiles than the kernel's grid, divisors are at least 1, and tiles fit 24 bits.
//! - `bounds`: the kernel's step bounds cover every step of the list that launches it.
//! - `live`: a dispatch reads arena buffers that were written before it in its list and not overwritten by a buffer that
//!   shares their bytes; the head reads what the body left in pinned buffers, `argmax` what `head_one` left.

use super::hazard::{Touched, conflict, overlap, reads, touched, writes};
use super::{Binding, Dispatch, PackedContent, Plan, Ring, place_of};
use crate::arena::Id;
use crate::diag::{Verified, VerifyError};
use crate::kernel::{Access, Kernel, KernelModule, StepBounds};

/// Tiles of one dispatch, at most.
const MAX_TILES: u64 = (1 << 24) - 1;

/// A plan's list of dispatches with the steps that run it.
struct List<'p> {
    name: &'static str,
    dispatches: &'p [Dispatch],
    bounds: StepBounds,
    most_p_plus_t: u32,
    most_row_plus_t: u32,
}

/// The lists of a plan that steps run.
fn lists(plan: &Plan) -> Vec<List<'_>> {
    let (chunk, ctx, rows) = (plan.chunk, plan.ctx, plan.head_rows.min(plan.chunk));
    let body = |name, dispatches, t: (u32, u32)| List {
        name,
        dispatches,
        bounds: StepBounds { t, p: (0, ctx.saturating_sub(t.0)), row: (0, 0) },
        most_p_plus_t: ctx,
        most_row_plus_t: t.1,
    };
    let head = |name, dispatches, t: (u32, u32)| List {
        name,
        dispatches,
        bounds: StepBounds { t, p: (0, ctx.saturating_sub(t.0)), row: (0, chunk.saturating_sub(t.0)) },
        most_p_plus_t: ctx,
        most_row_plus_t: chunk,
    };
    let mut out = vec![body("decode", plan.decode.as_slice(), (1, 1))];
    if chunk > 1 {
        out.push(body("prefill", &plan.prefill, (2, chunk)));
    }
    out.push(head("head_one", &plan.head_one, (1, 1)));
    if rows > 1 {
        out.push(head("head_many", &plan.head_many, (2, rows)));
    }
    if !plan.argmax.is_empty() {
        out.push(head("argmax", &plan.argmax, (1, 1)));
    }
    out
}

/// Checks a plan against the rules at the top of this file. The kernels are checked by
/// [`verify_module`](crate::kernel::verify_module).
pub fn verify_plan<'a>(plan: &'a Plan, kernels: &KernelModule) -> Result<Verified<'a, Plan>, Vec<VerifyError>> {
    let mut check = Check { plan, kernels, errors: Vec::new() };
    check.head();
    check.regions();
    let lists = lists(plan);
    for list in &lists {
        for (index, dispatch) in list.dispatches.iter().enumerate() {
            check.dispatch(list, &format!("{}[{index}]", list.name), dispatch);
        }
        check.beside(list);
    }
    if check.errors.is_empty() {
        check.liveness(&lists);
    }
    if check.errors.is_empty() { Ok(Verified::new(plan)) } else { Err(check.errors) }
}

/// A range of bytes `[start, end)`.
type Range = (u64, u64);

struct Check<'p> {
    plan: &'p Plan,
    kernels: &'p KernelModule,
    errors: Vec<VerifyError>,
}

impl Check<'_> {
    fn report(&mut self, rule: &'static str, at: impl Into<String>, message: impl Into<String>) {
        self.errors.push(VerifyError { at: at.into(), rule, message: message.into() });
    }

    fn head(&mut self) {
        let p = self.plan;
        if p.chunk == 0 || p.chunk > p.ctx {
            self.report("plan", "plan", format!("chunk {}, ctx {}; expected 1 <= chunk <= ctx", p.chunk, p.ctx));
        }
        if p.vocab == 0 || p.head_rows == 0 {
            self.report("plan", "plan", format!("vocab {}, head_rows {}; both are at least 1", p.vocab, p.head_rows));
        }
        if p.picked.is_some() == p.argmax.is_empty() {
            self.report("plan", "plan", "a list `argmax` and a buffer `picked` go together; the plan has one of them");
        }
        let wanted = [
            Some(("tokens", p.tokens, 4 * u64::from(p.chunk))),
            Some(("logits", p.logits, 4 * u64::from(p.head_rows).saturating_mul(u64::from(p.vocab)))),
            p.picked.map(|id| ("token picked", id, 4)),
        ];
        for (what, id, bytes) in wanted.into_iter().flatten() {
            match p.arena.get(id) {
                None => self.report("plan", "plan", format!("the {what} are in {id}, which does not exist")),
                Some(b) if b.bytes < bytes => {
                    self.report("plan", id.to_string(), format!("the {what} take {bytes} bytes, the buffer has {}", b.bytes))
                }
                Some(b) if !b.pinned => self.report("plan", id.to_string(), format!("the buffer of {what} is not pinned")),
                Some(_) => {}
            }
        }
    }

    /// Checks that ranges lie in a region of `size` bytes; gives them with overflowing ones cut.
    fn inside(&mut self, ranges: &[(String, u64, u64)], size: u64) {
        for (at, offset, bytes) in ranges {
            match offset.checked_add(*bytes) {
                Some(end) if end <= size => {}
                _ => self.report("region", at.clone(), format!("bytes {offset}..+{bytes} lie outside the region of {size}")),
            }
            if offset % 64 != 0 {
                self.report("region", at.clone(), format!("offset {offset} is no multiple of 64"));
            }
        }
    }

    /// Reports ranges that share bytes with a later one; `alone` says for which indices that is a fault.
    fn disjoint(&mut self, ranges: &[(String, u64, u64)], alone: impl Fn(usize) -> bool) {
        let mut order: Vec<usize> = (0..ranges.len()).filter(|&i| ranges[i].2 > 0).collect();
        order.sort_by_key(|&i| (ranges[i].1, i));
        let range = |i: usize| (ranges[i].1, ranges[i].1.saturating_add(ranges[i].2));
        for (n, &i) in order.iter().enumerate() {
            for &j in order[n + 1..].iter().take_while(|&&j| range(j).0 < range(i).1) {
                if overlap(range(i), range(j)) && (alone(i) || alone(j)) {
                    self.report("region", ranges[j].0.clone(), format!("shares bytes with {}", ranges[i].0));
                }
            }
        }
    }

    fn regions(&mut self) {
        let p = self.plan;
        let arena: Vec<_> = p.arena.iter().map(|(id, b)| (format!("{id} {}", b.name), b.offset, b.bytes)).collect();
        let kv: Vec<_> = p.kv.iter().enumerate().map(|(i, k)| (format!("kv {i}"), k.offset, k.bytes)).collect();
        let packed: Vec<_> = p.packed.iter().map(|(id, s)| (format!("{id} {}", s.name), s.offset, s.bytes)).collect();
        let pinned: Vec<bool> = p.arena.iter().map(|(_, b)| b.pinned).collect();
        self.inside(&arena, p.arena_bytes);
        self.inside(&kv, p.kv_bytes);
        self.inside(&packed, p.weights_bytes);
        self.disjoint(&arena, |i| pinned[i]);
        self.disjoint(&kv, |_| true);
        self.disjoint(&packed, |_| true);
        for (i, k) in p.kv.iter().enumerate() {
            let positions = k.ring.map_or(p.ctx, |ring| ring.positions);
            if u64::from(positions) * u64::from(k.bytes_per_position) > k.bytes {
                self.report(
                    "region",
                    format!("kv {i}"),
                    format!("has {} bytes, its {positions} positions take {} each", k.bytes, k.bytes_per_position),
                );
            }
            if let Some(Ring { positions, window }) = k.ring
                && (window == 0 || u64::from(positions) + 1 < u64::from(window) + u64::from(p.chunk))
            {
                let what = format!("is a ring of {positions}, expected a window of at least 1 and {window} + {} − 1 places", p.chunk);
                self.report("region", format!("kv {i}"), what);
            }
        }
        for (id, s) in p.packed.iter() {
            match content_bytes(&s.content) {
                Some(bytes) if bytes != s.bytes => {
                    self.report("region", format!("{id} {}", s.name), format!("has {} bytes, its content {bytes}", s.bytes))
                }
                Some(_) => {}
                None => self.report("region", format!("{id} {}", s.name), "has rows that do not fill blocks"),
            }
        }
    }

    fn dispatch(&mut self, list: &List<'_>, at: &str, dispatch: &Dispatch) {
        let Some(kernel) = self.kernels.kernels.get(dispatch.kernel) else {
            self.report("binding", at, format!("kernel {} does not exist", dispatch.kernel));
            return;
        };
        let at = format!("{at} @{}", kernel.name);
        self.bindings(&at, kernel, dispatch);
        for (axis, extent) in dispatch.grid.iter().enumerate() {
            let name = ["x", "y", "z"][axis];
            if extent.d == 0 {
                self.report("grid", &at, format!("the divisor of {name} is 0"));
            }
            let most = extent.tiles(list.bounds.t.1, list.bounds.p.1);
            if most > kernel.grid[axis] {
                self.report("grid", &at, format!("a step launches {most} tiles along {name}, the kernel takes {}", kernel.grid[axis]));
            }
        }
        let tiles = dispatch.grid.iter().fold(1u64, |n, e| n.saturating_mul(u64::from(e.max)));
        if tiles > MAX_TILES {
            self.report("grid", &at, format!("{tiles} tiles; at most {MAX_TILES}"));
        }
        let (has, needs) = (&kernel.bounds, &list.bounds);
        for (name, has, needs) in [("t", has.t, needs.t), ("p", has.p, needs.p), ("row", has.row, needs.row)] {
            if has.0 > needs.0 || has.1 < needs.1 {
                let message = format!("the list runs with {name} in {}..{}, the kernel takes {}..{}", needs.0, needs.1, has.0, has.1);
                self.report("bounds", &at, message);
            }
        }
        for (name, has, needs) in [("p + t", has.most_p_plus_t(), list.most_p_plus_t), ("row + t", has.most_row_plus_t(), list.most_row_plus_t)] {
            if has < needs {
                self.report("bounds", &at, format!("the list runs with {name} up to {needs}, the kernel takes {has}"));
            }
        }
    }

    fn bindings(&mut self, at: &str, kernel: &Kernel, dispatch: &Dispatch) {
        let params = kernel.params().count();
        if params != dispatch.bindings.len() {
            self.report("binding", at, format!("{} bindings for {params} parameters", dispatch.bindings.len()));
            return;
        }
        let mut ranges: Vec<(String, Binding, Range, bool)> = Vec::new();
        for ((id, b), binding) in kernel.params().zip(&dispatch.bindings) {
            let name = format!("{id} %{}", b.name);
            let Some((offset, bytes)) = place_of(self.plan, *binding) else {
                self.report("binding", at, format!("{name} is bound to {binding}, which does not exist"));
                continue;
            };
            let needs = u64::from(b.len) * u64::from(b.elem.bytes());
            if needs > bytes {
                self.report("binding", at, format!("{name} takes {needs} bytes, {binding} has {bytes}"));
            }
            if offset % u64::from(b.align.max(1)) != 0 {
                self.report("binding", at, format!("{name} is aligned to {}, {binding} lies at {offset}", b.align));
            }
            if matches!(binding, Binding::Packed(_)) && writes(b.access) {
                self.report("binding", at, format!("{name} is written, {binding} holds weights"));
            }
            ranges.push((name, *binding, (offset, offset.saturating_add(bytes)), writes(b.access)));
        }
        for (i, a) in ranges.iter().enumerate() {
            for b in &ranges[i + 1..] {
                let region = std::mem::discriminant(&a.1) == std::mem::discriminant(&b.1);
                if region && (a.3 || b.3) && a.2 != b.2 && overlap(a.2, b.2) {
                    let message = format!("{} at {} and {} at {} overlap, and one is written", a.0, a.1, b.0, b.1);
                    self.report("overlap", at, message);
                }
            }
        }
    }

    /// Rule `beside`.
    fn beside(&mut self, list: &List<'_>) {
        let mut before: Vec<(usize, Vec<Touched>)> = Vec::new();
        for (index, dispatch) in list.dispatches.iter().enumerate() {
            let mine = touched(self.plan, self.kernels, dispatch);
            if !dispatch.beside {
                before.clear();
            }
            for (other, theirs) in &before {
                if let Some((a, b)) = conflict(&mine, theirs) {
                    let message =
                        format!("runs beside {}[{other}], but {} here and {} there overlap, and one is written", list.name, a.binding, b.binding);
                    self.report("beside", format!("{}[{index}]", list.name), message);
                }
            }
            before.push((index, mine));
        }
    }

    /// Rule `live`; bindings and kernels are sound.
    fn liveness(&mut self, lists: &[List<'_>]) {
        let p = self.plan;
        let range = |i: usize| p.arena.iter().nth(i).map_or((0, 0), |(_, b)| (b.offset, b.offset.saturating_add(b.bytes)));
        let ranges: Vec<Range> = (0..p.arena.len()).map(range).collect();
        // What the body left for the head: written by every body list that is run, and pinned.
        let mut left: Vec<bool> = p.arena.iter().map(|(_, b)| b.pinned).collect();
        let mut left_by_head = left.clone();
        for list in lists {
            let (body, pick) = (matches!(list.name, "decode" | "prefill"), list.name == "argmax");
            let mut intact = match (body, pick) {
                (true, _) => vec![false; ranges.len()],
                (false, false) => left.clone(),
                (false, true) => left_by_head.clone(),
            };
            intact[p.tokens.index()] = true;
            for (index, dispatch) in list.dispatches.iter().enumerate() {
                let kernel = &self.kernels.kernels[dispatch.kernel];
                let bound: Vec<(usize, Access)> = kernel
                    .params()
                    .zip(&dispatch.bindings)
                    .filter_map(|((_, b), binding)| if let Binding::Arena(a) = binding { Some((a.index(), b.access)) } else { None })
                    .collect();
                for &(a, access) in &bound {
                    if reads(access) && !intact[a] {
                        let at = format!("{}[{index}] @{}", list.name, kernel.name);
                        let name = p.arena.iter().nth(a).map_or("", |(_, b)| b.name.as_str());
                        self.report("live", at, format!("reads a{a} {name}, which nothing wrote before or something overwrote"));
                    }
                }
                for &(a, access) in &bound {
                    if writes(access) {
                        for (other, range) in ranges.iter().enumerate() {
                            intact[other] &= other == a || !overlap(*range, ranges[a]);
                        }
                        intact[a] = true;
                    }
                }
            }
            if body {
                for (left, intact) in left.iter_mut().zip(&intact) {
                    *left &= intact;
                }
            }
            if list.name == "head_one" {
                left_by_head = intact.iter().zip(p.arena.iter()).map(|(intact, (_, b))| *intact && b.pinned).collect();
            }
        }
    }
}

/// Bytes of a section's content; `None` if rows do not fill blocks.
fn content_bytes(content: &PackedContent) -> Option<u64> {
    Some(match content {
        PackedContent::Matrix { layout, k, rows } => {
            let lanes = u64::from(layout.lanes);
            if lanes == 0 || layout.group() == 0 || !(rows.len() as u64).is_multiple_of(lanes) {
                return None;
            }
            layout.block_bytes(*k).checked_mul(rows.len() as u64 / lanes)?
        }
        PackedContent::Vector { len, .. } => 4 * u64::from(*len),
        PackedContent::Gather { elems, .. } => 4 * elems.len() as u64,
        PackedContent::Rope { ctx, width, .. } => 8u64.checked_mul(u64::from(*ctx))?.checked_mul(u64::from(*width))?,
    })
}
