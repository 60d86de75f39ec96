//! Every kernel of the compiled student, and of the families whose kernels it lacks: its MSL, run lane by lane, gives what the
//! interpreter of kernel IR gives.
//!
//! Inputs are those of a real run: a prompt, then single tokens, walked dispatch by dispatch with the interpreter's
//! memory. Each dispatch starts both from the same bytes, so that errors do not add up, and all memory is compared, not
//! only what the kernel was to write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use slmc_ir::arena::Id;
use slmc_ir::interp::kernel::{Compiled as Code, Machine, Memory, Place, Region, Step};
use slmc_ir::kernel::{Access, KernelId, Scalar};
use slmc_ir::plan::{Binding, Dispatch, Plan, place_of};
use slmc_tests::expected::fixture;
use slmc_tests::msl::compile::skipped;

use crate::closeness::compare;
use crate::guarded::Guarded;
use crate::launch::{Bound, Kernels, Launch};
use crate::program::{Compiled, compile_for, warehouse};

const ARENA: usize = 0;
const WEIGHTS: usize = 1;
const KV: usize = 2;

/// A session whose dispatches run both ways.
struct Walk<'a> {
    model: &'a Compiled,
    code: Vec<Code>,
    kernels: Kernels,
    weights: Guarded,
    arena: Vec<u8>,
    kv: Vec<u8>,
    /// Simdgroup sizes to try.
    simdgroups: &'a [u32],
    /// What was seen, by kernel.
    seen: BTreeMap<usize, Seen>,
}

/// The launches of a kernel.
#[derive(Default)]
struct Seen {
    launches: usize,
    /// Greatest difference over the RMS.
    worst: f64,
    /// What was too far.
    faults: Vec<String>,
}

impl<'a> Walk<'a> {
    /// A session at position 0, with `text` for the library.
    fn new(model: &'a Compiled, text: &str, simdgroups: &'a [u32]) -> Self {
        let start = Instant::now();
        let kernels = Kernels::new(text).unwrap_or_else(|e| panic!("{e}"));
        println!("{} kernels, {} KiB of MSL, compiled in {:?}", model.kernels.kernels.len(), text.len() >> 10, start.elapsed());
        let code = model.kernels.kernels.iter().map(|(_, k)| Code::new(k).unwrap_or_else(|faults| panic!("{faults:#?}"))).collect();
        let (arena, kv) = (vec![0xff; model.plan.arena_bytes as usize], vec![0; model.plan.kv_bytes as usize]);
        Self { model, code, kernels, weights: Guarded::new(&model.weights), arena, kv, simdgroups, seen: BTreeMap::new() }
    }

