//! Reads a graph from `.slmir`. README.md has the grammar; `print.rs` writes it.
//!
//! Ids in the text may be any distinct numbers; the graph's are dense and in order of definition (weights, then the body,
//! then the head). A use may stand before its definition: whether the order is right is the verifier's business, and so are
//! types, arity and attribute values. What cannot be expressed as a [`Graph`] is an error here.

use super::attrs::{Attrs, read_op};
use super::op::OPS;
use super::{Bounds, DType, Def, Dim, Graph, Group, GroupKind, NodeId, SegmentKind, TensorType, ValueId, Weight, WeightId, WeightSource};
use crate::diag::{ParseError, ParseErrorKind, Span};
use crate::text::Cursor;
use std::collections::BTreeMap;

impl Graph {
    /// Reads a graph from its text form.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser {
            cursor: Cursor::new(text)?,
            graph: Graph::new("", Bounds { chunk: 0, ctx: 0 }),
            weights: BTreeMap::new(),
            values: BTreeMap::new(),
            segments: Vec::new(),
        };
        parser.graph()?;
        parser.resolve()?;
        Ok(parser.graph)
    }
}

/// An id in the text, before it is known what it leads to.
type Ref = (u32, Span);

struct Parser<'a> {
    cursor: Cursor<'a>,
    graph: Graph,
    weights: BTreeMap<u32, WeightId>,
    values: BTreeMap<u32, ValueId>,
    segments: Vec<Pending>,
}

/// The references of a segment, resolved when all definitions are known.
#[derive(Default)]
struct Pending {
    operands: Vec<(NodeId, Vec<Ref>, Vec<Ref>)>,
    outputs: Vec<Ref>,
    groups: Vec<(GroupKind, Vec<Ref>)>,
}

