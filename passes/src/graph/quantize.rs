//! `quantize`: chooses the stored format of every weight and says where activations become int8.
//!
//! Matrices get the format of their role: the weight of `embed` → `embed`, of a `linear` of the head → `head`, of any other
//! `linear` → `body`. A tied embedding has both roles and one format: `head`'s, because every token reads all of it there.
//! Norm weights and biases are f32. `keep='REGEX=FORMAT'` overrules the role for matrices whose name matches; the first of
//! several that matches wins, and one that matches nothing is an error. Where K is not divisible by a format's group
//! the largest of {asked, 64, 32} that divides it is used; where 32 does not divide K the tensor becomes f16. Each
//! such change is recorded in the report.
//!
//! A `linear` with a quantized weight reads a `quantize_act` of its operand: one for each value, shared by its readers.
//! With f16 and f32 weights activations stay f32. Running the pass again with other options gives what running it once
//! with those would have given, except that groups are undone.
//!
//! Before:
//! ```text
//! slmir 0
//! graph @example {chunk = 8, ctx = 32, kv_slots = 0} {
//!   w0 = weight "up" f16[96,64] tensor "up"
//!   w1 = weight "gate" f16[96,64] tensor "gate"
//!   body(v0: f32[T,64]) {
//!     v1: f32[T,96] = linear v0, w0
//!     v2: f32[T,96] = linear v0, w1
//!     return v1, v2
//!   }
//! }
//! ```
//! After `quantize{body=q4g32}`, with its report:
//! ```text
//! quantized: 4.500 bits per weight, kv f16
//! slmir 0
//! graph @example {chunk = 8, ctx = 32, kv_slots = 0} {
//!   w0 = weight "up" q4g32[96,64] tensor "up"
//!   w1 = weight "gate" q4g32[96,64] tensor "gate"
//!   body(v0: f32[T,64]) {
//!     v1: a8g32[T,64] = quantize_act v0
//!     v2: f32[T,96] = linear v1, w0
//!     v3: f32[T,96] = linear v1, w1
//!     return v2, v3
//!   }
//! }
//! ```

use std::collections::BTreeMap;

use slmc_ir::arena::Id;
use slmc_ir::graph::{DType, Graph, NodeId, Op, SegmentKind, ValueId};

use crate::manager::{Changed, Matcher, OptionError, OptionInfo, Options, Pass, PassCx, PassError, PassInfo};
use crate::rewrite::Rebuild;
use crate::rewrite::rebuild::SEGMENTS;

/// Row of the pass list.
pub static INFO: PassInfo<Graph> = PassInfo {
    name: "quantize",
    summary: "choose the format of every weight, insert activation quantizers",
    options: &[
        OptionInfo { name: "body", values: FORMAT_NAMES, default: "q4g32", summary: "format of the matrices of the layers" },
        OptionInfo { name: "embed", values: FORMAT_NAMES, default: "q6g32 for q4 bodies, else the body's", summary: "format of the embedding" },
        OptionInfo { name: "head", values: FORMAT_NAMES, default: "the embedding's", summary: "format of the head, and of a tied embedding" },
        OptionInfo { name: "keep", values: "'REGEX=FORMAT'", default: "none", summary: "format of matrices whose name matches; repeatable" },
        OptionInfo { name: "kv", values: "f16, q8g32, f32", default: "f32 if all formats are f32, else f16", summary: "format of the KV cache" },
    ],
    build,
};

const FORMAT_NAMES: &str = "q4g32, q4g64, q4g128, q6g32, q8g32, f16, f32";
const FORMATS: [DType; 7] =
    [DType::Q4 { group: 32 }, DType::Q4 { group: 64 }, DType::Q4 { group: 128 }, DType::Q6, DType::Q8, DType::F16, DType::F32];

/// What a weight is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Norm weight or bias.
    Vector,
    /// Matrix of a layer.
    Body,
    /// Table of `embed` only.
    Embed,
    /// Matrix of the head, tied or not.
    Head,
}

/// The format chosen for one weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The weight's name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What options asked for.
    pub asked: DType,
    /// What it got.
    pub given: DType,
    /// Number of elements.
    pub elements: u64,
    /// Why `given` is not `asked`.
    pub why: Option<String>,
}

