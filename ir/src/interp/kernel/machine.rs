//! Runs compiled kernels: the instruction loop, the lanes of a tile between barriers, and the grid.

use super::compile::Compiled;
use super::instr::{Instr, Origin};
use super::memory::{Local, Memory, Place, range_of, read_lanes, write_lanes};
use super::shared::Shared;
use super::{Fault, FaultKind, Step, lanes};
use crate::arena::Id;
use crate::kernel::{BufId, Builtin, Space, Type};

/// The state of a tile, reused from tile to tile.
#[derive(Debug)]
pub struct Machine<'k> {
    code: &'k Compiled,
    lanes: Vec<Lane>,
    /// By buffer; of parameters and private arrays empty.
    workgroup: Vec<Shared>,
    subgroup: u32,
}

/// Lanes of a subgroup where nobody asks for another size: software Vulkan's.
pub const SUBGROUP_LANES: u32 = 8;

#[derive(Debug)]
struct Lane {
    words: Vec<u32>,
    next: usize,
    /// By buffer; of other spaces empty.
    private: Vec<Local>,
}

/// What a launch gives to every tile.
struct Launch<'l, 'm> {
    memory: &'l mut Memory<'m>,
    places: &'l [Place],
    step: Step,
}

/// Where a lane stands.
#[derive(Clone, Copy)]
struct Invocation {
    tile: [u32; 3],
    lane: u32,
    lanes: u32,
    subgroup: u32,
}

/// Why a lane stopped.
#[derive(PartialEq, Eq)]
enum Stop {
    /// At the barrier before this instruction.
    Barrier(usize),
    /// At the subgroup reduction that is this instruction.
    Subgroup(usize),
    /// At the end of the body.
    End,
}

/// Runs a kernel on all tiles of a grid. Checks that bindings fit their regions and that the launch is within the kernel's
/// bounds, then runs tile by tile; the first fault ends it, with the memory as it is then.
pub fn run_grid(code: &Compiled, memory: &mut Memory<'_>, places: &[Place], step: Step, grid: [u32; 3]) -> Result<(), Fault> {
    Machine::new(code).grid(memory, places, step, grid)
}

impl<'k> Machine<'k> {
    /// The state for tiles of one kernel.
    pub fn new(code: &'k Compiled) -> Self {
        let sizes =
            |space: Space| code.kernel.buffers.iter().map(move |(_, b)| if b.space == space { b.len as usize * b.elem.bytes() as usize } else { 0 });
        let lane = || Lane { words: code.words.clone(), next: 0, private: sizes(Space::Private).map(Local::new).collect() };
        Self {
            code,
            lanes: (0..code.kernel.lanes).map(|_| lane()).collect(),
            workgroup: sizes(Space::Workgroup).map(Shared::new).collect(),
            subgroup: SUBGROUP_LANES,
        }
    }

    /// The same with subgroups of `lanes` lanes (at least 1), as another device has them.
    pub fn with_subgroups(mut self, lanes: u32) -> Self {
        self.subgroup = lanes.max(1);
        self
    }

    fn fault(&self, tile: [u32; 3], lane: usize, at: impl std::fmt::Display, kind: FaultKind) -> Fault {
        Fault { kernel: self.code.kernel.name.clone(), tile, lane: lane as u32, at: at.to_string(), kind }
    }

    /// Runs all tiles of a grid; see [`run_grid`].
    pub fn grid(&mut self, memory: &mut Memory<'_>, places: &[Place], step: Step, grid: [u32; 3]) -> Result<(), Fault> {
        self.check_launch(memory, places, step, grid)?;
        for z in 0..grid[2] {
            for y in 0..grid[1] {
                for x in 0..grid[0] {
                    self.tile(memory, places, step, [x, y, z])?;
                }
            }
        }
        Ok(())
    }

