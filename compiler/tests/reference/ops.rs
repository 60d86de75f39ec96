//! Ops that the fixtures do not have, against numbers worked out by hand or by the interpreter.

use slmc::compare::largest_difference;
use slmc::reference::Reference;
use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{
    AttentionAttrs, Bounds, DType, Dim, Graph, KvAppendAttrs, KvPart, NormAttrs, Op, RopeAttrs, RopeScaling, SegmentKind, TensorType, ValueId,
    Weight, WeightSource,
};
use slmc_ir::interp::graph::GraphInterp;
use std::ops::Range;

/// Numbers in −1 … 1 that depend on the weight's name and the place alone.
pub struct Noise;

impl WeightProvider for Noise {
    fn rows(&self, weight: &Weight, rows: Range<u32>) -> Result<Vec<f32>, String> {
        let width = weight.ty.last().unwrap_or(0);
        let seed = weight.name.bytes().fold(0x9e37_79b9u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        Ok((rows.start * width..rows.end * width)
            .map(|i| {
                let mut h = seed ^ i.wrapping_mul(0x85eb_ca6b);
                h = (h ^ (h >> 15)).wrapping_mul(0xc2b2_ae35);
                h = (h ^ (h >> 13)).wrapping_mul(0x27d4_eb2f);
                ((h ^ (h >> 16)) >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect())
    }
}

/// A graph under construction.
pub struct Build(pub Graph);

impl Build {
    /// Nothing but bounds.
    pub fn new() -> Self {
        Self(Graph::new("g", Bounds { chunk: 64, ctx: 64 }))
    }

    /// Adds a node of the body or, after [`head`](Self::head), of the head; weights are made for it.
    pub fn node(&mut self, which: SegmentKind, op: Op, inputs: &[ValueId], weights: &[(DType, &[u32])]) -> ValueId {
        let ids: Vec<_> = weights
            .iter()
            .map(|(dtype, shape)| {
                let name = format!("w{}", self.0.weights.len());
                let source = WeightSource::tensor(name.clone());
                self.0.weights.push(Weight { name, ty: TensorType::fixed(*dtype, shape), source, hash: None })
            })
            .collect();
        self.0.add_inferred(which, op, inputs, &ids).unwrap()
    }

    /// The start of a body: an embedding of 50 tokens and `width` columns.
    pub fn embed(&mut self, width: u32, dtype: DType) -> ValueId {
        let tokens = self.0.add_input(SegmentKind::Body, TensorType { dtype: DType::U32, shape: vec![Dim::T] });
        self.node(SegmentKind::Body, Op::Embed, &[tokens], &[(dtype, &[50, width])])
    }

    /// The end: `hidden` are the body's states, `head` makes the logits of them.
    pub fn end(mut self, hidden: ValueId, head: &[(DType, &[u32])]) -> Graph {
        let ty = self.0.values[hidden].ty.clone();
        self.0.body.outputs.push(hidden);
        let rows = self.0.add_input(SegmentKind::Head, ty);
        let logits = self.node(SegmentKind::Head, Op::Linear, &[rows], head);
        self.0.head.outputs.push(logits);
        self.0
    }
}

const TOKENS: [u32; 12] = [3, 49, 0, 7, 7, 21, 30, 11, 48, 2, 19, 5];

fn agree(graph: &Graph, within: f64) {
    let got = Reference::new(graph, &Noise).unwrap().forward(&TOKENS).unwrap();
    let mut interp = GraphInterp::new(graph, &Noise).unwrap();
    let hidden = interp.body(&TOKENS).unwrap();
    let want = interp.head(&hidden).unwrap();
    let most = largest_difference(&want, &got.logits);
    assert!(most < within, "{most}\n{graph}");
}

#[test]
fn every_elementwise_op_and_norm() {
    let ops = [
        Op::Silu,
        Op::GeluTanh,
        Op::Scale { factor: -1.75 },
        Op::Softcap { cap: 0.4 },
        Op::RmsNorm(NormAttrs { eps: 1e-5, heads: 1, unit_offset: false }),
        Op::RmsNorm(NormAttrs { eps: 0.5, heads: 4, unit_offset: true }),
        Op::LayerNorm { eps: 1e-5 },
    ];
    for op in ops {
        let mut b = Build::new();
        let x = b.embed(64, DType::F32);
        let weights: &[(DType, &[u32])] = match &op {
            Op::RmsNorm(a) => &[(DType::F16, if a.heads == 1 { &[64] } else { &[16] })],
            Op::LayerNorm { .. } => &[(DType::F32, &[64]), (DType::Bf16, &[64])],
            _ => &[],
        };
        let y = b.node(SegmentKind::Body, op, &[x], weights);
        let z = b.node(SegmentKind::Body, Op::Mul, &[x, y], &[]);
        agree(&b.end(z, &[(DType::F32, &[40, 64]), (DType::F32, &[40])]), 2e-5);
    }
}

#[test]
fn rope_of_a_part_of_each_head_with_every_scaling() {
    let llama3 = RopeScaling::Llama3 { factor: 4.0, low: 1.0, high: 3.0, original: 16 };
    let per_pair = RopeScaling::PerPair { magnitude: 1.25, divisors: vec![1.5, 3.0] };
    for (rotary_dim, scaling) in [(16, RopeScaling::Default), (8, RopeScaling::Linear { factor: 3.0 }), (12, llama3), (4, per_pair)] {
        let mut b = Build::new();
        let x = b.embed(64, DType::F32);
        let attrs = RopeAttrs { heads: 4, head_dim: 16, rotary_dim, theta: 100.0, scaling };
        let y = b.node(SegmentKind::Body, Op::Rope(attrs), &[x], &[]);
        agree(&b.end(y, &[(DType::F32, &[40, 64])]), 2e-5);
    }
}

#[test]
fn attention_with_window_cap_and_f16_cache() {
    for (window, softcap, kv) in [(None, None, DType::F16), (Some(1), None, DType::F32), (Some(5), Some(0.7), DType::F16)] {
        let mut b = Build::new();
        let x = b.embed(64, DType::F32);
        let narrow = |b: &mut Build| b.node(SegmentKind::Body, Op::Linear, &[x], &[(DType::F32, &[32, 64])]);
        let (k, v) = (narrow(&mut b), narrow(&mut b));
        b.0.kv_slots = 1;
        let k = b.node(SegmentKind::Body, Op::KvAppend(KvAppendAttrs { slot: 0, part: KvPart::K }), &[k], &[]);
        let v = b.node(SegmentKind::Body, Op::KvAppend(KvAppendAttrs { slot: 0, part: KvPart::V }), &[v], &[]);
        for slot in [k, v] {
            b.0.values[slot].ty.dtype = kv;
        }
        let attrs = AttentionAttrs { heads: 4, kv_heads: 2, head_dim: 16, scale: 0.3, window, softcap };
        let a = b.node(SegmentKind::Body, Op::Attention(attrs), &[x, k, v], &[]);
        // The last digit of f16 can round to either side when sums before it differ in the last digit of f32.
        agree(&b.end(a, &[(DType::F32, &[40, 64])]), if kv == DType::F16 { 2e-3 } else { 2e-5 });
    }
}

#[test]
fn every_weight_format_with_int8_activations() {
    for dtype in [DType::Q4 { group: 32 }, DType::Q4 { group: 64 }, DType::Q6, DType::Q8] {
        let mut b = Build::new();
        let x = b.embed(64, dtype);
        let x = b.node(SegmentKind::Body, Op::QuantizeAct, &[x], &[]);
        let y = b.node(SegmentKind::Body, Op::Linear, &[x], &[(dtype, &[64, 64])]);
        agree(&b.end(y, &[(DType::Bf16, &[40, 64])]), 2e-4);
    }
}

#[test]
fn a_group_of_zeros_stays_zero() {
    let mut b = Build::new();
    let x = b.embed(64, DType::F32);
    let none = b.node(SegmentKind::Body, Op::Scale { factor: 0.0 }, &[x], &[]);
    let x = b.node(SegmentKind::Body, Op::QuantizeAct, &[none], &[]);
    let y = b.node(SegmentKind::Body, Op::Linear, &[x], &[(DType::Q8, &[64, 64])]);
    let graph = b.end(y, &[(DType::F32, &[40, 64])]);
    let output = Reference::new(&graph, &Noise).unwrap().forward(&TOKENS).unwrap();
    assert!(output.logits.iter().all(|&x| x == 0.0));
}
