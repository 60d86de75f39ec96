//! Prints a graph as `.slmir`, one node per line. README.md has the grammar; `parse.rs` reads it back.
//!
//! Ids are printed as they are, so messages of the verifier fit the dump; [`Graph::renumber`] first makes them dense and in
//! order of definition, and then `parse(print(g)) == g`. A broken graph prints too: what an id does not lead to is `?`.

use super::attrs::write_attrs;
use super::{Graph, Node, NodeId, Segment, ValueId, Weight, WeightId, WeightSource};
use crate::text::lexer::{at_name, quote};
use std::fmt;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", crate::text::VERSION_LINE)?;
        let (chunk, ctx) = (self.bounds.chunk, self.bounds.ctx);
        writeln!(f, "graph {} {{chunk = {chunk}, ctx = {ctx}, kv_slots = {}}} {{", at_name(&self.name), self.kv_slots)?;
        for (id, weight) in self.weights.iter() {
            write_weight(f, id, weight)?;
        }
        for (name, segment) in [("body", &self.body), ("head", &self.head)] {
            if *segment != Segment::default() {
                self.write_segment(f, name, segment)?;
            }
        }
        writeln!(f, "}}")
    }
}

fn write_weight(f: &mut fmt::Formatter<'_>, id: WeightId, weight: &Weight) -> fmt::Result {
    write!(f, "  {id} = weight {} {}", quote(&weight.name), weight.ty)?;
    match &weight.source {
        WeightSource::Tensor { name, rows } => {
            write!(f, " tensor {}", quote(name))?;
            if let Some(rows) = rows {
                write!(f, " rows {}..{}", rows.start, rows.end)?;
            }
        }
    }
    if let Some(hash) = &weight.hash {
        f.write_str(" hash 0x")?;
        for byte in hash {
            write!(f, "{byte:02x}")?;
        }
    }
    writeln!(f)
}

impl Graph {
    fn write_segment(&self, f: &mut fmt::Formatter<'_>, name: &str, segment: &Segment) -> fmt::Result {
        write!(f, "  {name}(")?;
        for (i, &v) in segment.inputs.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            self.write_typed(f, v)?;
        }
        writeln!(f, ") {{")?;
        for &n in &segment.order {
            f.write_str("    ")?;
            match self.nodes.get(n) {
                Some(node) => self.write_node(f, node)?,
                None => writeln!(f, "; {n} is no node")?,
            }
        }
        f.write_str("    return")?;
        write_list(f, segment.outputs.iter())?;
        writeln!(f)?;
        for group in &segment.groups {
            write!(f, "    group {} =", group.kind.name())?;
            write_list(f, group.nodes.iter().map(|&n| NodeName(self, n)))?;
            writeln!(f)?;
        }
        writeln!(f, "  }}")
    }

    fn write_typed(&self, f: &mut fmt::Formatter<'_>, v: ValueId) -> fmt::Result {
        match self.values.get(v) {
            Some(value) => write!(f, "{v}: {}", value.ty),
            None => write!(f, "{v}: ?"),
        }
    }

    fn write_node(&self, f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
        self.write_typed(f, node.output)?;
        write!(f, " = {}", node.op.info().name)?;
        let inputs = node.inputs.iter().map(|v| v.to_string());
        write_list(f, inputs.chain(node.weights.iter().map(|w| w.to_string())))?;
        write_attrs(f, &node.op)?;
        writeln!(f)
    }
}

/// A node's name in the text form is that of its result.
struct NodeName<'a>(&'a Graph, NodeId);

impl fmt::Display for NodeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.nodes.get(self.1) {
            Some(node) => write!(f, "{}", node.output),
            None => write!(f, "{}", self.1),
        }
    }
}

fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
    for (i, item) in items.enumerate() {
        write!(f, "{} {item}", if i > 0 { "," } else { "" })?;
    }
    Ok(())
}