    /// Checks what [`tile`](Self::tile) takes for granted.
    fn check_launch(&self, memory: &Memory<'_>, places: &[Place], step: Step, grid: [u32; 3]) -> Result<(), Fault> {
        let k = &self.code.kernel;
        let fail = |kind| Err(self.fault([0; 3], 0, "launch", kind));
        let expected = k.params().count();
        if places.len() != expected {
            return fail(FaultKind::Bindings { expected, found: places.len() });
        }
        if let Some(i) = places.iter().position(|p| !memory.holds(p)) {
            return fail(FaultKind::Place(i));
        }
        for (name, value, (low, high)) in [("t", step.t, k.bounds.t), ("p", step.p, k.bounds.p), ("row", step.row, k.bounds.row)] {
            if value < low || value > high {
                return fail(FaultKind::Bounds(format!("{name} = {value} is outside {low}..{high}")));
            }
        }
        for (name, sum, most) in [
            ("p + t", step.p.saturating_add(step.t), k.bounds.most_p_plus_t()),
            ("row + t", step.row.saturating_add(step.t), k.bounds.most_row_plus_t()),
        ] {
            if sum > most {
                return fail(FaultKind::Bounds(format!("{name} = {sum} is more than {most}")));
            }
        }
        if (0..3).any(|i| grid[i] > k.grid[i]) {
            return fail(FaultKind::Bounds(format!("grid {grid:?} exceeds {:?}", k.grid)));
        }
        Ok(())
    }

    /// Runs one tile. A binding that does not fit its region is a fault only where it is used.
    pub fn tile(&mut self, memory: &mut Memory<'_>, places: &[Place], step: Step, tile: [u32; 3]) -> Result<(), Fault> {
        let code = self.code;
        self.workgroup.iter_mut().for_each(Shared::forget);
        for lane in &mut self.lanes {
            lane.next = 0;
            lane.private.iter_mut().for_each(Local::forget);
        }
        let mut launch = Launch { memory, places, step };
        loop {
            let mut met: Option<Stop> = None;
            for i in 0..self.lanes.len() {
                let place = Invocation { tile, lane: i as u32, lanes: code.kernel.lanes, subgroup: self.subgroup };
                let stop = match self.lanes[i].run(code, &mut launch, &mut self.workgroup, place) {
                    Ok(stop) => stop,
                    Err(kind) => {
                        let origin = code.origins.get(self.lanes[i].next).copied().unwrap_or(Origin::Flow);
                        return Err(self.fault(tile, i, origin, kind));
                    }
                };
                match &met {
                    None => met = Some(stop),
                    Some(first) if *first == stop => {}
                    Some(_) => return Err(self.fault(tile, i, "barrier", FaultKind::Barrier)),
                }
            }
            match met {
                Some(Stop::Barrier(_)) => self.workgroup.iter_mut().for_each(Shared::barrier),
                Some(Stop::Subgroup(at)) => self.reduce_subgroups(at).map_err(|kind| self.fault(tile, 0, code.origins[at], kind))?,
                Some(Stop::End) | None => return Ok(()),
            }
        }
    }

    /// Carries out the reduction at which all lanes stopped.
    fn reduce_subgroups(&mut self, at: usize) -> Result<(), FaultKind> {
        let Instr::Subgroup { op, scalar, d, a } = self.code.code[at] else { return Ok(()) };
        for lanes in self.lanes.chunks_mut(self.subgroup as usize) {
            let total = lanes::fold(op, scalar, lanes.iter().map(|lane| lane.words[a]))?;
            lanes.iter_mut().for_each(|lane| lane.words[d] = total);
        }
        Ok(())
    }
}

/// The operand words below `d`, and the result words from it on.
#[inline(always)]
fn split(words: &mut [u32], d: usize, n: usize) -> (&[u32], &mut [u32]) {
    let (low, high) = words.split_at_mut(d);
    (low, &mut high[..n])
}