/// What the pass chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizeReport {
    /// One entry for each weight in use, in order.
    pub weights: Vec<Choice>,
    /// Format of the KV cache.
    pub kv: DType,
}

impl QuantizeReport {
    /// Stored bits per weight, scales included, padding not.
    pub fn bits_per_weight(&self) -> f64 {
        let bits: f64 = self.weights.iter().map(|w| w.elements as f64 * w.given.bits_per_element()).sum();
        let elements: u64 = self.weights.iter().map(|w| w.elements).sum();
        if elements == 0 { 0.0 } else { bits / elements as f64 }
    }
}

struct Quantize {
    body: DType,
    embed: DType,
    head: DType,
    keep: Vec<(String, DType)>,
    kv: DType,
}

fn build(options: &Options) -> Result<Box<dyn Pass<Graph>>, OptionError> {
    let mut r = options.reader(INFO.name);
    let body = r.dtype("body", &FORMATS).unwrap_or(DType::Q4 { group: 32 });
    let table = if matches!(body, DType::Q4 { .. }) { DType::Q6 } else { body };
    let embed = r.dtype("embed", &FORMATS).unwrap_or(table);
    let head = r.dtype("head", &FORMATS).unwrap_or(embed);
    let mut keep = Vec::new();
    for rule in r.all("keep") {
        match rule.rsplit_once('=') {
            Some((pattern, format)) => keep.extend(r.dtype_value("keep", format, &FORMATS).map(|d| (pattern.to_owned(), d))),
            None => r.fault(format!("`keep` is `{rule}`; expected 'REGEX=FORMAT'")),
        }
    }
    let all_f32 = [body, embed, head].iter().chain(keep.iter().map(|(_, d)| d)).all(|d| *d == DType::F32);
    let kv = r.dtype("kv", &[DType::F16, DType::Q8, DType::F32]).unwrap_or(if all_f32 { DType::F32 } else { DType::F16 });
    r.finish(Box::new(Quantize { body, embed, head, keep, kv }))
}

impl Pass<Graph> for Quantize {
    fn info(&self) -> &'static PassInfo<Graph> {
        &INFO
    }

    fn run(&self, g: &mut Graph, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let choices = self.choose(g, cx.matches)?;
        let mut rebuild = Rebuild::new(g);
        for (i, choice) in choices.iter().enumerate() {
            if let Some(choice) = choice {
                rebuild.weights_mut()[Id::new(i)].ty.dtype = choice.given;
            }
        }
        for which in SEGMENTS {
            rebuild.begin(which);
            let mut quantized = BTreeMap::new();
            for &n in &g.segment(which).order {
                self.rebuild_node(g, which, n, &mut rebuild, &mut quantized);
            }
            rebuild.end(which);
        }
        let mut new = rebuild.finish();
        cx.reports.quantize = Some(QuantizeReport { weights: choices.into_iter().flatten().collect(), kv: self.kv });
        if same_but_for_groups(&mut new, g) {
            return Ok(Changed::No);
        }
        *g = new;
        Ok(Changed::Yes)
    }
}

