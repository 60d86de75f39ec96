//! CPU lowering: groups of the fused graph become dispatches of a few parametrized kernels.
//!
//! Per layer of a Llama-like model: q/k/v projection with rotation and cache writes, attention, output projection with
//! residual and next norm, gate/up projection with activation, down projection with residual and next norm.

pub mod activation;
pub mod attention;
pub mod body;
pub mod embed;
pub mod epilogue;
mod faults;
pub mod head;
pub mod heads;
pub mod matmul;
pub mod product;
pub mod quantize;
pub mod schedule;

use std::collections::BTreeMap;

use slmc_ir::arena::Arena;
use slmc_ir::graph::{DType, Graph, KvPart, NodeId, Op, SegmentKind, ValueId, WeightId};
use slmc_ir::kernel::{KernelId, KernelModule};
use slmc_ir::plan::{ArenaBuffer, ArenaId, Binding, Dispatch, Extent, KvBuffer, MatrixLayout, Packed, PackedContent, PackedId, Plan};
use slmc_ir::target::Target;

use super::{LowerError, Lowered};
use crate::lower::activation::ActShape;

use super::launch::{HEAD_ROWS, Launch, Limits, Phase};
use faults::Faults;
use schedule::Schedule;

/// Lowers a fused graph for a CPU target.
///
/// # Errors
/// Names every group that has no schedule.
pub fn lower(graph: &Graph, target: &Target) -> Result<Lowered, LowerError> {
    let mut cx = Lowering::new(graph, target)?;
    cx.plan.decode = cx.body(Phase::Decode);
    cx.plan.head_one = cx.head(Phase::HeadOne);
    cx.plan.prefill = cx.body(Phase::Prefill);
    cx.plan.head_many = cx.head(Phase::HeadMany);
    if !cx.faults.is_empty() {
        return Err(LowerError::Unsupported(cx.faults.into_sentences()));
    }
    cx.place_weights();
    Ok(Lowered { kernels: cx.kernels, plan: cx.plan })
}

/// How a graph value lies in memory.
#[derive(Debug, Clone)]
pub(super) enum Repr {
    /// Token ids.
    Tokens,
    /// f32 rows of the residual stream.
    Residual(ArenaId),
    /// Activations that feed a `linear`.
    Act(Vec<ArenaId>, ActShape),
    /// Query rows, heads padded.
    Queries(ArenaId),
    /// A half of a KV slot: index into the plan's.
    Cache(u32),
}