    fn plan(&self) -> &'a Plan {
        &self.model.plan
    }

    fn step(&mut self, ids: &[u32], p: u32, head_rows: u32) {
        let plan = self.plan();
        let at = place_of(plan, Binding::Arena(plan.tokens)).expect("a buffer of token ids").0 as usize;
        for (i, id) in ids.iter().enumerate() {
            self.arena[at + 4 * i..][..4].copy_from_slice(&id.to_le_bytes());
        }
        let t = ids.len() as u32;
        self.list(if t == 1 { &plan.decode } else { &plan.prefill }, Step { t, p, row: 0 });
        let head = if head_rows == 1 { &plan.head_one } else { &plan.head_many };
        self.list(head, Step { t: head_rows, p, row: t - head_rows });
        self.list(&plan.argmax, Step { t: 1, p, row: 0 });
    }

    fn list(&mut self, dispatches: &[Dispatch], step: Step) {
        for dispatch in dispatches {
            self.dispatch(dispatch, step);
        }
    }

    fn dispatch(&mut self, dispatch: &Dispatch, step: Step) {
        let index = KernelId::index(dispatch.kernel);
        let kernel = &self.model.kernels.kernels[dispatch.kernel];
        let grid = dispatch.grid.map(|e| e.tiles(step.t, step.p));
        if grid.contains(&0) {
            return;
        }
        let places: Vec<Place> = dispatch.bindings.iter().map(|&b| self.place(b)).collect();
        let before = (self.arena.clone(), self.kv.clone());
        let mut memory =
            Memory { regions: vec![Region::ReadWrite(&mut self.arena), Region::ReadOnly(&self.model.weights), Region::ReadWrite(&mut self.kv)] };
        let mut machine = Machine::new(&self.code[index]).with_subgroups(32);
        machine.grid(&mut memory, &places, step, grid).unwrap_or_else(|fault| panic!("{fault}"));
        let shader = &self.model.shaders.kernels[index];
        let (entry, _) = self.kernels.compiled.entry(&shader.entry).unwrap_or_else(|| panic!("no entry point {}", shader.entry));
        let mut numbers = Guarded::new(&[step.t, step.p, step.row, 0].iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>());
        for &simdgroup in self.simdgroups {
            for descending in [false, true] {
                let mut regions = [Guarded::new(&before.0), Guarded::new(&[]), Guarded::new(&before.1)];
                let mut bound = |place: &Place| {
                    let base = if place.region == WEIGHTS { self.weights.address() } else { regions[place.region].address() };
                    Some(Bound { at: base.wrapping_add(place.offset), bytes: place.bytes as u64 })
                };
                let mut slots: Vec<Option<Bound>> = places.iter().map(&mut bound).collect();
                slots.resize(shader.step_slot as usize + 1, None);
                slots[shader.step_slot as usize] = Some(Bound { at: numbers.address(), bytes: 16 });
                let arrays = shader.workgroup.iter().map(|&b| u64::from(b)).collect();
                let how = Launch { groups: grid, lanes: [kernel.lanes, 1, 1], simdgroup, descending, arrays };
                // SAFETY: the plan places every binding inside its region; the regions are ours and guarded.
                let ran = unsafe { self.kernels.launch(entry, &slots, &how) };
                let outcome = ran.and_then(|()| {
                    let found = [regions[ARENA].bytes()?, regions[KV].bytes()?];
                    self.compare_all(dispatch, &places, [&before.0, &before.1], [&found[0], &found[1]])
                });
                let seen = self.seen.entry(index).or_default();
                seen.launches += 1;
                match outcome {
                    Ok(worst) => seen.worst = seen.worst.max(worst),
                    Err(what) => seen.faults.push(format!("{} {step:?} with {how:?}: {what}", kernel.name)),
                }
            }
        }
    }

    fn place(&self, binding: Binding) -> Place {
        let (offset, bytes) = place_of(self.plan(), binding).expect("the plan is verified");
        let region = match binding {
            Binding::Arena(_) => ARENA,
            Binding::Packed(_) => WEIGHTS,
            Binding::Kv(_) => KV,
        };
        Place { region, offset: offset as usize, bytes: bytes as usize }
    }

    /// Compares the arena and the cache: what the kernel may write by its element type, all else bit by bit.
    fn compare_all(&self, dispatch: &Dispatch, places: &[Place], before: [&[u8]; 2], found: [&[u8]; 2]) -> Result<f64, String> {
        let kernel = &self.model.kernels.kernels[dispatch.kernel];
        let mut worst = 0.0f64;
        let mut rest = [found[0].to_vec(), found[1].to_vec()];
        for ((_, buffer), place) in kernel.params().zip(places) {
            if buffer.access == Access::Read || place.region == WEIGHTS {
                continue;
            }
            let side = usize::from(place.region == KV);
            let expected = if side == 0 { &self.arena } else { &self.kv };
            let range = place.offset..place.offset + place.bytes;
            let scalar = buffer.elem.scalar;
            let far = compare(scalar, &before[side][range.clone()], &expected[range.clone()], &found[side][range.clone()]);
            worst = worst.max(far.map_err(|what| format!("%{}: {what}", buffer.name))?);
            rest[side][range.clone()].copy_from_slice(&expected[range]);
        }
        for (rest, (expected, name)) in rest.iter().zip([(&self.arena, "arena"), (&self.kv, "KV cache")]) {
            compare(Scalar::U8, expected, expected, rest).map_err(|what| format!("{name}, outside of what is bound for writing: {what}"))?;
        }
        Ok(worst)
    }
}

/// The library text of a model.
fn text_of(model: &Compiled) -> &str {
    std::str::from_utf8(&model.shaders.bytes).expect("MSL is text")
}