impl Quantize {
    /// The format of every weight by id; `None` for one that no node names.
    fn choose(&self, g: &Graph, matches: &Matcher<'_>) -> Result<Vec<Option<Choice>>, PassError> {
        let mut roles: Vec<Option<Role>> = vec![None; g.weights.len()];
        for which in SEGMENTS {
            for &n in &g.segment(which).order {
                let node = &g.nodes[n];
                for (i, w) in node.weights.iter().enumerate() {
                    let role = match (&node.op, which, i) {
                        (Op::Embed, _, 0) => Role::Embed,
                        (Op::Linear, SegmentKind::Head, 0) => Role::Head,
                        (Op::Linear, SegmentKind::Body, 0) => Role::Body,
                        _ => Role::Vector,
                    };
                    roles[w.index()] = roles[w.index()].max(Some(role));
                }
            }
        }
        let mut faults = Vec::new();
        let mut used = vec![false; self.keep.len()];
        let mut choices = Vec::with_capacity(roles.len());
        for ((_, weight), role) in g.weights.iter().zip(roles) {
            choices.push(role.map(|role| {
                let mut asked = match role {
                    Role::Vector => DType::F32,
                    Role::Body => self.body,
                    Role::Embed => self.embed,
                    Role::Head => self.head,
                };
                if role != Role::Vector {
                    let mut kept = None;
                    for (i, (pattern, dtype)) in self.keep.iter().enumerate() {
                        match matches(pattern, &weight.name) {
                            Ok(true) => {
                                used[i] = true;
                                kept = kept.or(Some(*dtype));
                            }
                            Ok(false) => {}
                            Err(e) => {
                                used[i] = true;
                                faults.push(format!("keep pattern `{pattern}`: {e}"));
                            }
                        }
                    }
                    asked = kept.unwrap_or(asked);
                }
                let (given, why) = fit(asked, weight.ty.last().unwrap_or(0));
                let elements = weight.ty.const_shape().unwrap_or_default().iter().map(|&n| u64::from(n)).product();
                Choice { name: weight.name.clone(), role, asked, given, elements, why }
            }));
        }
        for ((pattern, _), used) in self.keep.iter().zip(&used) {
            if !used {
                faults.push(format!("keep pattern `{pattern}` matches no matrix; `slmc inspect` on the checkpoint lists the names"));
            }
        }
        faults.dedup();
        if faults.is_empty() { Ok(choices) } else { Err(PassError::Unsupported(faults)) }
    }

    /// Rebuilds one node. `quantized` maps an f32 value to its `quantize_act`; both ids are new.
    fn rebuild_node(&self, g: &Graph, which: SegmentKind, n: NodeId, rebuild: &mut Rebuild<'_>, quantized: &mut BTreeMap<ValueId, ValueId>) {
        let node = &g.nodes[n];
        let mut ty = g.values[node.output].ty.clone();
        let mut inputs = rebuild.inputs(n);
        match node.op {
            // Those that are needed are made anew below; readers see the f32 value until then.
            Op::QuantizeAct if !g.segment(which).outputs.contains(&node.output) => {
                rebuild.bind(node.output, inputs[0]);
                return;
            }
            Op::KvAppend(_) => ty.dtype = self.kv,
            Op::Linear if rebuild.graph().weights[node.weights[0]].ty.dtype.is_quantized_weight() => {
                let x = inputs[0];
                inputs[0] = *quantized.entry(x).or_insert_with(|| {
                    let mut ty = rebuild.graph().values[x].ty.clone();
                    ty.dtype = DType::A8;
                    rebuild.emit(which, Op::QuantizeAct, &[x], &[], ty)
                });
            }
            Op::Linear
            | Op::QuantizeAct
            | Op::Embed
            | Op::RmsNorm(_)
            | Op::LayerNorm { .. }
            | Op::Rope(_)
            | Op::Attention(_)
            | Op::Silu
            | Op::GeluTanh
            | Op::Mul
            | Op::Add
            | Op::Scale { .. }
            | Op::Softcap { .. } => {}
        }
        let new = rebuild.emit(which, node.op.clone(), &inputs, &node.weights, ty);
        rebuild.bind(node.output, new);
    }
}

/// The format that a matrix with rows of `k` columns gets when `asked` for, and why it is another.
fn fit(asked: DType, k: u32) -> (DType, Option<String>) {
    let Some(group) = asked.group() else { return (asked, None) };
    if k.is_multiple_of(group) {
        return (asked, None);
    }
    let given = [64u16, 32].into_iter().find(|&g| u32::from(g) < group && k.is_multiple_of(u32::from(g)));
    match given {
        Some(g) => (DType::Q4 { group: g }, Some(format!("{asked} needs rows of a multiple of {group} columns; these have {k}"))),
        None => (DType::F16, Some(format!("quantized rows need a multiple of 32 columns; these have {k}"))),
    }
}

/// Whether `new`, which has no groups, is `old` without its groups. `new` is left as it is.
fn same_but_for_groups(new: &mut Graph, old: &Graph) -> bool {
    new.body.groups.clone_from(&old.body.groups);
    new.head.groups.clone_from(&old.head.groups);
    let same = new == old;
    new.body.groups.clear();
    new.head.groups.clear();
    same
}