impl Parser<'_> {
    fn graph(&mut self) -> Result<(), ParseError> {
        self.cursor.version()?;
        let place = self.cursor.expect_word("graph")?;
        self.graph.name = self.cursor.name()?;
        let mut attrs = Attrs::find(&mut self.cursor, "graph", place)?;
        let (chunk, ctx) = (attrs.required("chunk", Cursor::u32)?, attrs.required("ctx", Cursor::u32)?);
        self.graph.bounds = Bounds { chunk, ctx };
        self.graph.kv_slots = attrs.required("kv_slots", Cursor::u32)?;
        attrs.finish()?;
        self.cursor.expect("{")?;
        while self.cursor.at_id(WeightId::PREFIX) {
            self.weight()?;
        }
        for (word, which) in [("body", SegmentKind::Body), ("head", SegmentKind::Head)] {
            let pending = if self.cursor.eat_word(word) { self.segment(which)? } else { Pending::default() };
            self.segments.push(pending);
        }
        if !self.cursor.eat("}") {
            return Err(self.cursor.unexpected("a weight, `body`, `head` (in this order) or `}`"));
        }
        self.cursor.end()
    }

    fn weight(&mut self) -> Result<(), ParseError> {
        let span = self.cursor.span();
        let number = self.cursor.id(WeightId::PREFIX)?;
        self.cursor.expect("=")?;
        self.cursor.expect_word("weight")?;
        let name = self.cursor.string()?;
        let ty = self.tensor_type()?;
        self.cursor.expect_word("tensor")?;
        let name_of_tensor = self.cursor.string()?;
        let rows = if self.cursor.eat_word("rows") {
            let start = self.cursor.u32()?;
            self.cursor.expect("..")?;
            Some(start..self.cursor.u32()?)
        } else {
            None
        };
        let source = WeightSource::Tensor { name: name_of_tensor, rows };
        let hash = if self.cursor.eat_word("hash") { Some(self.cursor.hex_bytes()?) } else { None };
        let id = self.graph.weights.push(Weight { name, ty, source, hash });
        match self.weights.insert(number, id) {
            Some(_) => Err(self.cursor.error_at(span, ParseErrorKind::Duplicate(format!("w{number}")))),
            None => Ok(()),
        }
    }

    fn segment(&mut self, which: SegmentKind) -> Result<Pending, ParseError> {
        let mut pending = Pending::default();
        self.cursor.expect("(")?;
        while !self.cursor.eat(")") {
            let (number, span) = self.value_ref()?;
            self.cursor.expect(":")?;
            let ty = self.tensor_type()?;
            let id = self.graph.add_input(which, ty);
            self.define(number, span, id)?;
            if !self.cursor.at(")") {
                self.cursor.expect(",")?;
            }
        }
        self.cursor.expect("{")?;
        while self.cursor.at_id(ValueId::PREFIX) {
            self.node(which, &mut pending)?;
        }
        if !self.cursor.eat_word("return") {
            return Err(self.cursor.unexpected("a node such as `v1: f32[T,8] = silu v0`, or `return`"));
        }
        pending.outputs = self.value_list()?;
        while self.cursor.eat_word("group") {
            let Some(kind) = GroupKind::ALL.into_iter().find(|k| self.cursor.at_word(k.name())) else {
                let names: Vec<_> = GroupKind::ALL.iter().map(|k| k.name()).collect();
                return Err(self.cursor.unexpected(format!("a kind of group ({})", names.join(", "))));
            };
            self.cursor.expect_word(kind.name())?;
            self.cursor.expect("=")?;
            let nodes = self.value_list()?;
            pending.groups.push((kind, nodes));
        }
        if !self.cursor.eat("}") {
            return Err(self.cursor.unexpected("`group` or `}` after `return`"));
        }
        Ok(pending)
    }

    fn node(&mut self, which: SegmentKind, pending: &mut Pending) -> Result<(), ParseError> {
        let (number, span) = self.value_ref()?;
        self.cursor.expect(":")?;
        let ty = self.tensor_type()?;
        self.cursor.expect("=")?;
        let op_span = self.cursor.span();
        let name = self.cursor.ident("the name of an op")?;
        let (mut inputs, mut weights) = (Vec::new(), Vec::new());
        loop {
            // A value followed by `:` starts the next node.
            if self.cursor.at_id(ValueId::PREFIX) && self.cursor.text_of(self.cursor.peek_at(1).span) != ":" {
                if !weights.is_empty() {
                    return Err(self.cursor.unexpected("a weight: tensor operands stand before weights"));
                }
                inputs.push(self.value_ref()?);
            } else if self.cursor.at_id(WeightId::PREFIX) {
                let span = self.cursor.span();
                weights.push((self.cursor.id(WeightId::PREFIX)?, span));
            } else if !inputs.is_empty() || !weights.is_empty() {
                return Err(self.cursor.unexpected("an operand after `,`"));
            }
            if !self.cursor.eat(",") {
                break;
            }
        }
        let mut attrs = Attrs::find(&mut self.cursor, name, op_span)?;
        let op = read_op(name, &mut attrs)?;
        let Some(op) = op else {
            let names: Vec<_> = OPS.iter().map(|o| o.name).collect();
            let kind = ParseErrorKind::Expected { expected: format!("an op ({})", names.join(", ")), found: format!("`{name}`") };
            return Err(self.cursor.error_at(op_span, kind));
        };
        attrs.finish()?;
        let id = self.graph.add_node(which, op, &[], &[], ty);
        self.define(number, span, id)?;
        if let Def::Node(node) = self.graph.values[id].def {
            pending.operands.push((node, inputs, weights));
        }
        Ok(())
    }

    fn resolve(&mut self) -> Result<(), ParseError> {
        let segments = std::mem::take(&mut self.segments);
        for (pending, which) in segments.into_iter().zip([SegmentKind::Body, SegmentKind::Head]) {
            for (node, inputs, weights) in pending.operands {
                self.graph.nodes[node].inputs = self.lookup_all(&inputs)?;
                let find = |&(number, span): &Ref| match self.weights.get(&number) {
                    Some(&w) => Ok(w),
                    None => Err(self.cursor.error_at(span, ParseErrorKind::Undefined(format!("w{number}")))),
                };
                self.graph.nodes[node].weights = weights.iter().map(find).collect::<Result<_, _>>()?;
            }
            let outputs = self.lookup_all(&pending.outputs)?;
            let mut groups = Vec::with_capacity(pending.groups.len());
            for (kind, members) in pending.groups {
                let mut nodes = Vec::with_capacity(members.len());
                for member in members {
                    let value = self.lookup(member)?;
                    match self.graph.values[value].def {
                        Def::Node(n) => nodes.push(n),
                        Def::Input => {
                            let text = format!("v{} is an input: a group lists results of nodes", member.0);
                            return Err(self.cursor.error_at(member.1, ParseErrorKind::Other(text)));
                        }
                    }
                }
                groups.push(Group { kind, nodes });
            }
            let segment = self.graph.segment_mut(which);
            segment.outputs = outputs;
            segment.groups = groups;
        }
        Ok(())
    }

    fn lookup(&self, (number, span): Ref) -> Result<ValueId, ParseError> {
        let found = self.values.get(&number).copied();
        found.ok_or_else(|| self.cursor.error_at(span, ParseErrorKind::Undefined(format!("v{number}"))))
    }

    fn lookup_all(&self, refs: &[Ref]) -> Result<Vec<ValueId>, ParseError> {
        refs.iter().map(|&r| self.lookup(r)).collect()
    }

    fn define(&mut self, number: u32, span: Span, id: ValueId) -> Result<(), ParseError> {
        match self.values.insert(number, id) {
            Some(_) => Err(self.cursor.error_at(span, ParseErrorKind::Duplicate(format!("v{number}")))),
            None => Ok(()),
        }
    }

    fn value_ref(&mut self) -> Result<Ref, ParseError> {
        let span = self.cursor.span();
        Ok((self.cursor.id(ValueId::PREFIX)?, span))
    }

    fn value_list(&mut self) -> Result<Vec<Ref>, ParseError> {
        let mut refs = Vec::new();
        if self.cursor.at_id(ValueId::PREFIX) {
            refs.push(self.value_ref()?);
            while self.cursor.eat(",") {
                refs.push(self.value_ref()?);
            }
        }
        Ok(refs)
    }

    fn tensor_type(&mut self) -> Result<TensorType, ParseError> {
        let expected = "a type such as `f32[T,8]` (f32, f16, bf16, u32, q4g32, q4g64, q4g128, q6g32, q8g32, a8g32)";
        let Some(dtype) = DType::parse(self.cursor.peek_text()) else {
            return Err(self.cursor.unexpected(expected));
        };
        self.cursor.ident(expected)?;
        self.cursor.expect("[")?;
        let mut shape = Vec::new();
        while !self.cursor.eat("]") {
            shape.push(self.dim()?);
            if !self.cursor.at("]") {
                self.cursor.expect(",").map_err(|_| self.cursor.unexpected("`,` or `]`"))?;
            }
        }
        Ok(TensorType { dtype, shape })
    }

    fn dim(&mut self) -> Result<Dim, ParseError> {
        if self.cursor.eat_word("T") {
            return Ok(Dim::T);
        }
        if self.cursor.eat_word("P") {
            self.cursor.expect("+")?;
            self.cursor.expect_word("T")?;
            return Ok(Dim::PT);
        }
        if self.cursor.peek().kind != crate::text::TokenKind::Number {
            return Err(self.cursor.unexpected("a dim: a number, `T` or `P+T`"));
        }
        Ok(Dim::Const(self.cursor.u32()?))
    }
}

impl GroupKind {
    /// All kinds.
    pub const ALL: [GroupKind; 8] = [
        GroupKind::Embed,
        GroupKind::Qkv,
        GroupKind::Attention,
        GroupKind::LinearResidual,
        GroupKind::GatedLinear,
        GroupKind::Linear,
        GroupKind::Norm,
        GroupKind::Single,
    ];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Embed => "embed",
            GroupKind::Qkv => "qkv",
            GroupKind::Attention => "attention",
            GroupKind::LinearResidual => "linear_residual",
            GroupKind::GatedLinear => "gated_linear",
            GroupKind::Linear => "linear",
            GroupKind::Norm => "norm",
            GroupKind::Single => "single",
        }
    }
}