fn every_kernel(checkpoint: &Path, target: &str, passes: &str, simdgroups: &[u32]) {
    let model = compile_for(checkpoint, target, passes, 256, 32);
    let mut walk = Walk::new(&model, text_of(&model), simdgroups);
    let ids: Vec<u32> = (0..30).map(|i| (3 + i * 61 % 900) % model.plan.vocab).collect();
    // A prompt with a ragged end, another behind it with logits of several rows, and a single token.
    walk.step(&ids[..19], 0, 1);
    walk.step(&ids[19..27], 19, 5);
    walk.step(&ids[27..28], 27, 1);
    let mut faults = Vec::new();
    for (id, kernel) in model.kernels.kernels.iter() {
        match walk.seen.get(&id.index()) {
            Some(seen) => {
                println!("{:60} {:4} launches, at most {:.1e} of the RMS", kernel.name, seen.launches, seen.worst);
                faults.extend(seen.faults.iter().cloned());
            }
            None => faults.push(format!("no dispatch runs {}", kernel.name)),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_kernel_of_the_student_gives_the_interpreters_numbers() {
    if skipped("every_kernel_of_the_student_gives_the_interpreters_numbers").is_some() {
        return;
    }
    every_kernel(&warehouse(), "iphone15-metal", "fold,share,quantize,fuse", &[32, 16]);
}

#[test]
fn so_does_every_kernel_for_a_mac_with_bytes_for_weights() {
    if skipped("so_does_every_kernel_for_a_mac_with_bytes_for_weights").is_some() {
        return;
    }
    every_kernel(&warehouse(), "mac-m1-metal", "fold,share,quantize{body=q8g32,embed=q8g32,head=q8g32},fuse", &[32]);
}

#[test]
fn so_do_kernels_of_norms_windows_and_soft_caps() {
    if skipped("so_do_kernels_of_norms_windows_and_soft_caps").is_some() {
        return;
    }
    for name in ["gemma2", "gemma3", "stablelm2"] {
        every_kernel(&fixture(name), "iphone15-metal", "fold,share,quantize,fuse", &[32]);
    }
    every_kernel(&fixture("qwen3"), "mac-m1-metal", "fold,share,quantize{body=f32,embed=f32,head=f32,kv=f32},fuse", &[32]);
}

/// `text` without one of the barriers, the first or the last, if it has any.
fn without_barrier(text: &str, last: bool) -> String {
    const BARRIER: &str = "metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);";
    match if last { text.rfind(BARRIER) } else { text.find(BARRIER) } {
        Some(at) => format!("{}{}", &text[..at], &text[at + BARRIER.len()..]),
        None => text.to_owned(),
    }
}

#[test]
fn a_kernel_without_one_of_its_barriers_is_found_out() {
    if skipped("a_kernel_without_one_of_its_barriers_is_found_out").is_some() {
        return;
    }
    const KERNEL: &str = "kernel void ";
    let model = compile_for(&warehouse(), "iphone15-metal", "fold,share,quantize,fuse", 256, 32);
    let whole: Vec<&str> = text_of(&model).split(KERNEL).collect();
    let mut found_out = BTreeSet::new();
    // The first barrier of some kernels only guards an earlier use of the memory, of which there is none in one launch.
    for last in [false, true] {
        let parts: Vec<String> = whole.iter().map(|part| without_barrier(part, last)).collect();
        let mut walk = Walk::new(&model, &parts.join(KERNEL), &[32]);
        walk.step(&[5, 700, 31], 0, 2);
        walk.step(&[9], 3, 1);
        for (index, seen) in walk.seen {
            let name = &model.shaders.kernels[index].entry;
            let seeded = whole.iter().zip(&parts).any(|(whole, part)| whole.starts_with(name.as_str()) && whole != part);
            assert!(seeded || seen.faults.is_empty(), "{}", seen.faults.join("\n"));
            if !seen.faults.is_empty() {
                found_out.insert(name);
            }
        }
    }
    let with_barrier = model.shaders.kernels.iter().filter(|s| whole.iter().any(|p| p.starts_with(&s.entry) && p.contains("threadgroup_barrier")));
    let not: Vec<&str> = with_barrier.map(|s| s.entry.as_str()).filter(|name| !found_out.iter().any(|n| n == name)).collect();
    assert!(found_out.len() > 8 && not.is_empty(), "{} kernels without a barrier were found out, {not:?} not", found_out.len());
}