impl Lane {
    /// Runs to the next barrier or the end. After a fault, `next` is the instruction at fault.
    fn run(&mut self, code: &Compiled, launch: &mut Launch<'_, '_>, workgroup: &mut [Shared], place: Invocation) -> Result<Stop, FaultKind> {
        while let Some(instr) = code.code.get(self.next) {
            let w = &mut self.words;
            match *instr {
                Instr::Builtin { which, d } => {
                    w[d] = match which {
                        Builtin::T => launch.step.t,
                        Builtin::P => launch.step.p,
                        Builtin::Row => launch.step.row,
                        Builtin::Grid(axis) => place.tile.get(usize::from(axis)).copied().unwrap_or(0),
                        Builtin::Lane => place.lane,
                        Builtin::Subgroup => place.lane / place.subgroup,
                        Builtin::SubgroupLane => place.lane % place.subgroup,
                        Builtin::Subgroups => place.lanes.div_ceil(place.subgroup),
                    };
                }
                Instr::Unary { op, scalar, d, a, n } => {
                    let (w, d) = split(w, d, n);
                    lanes::unary(op, scalar, d, &w[a..a + n]);
                }
                Instr::Binary { op, scalar, d, a, b, n } => {
                    let (w, d) = split(w, d, n);
                    lanes::binary(op, scalar, d, &w[a..a + n], &w[b..b + n])?;
                }
                Instr::Fma { scalar, d, a, b, c, n } => {
                    let (w, d) = split(w, d, n);
                    lanes::fma(scalar, d, &w[a..a + n], &w[b..b + n], &w[c..c + n]);
                }
                Instr::Cmp { op, scalar, d, a, b, n } => {
                    let (w, d) = split(w, d, n);
                    lanes::compare(op, scalar, d, &w[a..a + n], &w[b..b + n]);
                }
                Instr::Select { one: true, d, c, a, b, n } => {
                    let from = if w[c] != 0 { a } else { b };
                    w.copy_within(from..from + n, d);
                }
                Instr::Select { one: false, d, c, a, b, n } => {
                    let (w, d) = split(w, d, n);
                    for (i, d) in d.iter_mut().enumerate() {
                        *d = if w[c + i] != 0 { w[a + i] } else { w[b + i] };
                    }
                }
                Instr::Convert { from, to, d, a, n } => {
                    let (w, d) = split(w, d, n);
                    lanes::convert(from, to, d, &w[a..a + n]);
                }
                Instr::Bitcast { from, to, d, a } => {
                    let mut bytes = [0; 256];
                    let bytes = &mut bytes[..from.bytes() as usize];
                    write_lanes(from.scalar, bytes, &w[a..a + usize::from(from.lanes)]);
                    read_lanes(to.scalar, bytes, &mut w[d..d + usize::from(to.lanes)]);
                }
                Instr::Dot4 { max_a, d, acc, a, b, n } => {
                    let (w, d) = split(w, d, n);
                    lanes::dot4(max_a, d, &w[acc..acc + n], &w[a..a + 4 * n], &w[b..b + 4 * n])?;
                }
                Instr::Dot2 { narrow, d, a, b, n } => {
                    let (w, d) = split(w, d, n);
                    lanes::dot2(narrow, d, &w[a..a + 2 * n], &w[b..b + 2 * n])?;
                }
                Instr::Mmla { d, acc, a, b, n } => {
                    let (w, d) = split(w, d, n);
                    lanes::mmla(d, &w[acc..acc + n], &w[a..a + 4 * n], &w[b..b + 4 * n]);
                }
                Instr::Repeat { d, a, from, n } => {
                    let (w, d) = split(w, d, n);
                    for part in d.chunks_exact_mut(from) {
                        part.copy_from_slice(&w[a..a + from]);
                    }
                }
                Instr::Shuffle { table, d, a, b, from } => {
                    let table = &code.tables[table];
                    let (w, d) = split(w, d, table.len());
                    for (d, &lane) in d.iter_mut().zip(table) {
                        let lane = usize::from(lane);
                        *d = if lane < from { w[a + lane] } else { w[b + lane - from] };
                    }
                }
                Instr::Reduce { op, scalar, d, a, n } => w[d] = lanes::reduce(op, scalar, &w[a..a + n])?,
                Instr::Move { d, a, n } => w.copy_within(a..a + n, d),
                Instr::Load { ty, d, buf, index } => {
                    let index = w[index];
                    let d = &mut w[d..d + usize::from(ty.lanes)];
                    load(code, launch, workgroup, &self.private, place.lane, buf, index, ty, d)?;
                }
                Instr::Store { ty, buf, index, value } => {
                    let index = w[index];
                    let value = &w[value..value + usize::from(ty.lanes)];
                    store(code, launch, workgroup, &mut self.private, place.lane, buf, index, ty, value)?;
                }
                Instr::Loop { iv, start, end, exit } => {
                    w[iv] = w[start];
                    if w[start] >= w[end] {
                        self.next = exit;
                        continue;
                    }
                }
                Instr::Next { iv, end, step, body } => {
                    let next = u64::from(w[iv]) + u64::from(step);
                    if next < u64::from(w[end]) {
                        w[iv] = next as u32;
                        self.next = body;
                        continue;
                    }
                }
                Instr::Jump { to } => {
                    self.next = to;
                    continue;
                }
                Instr::Branch { cond, otherwise } => {
                    if w[cond] == 0 {
                        self.next = otherwise;
                        continue;
                    }
                }
                Instr::Barrier => {
                    self.next += 1;
                    return Ok(Stop::Barrier(self.next));
                }
                Instr::Subgroup { .. } => {
                    self.next += 1;
                    return Ok(Stop::Subgroup(self.next - 1));
                }
            }
            self.next += 1;
        }
        Ok(Stop::End)
    }
}