pub(super) struct Lowering<'a> {
    pub graph: &'a Graph,
    pub target: &'a Target,
    pub sched: Schedule,
    pub limits: Limits,
    pub kernels: KernelModule,
    by_name: BTreeMap<String, (KernelId, [Extent; 3])>,
    pub plan: Plan,
    pub faults: Faults,
    /// The activations between body and head.
    pub boundary: Option<(Vec<ArenaId>, ActShape)>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, target: &'a Target) -> Result<Self, LowerError> {
        if graph.body.groups.is_empty() || graph.head.groups.is_empty() {
            return Err(LowerError::Bug("a graph without groups: pass `fuse` must run before lowering".into()));
        }
        let limits = Limits { chunk: graph.bounds.chunk, ctx: graph.bounds.ctx, head_rows: HEAD_ROWS };
        let vocab = graph.head.outputs.first().and_then(|&v| graph.values[v].ty.last()).unwrap_or(0);
        let mut arena = Arena::new();
        let tokens = arena.push(ArenaBuffer { name: "tokens".into(), bytes: 4 * u64::from(limits.chunk), offset: 0, pinned: true });
        let logits = arena.push(ArenaBuffer { name: "logits".into(), bytes: 4 * u64::from(HEAD_ROWS) * u64::from(vocab), offset: 0, pinned: true });
        let plan = Plan {
            chunk: limits.chunk,
            ctx: limits.ctx,
            vocab,
            head_rows: HEAD_ROWS,
            arena,
            arena_bytes: 0,
            kv: Vec::new(),
            kv_bytes: 0,
            packed: Arena::new(),
            weights_bytes: 0,
            tokens,
            logits,
            picked: None,
            decode: Vec::new(),
            prefill: Vec::new(),
            head_one: Vec::new(),
            head_many: Vec::new(),
            argmax: Vec::new(),
        };
        Ok(Self {
            graph,
            target,
            sched: Schedule::new(target),
            limits,
            kernels: KernelModule::default(),
            by_name: BTreeMap::new(),
            plan,
            faults: Faults::default(),
            boundary: None,
        })
    }

    /// Records what has no schedule.
    pub fn fault(&mut self, node: NodeId, what: &str) {
        let place = self.place_of(node);
        self.faults.add(place, what, false);
    }

    /// Records what has no schedule, if it is not the consequence of another fault.
    pub fn consequence(&mut self, node: NodeId, what: &str) {
        let place = self.place_of(node);
        self.faults.add(place, what, true);
    }

    /// A node in words: its result, its op and, if it has one, its weight's name.
    fn place_of(&self, node: NodeId) -> String {
        let n = &self.graph.nodes[node];
        let op = n.op.info().name;
        match n.weights.first() {
            Some(&w) => format!("{} = {op} `{}`", n.output, self.graph.weights[w].name),
            None => format!("{} = {op}", n.output),
        }
    }

    /// Rows that an arena buffer of a phase holds: the step's, and as many as a token tile may read past them.
    pub fn rows(&self, phase: Phase) -> u32 {
        match phase {
            Phase::Decode | Phase::HeadOne => 1,
            Phase::Prefill | Phase::HeadMany => self.limits.chunk + self.sched.token_tile.max(HEAD_ROWS),
        }
    }

    pub fn buffer(&mut self, name: String, bytes: u64, pinned: bool) -> ArenaId {
        self.plan.arena.push(ArenaBuffer { name, bytes, offset: 0, pinned })
    }

    pub fn act_buffers(&mut self, name: &str, shape: &ActShape, pinned: bool) -> Vec<ArenaId> {
        activation::buffers(shape).into_iter().map(|(part, bytes)| self.buffer(format!("{name}.{part}"), bytes, pinned)).collect()
    }

    /// The kernel of a name, made by `make` if it is new.
    pub fn kernel(&mut self, name: &str, make: impl FnOnce(&str) -> Launch) -> (KernelId, [Extent; 3]) {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let launch = make(name);
        let id = self.kernels.kernels.push(launch.kernel);
        self.by_name.insert(name.to_string(), (id, launch.grid));
        (id, launch.grid)
    }

    pub fn dispatch(&self, (kernel, grid): (KernelId, [Extent; 3]), bindings: Vec<Binding>) -> Dispatch {
        Dispatch { kernel, bindings, grid, beside: false }
    }

    /// The packed section of a content, shared with equal ones.
    pub fn pack(&mut self, name: String, content: PackedContent) -> PackedId {
        if let Some((id, _)) = self.plan.packed.iter().find(|(_, p)| p.content == content) {
            return id;
        }
        let bytes = match &content {
            PackedContent::Matrix { layout, k, rows } => layout.block_bytes(*k) * (rows.len() as u64 / u64::from(layout.lanes)),
            PackedContent::Vector { len, .. } => 4 * u64::from(*len),
            PackedContent::Gather { elems } => 4 * elems.len() as u64,
            PackedContent::Rope { ctx, width, .. } => 8 * u64::from(*ctx) * u64::from(*width),
        };
        self.plan.packed.push(Packed { name, content, offset: 0, bytes })
    }

    /// A 1-D weight as f32, padded to `len`.
    pub fn pack_vector(&mut self, weight: WeightId, len: u32) -> PackedId {
        let name = self.graph.weights[weight].name.clone();
        self.pack(name, PackedContent::Vector { weight, len })
    }

    /// A matrix of the rows; they are padded to whole units of `unit` rows.
    pub fn pack_matrix(&mut self, layout: MatrixLayout, k: u32, mut rows: Vec<Option<(WeightId, u32)>>, unit: u32) -> PackedId {
        rows.resize(rows.len().next_multiple_of(unit as usize), None);
        let name = rows.iter().flatten().next().map_or_else(String::new, |(w, _)| self.graph.weights[*w].name.clone());
        self.pack(name, PackedContent::Matrix { layout, k, rows })
    }

    pub fn layout(&self, dtype: DType) -> MatrixLayout {
        let q8_offset = if dtype == DType::Q8 { self.sched.q8_offset } else { 0 };
        MatrixLayout { dtype, lanes: self.sched.lanes, q8_offset }
    }

    /// The half of a KV slot, made on first use.
    pub fn kv_half(&mut self, slot: u32, part: KvPart, bytes: u64, bytes_per_position: u32) -> u32 {
        if let Some(i) = self.plan.kv.iter().position(|k| k.slot == slot && k.part == part) {
            return i as u32;
        }
        let offset = self.plan.kv_bytes;
        self.plan.kv_bytes = (offset + bytes).next_multiple_of(64);
        self.plan.kv.push(KvBuffer { slot, part, offset, bytes, bytes_per_position });
        (self.plan.kv.len() - 1) as u32
    }

    /// Whether the head quantizes what the body gives it; then the body's last kernel does.
    pub fn boundary_quantized(&self) -> bool {
        let head = &self.graph.head;
        head.order.iter().any(|&n| {
            let node = &self.graph.nodes[n];
            matches!(node.op, Op::QuantizeAct) && head.inputs.contains(&node.inputs[0])
        })
    }

    /// The nodes of a segment that use `v`.
    pub fn users(&self, which: SegmentKind, v: ValueId) -> impl Iterator<Item = NodeId> + '_ {
        self.graph.segment(which).order.iter().copied().filter(move |&n| self.graph.nodes[n].inputs.contains(&v))
    }

    /// Gives every packed section its offset: matrices on pages, vectors on cache lines.
    fn place_weights(&mut self) {
        let page = u64::from(self.target.page_bytes);
        let mut at = 0u64;
        for (_, p) in self.plan.packed.iter_mut() {
            let align = if matches!(p.content, PackedContent::Matrix { .. }) { page } else { 64 };
            at = at.next_multiple_of(align);
            p.offset = at;
            at += p.bytes;
        }
        self.plan.weights_bytes = at.next_multiple_of(page);
    }
}
