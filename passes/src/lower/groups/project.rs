//! Products with packed matrices: sections, biases, bindings, one dispatch a section.

use slmc_ir::graph::{NodeId, WeightId};
use slmc_ir::plan::{ArenaId, Binding, MatrixLayout, PackedContent, PackedId};

use super::Run;
use crate::lower::activation::{ActShape, GROUP};
use crate::lower::context::Lowering;
use crate::lower::emit::{Epilogue, Frame, Span};

/// A product with the rows of one or more weights of a format.
pub(super) struct Product<'p> {
    /// For messages.
    pub node: NodeId,
    /// The activations read.
    pub act: &'p [ArenaId],
    /// Their shape.
    pub shape: ActShape,
    /// How the matrix lies in memory.
    pub layout: MatrixLayout,
    /// Its rows; they are padded to whole units.
    pub rows: Vec<Option<(WeightId, u32)>>,
    /// Blocks of a unit.
    pub unit_blocks: u32,
    /// Weights with their biases.
    pub biases: Vec<(WeightId, WeightId)>,
}

impl Lowering<'_> {
    /// The product of a `linear` with all its `features` rows, in units of 32 features.
    pub(super) fn feature_product<'p>(&self, linear: NodeId, act: &'p [ArenaId], shape: ActShape, features: u32) -> Product<'p> {
        let weights = &self.graph.nodes[linear].weights;
        let layout = self.layout_of(weights[0]);
        Product {
            node: linear,
            act,
            shape,
            layout,
            rows: (0..features.next_multiple_of(GROUP)).map(|r| (r < features).then_some((weights[0], r))).collect(),
            unit_blocks: GROUP / u32::from(layout.lanes),
            biases: weights.get(1).map(|b| (weights[0], *b)).into_iter().collect(),
        }
    }

    /// Packs rows, padded to whole units, as one section or as many as the target's limit asks for.
    pub(super) fn pack_sections(
        &mut self,
        node: NodeId,
        layout: MatrixLayout,
        k: u32,
        mut rows: Vec<Option<(WeightId, u32)>>,
        unit_blocks: u32,
    ) -> Option<Vec<(Span, PackedId)>> {
        let unit = unit_blocks * u32::from(layout.lanes);
        let of = (rows.len() as u32).div_ceil(unit);
        rows.resize((of * unit) as usize, None);
        let most = self.emit.section_bytes() / (layout.block_bytes(k) * u64::from(unit_blocks)).max(1);
        if most == 0 {
            let what = format!("{unit} rows of {k} columns exceed the {} bytes of a binding", self.emit.section_bytes());
            self.fault(node, &what);
            return None;
        }
        // Sections of about equal size, so that none is a sliver.
        let count = of.div_ceil(u32::try_from(u64::from(of).div_ceil(most)).ok()?);
        let mut sections = Vec::new();
        for first in (0..of).step_by(count as usize) {
            let span = Span { first, count: count.min(of - first), of };
            let part = rows[(first * unit) as usize..((first + span.count) * unit) as usize].to_vec();
            sections.push((span, self.pack_matrix(layout, k, part)));
        }
        Some(sections)
    }

    /// Pushes the dispatches of a product: activations, weights, bias, then what `outputs` binds.
    pub(super) fn project(&mut self, product: Product<'_>, epilogue: Epilogue, outputs: impl FnOnce(&mut Self) -> Vec<Binding>, run: &mut Run) {
        let Product { node, act, shape, layout, rows, unit_blocks, biases } = product;
        let k = self.emit.packed_columns(shape.k);
        let bias_of = |w: WeightId| biases.iter().find(|(m, _)| *m == w).map(|(_, b)| *b);
        let mut elems: Vec<_> = rows.iter().map(|r| r.and_then(|(w, i)| bias_of(w).map(|b| (b, i)))).collect();
        let Some(sections) = self.pack_sections(node, layout, k, rows, unit_blocks) else { return };
        let bias = elems.iter().any(Option::is_some).then(|| {
            elems.resize(elems.len().next_multiple_of((unit_blocks * u32::from(layout.lanes)) as usize), None);
            let name = elems.iter().flatten().next().map_or_else(String::new, |(w, _)| self.graph.weights[*w].name.clone());
            self.pack(name, PackedContent::Gather { elems, plus: 0.0 })
        });
        let outputs = outputs(self);
        for (span, weights) in sections {
            let frame = Frame { phase: run.phase, layout, k, span, unit_blocks, act: shape, bias: bias.is_some() };
            let mut bindings: Vec<Binding> = act.iter().copied().map(Binding::Arena).collect();
            bindings.push(Binding::Packed(weights));
            bindings.extend(bias.map(Binding::Packed));
            bindings.extend(&outputs);
            let (emit, limits) = (self.emit, self.limits);
            let dispatch = self.launch(&epilogue.kernel_name(&frame), bindings, |name| emit.project(name, &frame, &epilogue, &limits));
            run.out.push(dispatch);
        }
    }
}