/// The place bound to a parameter and the bytes that may be touched there.
fn bound(code: &Compiled, launch: &Launch<'_, '_>, buf: BufId) -> Result<(Place, u64), FaultKind> {
    let place = launch.places.get(buf.index()).copied().ok_or(FaultKind::Place(buf.index()))?;
    if !launch.memory.holds(&place) {
        return Err(FaultKind::Place(buf.index()));
    }
    let b = &code.kernel.buffers[buf];
    Ok((place, (place.bytes as u64).min(u64::from(b.len) * u64::from(b.elem.bytes()))))
}

#[allow(clippy::too_many_arguments, reason = "one access names its memory, place and type")]
fn load(
    code: &Compiled,
    launch: &Launch<'_, '_>,
    workgroup: &mut [Shared],
    private: &[Local],
    lane: u32,
    buf: BufId,
    index: u32,
    ty: Type,
    d: &mut [u32],
) -> Result<(), FaultKind> {
    let b = &code.kernel.buffers[buf];
    match b.space {
        Space::Param => {
            let (place, len) = bound(code, launch, buf)?;
            let start = place.offset + range_of(index, b.elem, ty, len)?;
            read_lanes(ty.scalar, &launch.memory.bytes(place.region)[start..start + ty.bytes() as usize], d);
            Ok(())
        }
        Space::Workgroup => {
            let shared = &mut workgroup[buf.index()];
            shared.load(lane, range_of(index, b.elem, ty, shared.len() as u64)?, ty, d)
        }
        Space::Private => {
            let local = &private[buf.index()];
            local.load(range_of(index, b.elem, ty, local.len() as u64)?, ty, d)
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "one access names its memory, place and type")]
fn store(
    code: &Compiled,
    launch: &mut Launch<'_, '_>,
    workgroup: &mut [Shared],
    private: &mut [Local],
    lane: u32,
    buf: BufId,
    index: u32,
    ty: Type,
    value: &[u32],
) -> Result<(), FaultKind> {
    let b = &code.kernel.buffers[buf];
    match b.space {
        Space::Param => {
            let (place, len) = bound(code, launch, buf)?;
            let start = place.offset + range_of(index, b.elem, ty, len)?;
            let bytes = launch.memory.bytes_mut(place.region).ok_or(FaultKind::ReadOnly)?;
            write_lanes(ty.scalar, &mut bytes[start..start + ty.bytes() as usize], value);
            Ok(())
        }
        Space::Workgroup => {
            let shared = &mut workgroup[buf.index()];
            shared.store(lane, range_of(index, b.elem, ty, shared.len() as u64)?, ty, value)
        }
        Space::Private => {
            let local = &mut private[buf.index()];
            local.store(range_of(index, b.elem, ty, local.len() as u64)?, ty, value);
            Ok(())
        }
    }
}
