//! What lowering builds, whatever the target kind: kernels by name, packed sections, arena buffers, KV halves, faults.

use std::collections::{BTreeMap, BTreeSet};

use slmc_ir::arena::Arena;
use slmc_ir::graph::{DType, Graph, KvPart, NodeId, WeightId};
use slmc_ir::kernel::{KernelId, KernelModule};
use slmc_ir::plan::{ArenaBuffer, ArenaId, Binding, Dispatch, Extent, KvBuffer, MatrixLayout, Packed, PackedContent, PackedId, Plan, place_of};
use slmc_ir::target::Target;

use super::LowerError;
use super::activation::ActShape;
use super::emit::Emit;
use super::faults::Faults;
use super::heads::Heads;
use super::launch::{HEAD_ROWS, Launch, Limits, Phase};

/// A lowering in progress.
pub(super) struct Lowering<'a> {
    pub graph: &'a Graph,
    pub target: &'a Target,
    pub emit: &'a dyn Emit,
    pub limits: Limits,
    pub kernels: KernelModule,
    by_name: BTreeMap<String, (KernelId, [Extent; 3])>,
    pub plan: Plan,
    pub faults: Faults,
    /// The activations between body and head.
    pub boundary: Option<(Vec<ArenaId>, ActShape)>,
}

impl<'a> Lowering<'a> {
    pub fn new(graph: &'a Graph, target: &'a Target, emit: &'a dyn Emit) -> Result<Self, LowerError> {
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
            emit,
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
            Phase::Prefill | Phase::HeadMany => self.limits.chunk + self.emit.spare_rows(),
        }
    }

    pub fn buffer(&mut self, name: String, bytes: u64, pinned: bool) -> ArenaId {
        self.plan.arena.push(ArenaBuffer { name, bytes, offset: 0, pinned })
    }

    pub fn act_buffers(&mut self, name: &str, shape: &ActShape, pinned: bool) -> Vec<ArenaId> {
        self.emit.act_buffers(shape).into_iter().map(|(part, bytes)| self.buffer(format!("{name}.{part}"), bytes, pinned)).collect()
    }

    /// The kernel of a name, made by `make` if it is new, launched on `bindings`.
    pub fn launch(&mut self, name: &str, bindings: Vec<Binding>, make: impl FnOnce(&str) -> Launch) -> Dispatch {
        let (kernel, grid) = match self.by_name.get(name) {
            Some(known) => *known,
            None => {
                let launch = make(name);
                let id = self.kernels.kernels.push(launch.kernel);
                self.by_name.insert(name.to_string(), (id, launch.grid));
                (id, launch.grid)
            }
        };
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
            PackedContent::Gather { elems, .. } => 4 * elems.len() as u64,
            PackedContent::Rope { ctx, width, .. } => 8 * u64::from(*ctx) * u64::from(*width),
        };
        self.plan.packed.push(Packed { name, content, offset: 0, bytes })
    }

    /// A 1-D weight as f32, padded to `len`, with `plus` added to each element.
    pub fn pack_vector(&mut self, weight: WeightId, len: u32, plus: f32) -> PackedId {
        let name = self.graph.weights[weight].name.clone();
        self.pack(name, PackedContent::Vector { weight, len, plus })
    }

    /// A matrix of the rows, which fill blocks.
    pub fn pack_matrix(&mut self, layout: MatrixLayout, k: u32, rows: Vec<Option<(WeightId, u32)>>) -> PackedId {
        let name = rows.iter().flatten().next().map_or_else(String::new, |(w, _)| self.graph.weights[*w].name.clone());
        self.pack(name, PackedContent::Matrix { layout, k, rows })
    }

    /// The layout of a weight's format.
    pub fn layout_of(&self, weight: WeightId) -> MatrixLayout {
        self.emit.matrix_layout(self.graph.weights[weight].ty.dtype)
    }

    /// The half of a KV slot, made on first use.
    pub fn kv_half(&mut self, slot: u32, part: KvPart, heads: &Heads) -> u32 {
        if let Some(i) = self.plan.kv.iter().position(|k| k.slot == slot && k.part == part) {
            return i as u32;
        }
        let bytes = heads.cache_bytes();
        let bytes_per_position = (bytes / u64::from(heads.positions)) as u32;
        let offset = self.plan.kv_bytes;
        self.plan.kv_bytes = (offset + bytes).next_multiple_of(self.target.binding_align());
        self.plan.kv.push(KvBuffer { slot, part, offset, bytes, bytes_per_position, ring: heads.ring() });
        (self.plan.kv.len() - 1) as u32
    }

    /// The format of a weight.
    pub fn dtype_of(&self, weight: WeightId) -> DType {
        self.graph.weights[weight].ty.dtype
    }

    /// Records what kernels ask for and what is bound beyond the target's limits.
    pub fn check_limits(&mut self) {
        for (_, kernel) in self.kernels.kernels.iter() {
            for what in self.emit.over_limits(kernel) {
                self.faults.add(format!("`{}`", kernel.name), &what, false);
            }
        }
        let most = self.emit.section_bytes();
        let over: BTreeSet<String> = (self.plan.lists().iter().flat_map(|(_, list)| list.iter()))
            .flat_map(|dispatch| &dispatch.bindings)
            .filter_map(|&binding| {
                let (_, bytes) = place_of(&self.plan, binding)?;
                let name = match binding {
                    Binding::Arena(id) => self.plan.arena[id].name.clone(),
                    Binding::Packed(id) => self.plan.packed[id].name.clone(),
                    Binding::Kv(i) => format!("kv {i}"),
                };
                (bytes > most).then(|| format!("`{name}` of {bytes} bytes"))
            })
            .collect();
        let what = format!("the target binds at most {most} bytes; a shorter context or chunk makes buffers smaller");
        for name in over {
            self.faults.add(name, &what, false);
        }
    }

    /// Gives every packed section its offset: matrices on pages, vectors where a binding may begin.
    pub fn place_weights(&mut self) {
        let page = u64::from(self.target.page_bytes);
        let mut at = 0u64;
        for (_, p) in self.plan.packed.iter_mut() {
            let align = if matches!(p.content, PackedContent::Matrix { .. }) { page } else { self.target.binding_align() };
            at = at.next_multiple_of(align);
            p.offset = at;
            at += p.bytes;
        }
        self.plan.weights_bytes = at.next_multiple_of(page);
    }
}
