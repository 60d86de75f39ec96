//! The words in a picture: what a box says of its node, and what an edge says of its value.

use slmc_ir::graph::{Dim, Graph, Node, Op, RopeScaling, TensorType, WeightId};
use slmc_passes::graph::share::stored_bytes;

use crate::pipeline::human;

/// The class of an op, by which boxes are coloured.
pub fn class(op: &Op) -> &'static str {
    match op {
        Op::Embed | Op::Linear => "matrix",
        Op::RmsNorm(_) | Op::LayerNorm { .. } => "norm",
        Op::Attention(_) => "attention",
        Op::Rope(_) => "rope",
        Op::KvAppend(_) => "cache",
        Op::Silu | Op::GeluTanh | Op::Mul | Op::Add | Op::Scale { .. } | Op::Softcap { .. } | Op::QuantizeAct => "element",
    }
}

/// The lines under an op's name: its attributes, then each weight with type and bytes.
pub fn lines(graph: &Graph, node: &Node, shared: &dyn Fn(WeightId) -> bool) -> Vec<String> {
    let mut lines = attributes(&node.op);
    for &id in &node.weights {
        let weight = &graph.weights[id];
        lines.push(without_layer(&weight.name));
        let note = if shared(id) { " · shared" } else { "" };
        lines.push(format!("{} · {}{note}", weight.ty, human(stored_bytes(&weight.ty))));
    }
    lines
}

/// A weight's name without the part that says in which layer it is.
fn without_layer(name: &str) -> String {
    let Some((_, rest)) = name.split_once("layers.") else { return name.to_owned() };
    rest.split_once('.').filter(|(number, _)| number.bytes().all(|b| b.is_ascii_digit())).map_or(name, |(_, part)| part).to_owned()
}

fn attributes(op: &Op) -> Vec<String> {
    match op {
        Op::RmsNorm(a) => {
            let mut words = vec![format!("eps {:e}", a.eps)];
            if a.heads > 1 {
                words.push(format!("{} heads", a.heads));
            }
            if a.unit_offset {
                words.push("1 + w".to_owned());
            }
            vec![words.join(", ")]
        }
        Op::LayerNorm { eps } => vec![format!("eps {eps:e}")],
        Op::Rope(a) => {
            let scaling = match &a.scaling {
                RopeScaling::Default => String::new(),
                RopeScaling::Linear { factor } => format!(", linear × {factor}"),
                RopeScaling::Llama3 { factor, .. } => format!(", llama3 × {factor}"),
                RopeScaling::PerPair { .. } => ", longrope".to_owned(),
            };
            let part = if a.rotary_dim < a.head_dim { format!("{} of {}", a.rotary_dim, a.head_dim) } else { a.head_dim.to_string() };
            vec![format!("{} heads of {part}", a.heads), format!("base {}{scaling}", a.theta)]
        }
        Op::Attention(a) => {
            let mut lines = vec![format!("{} heads of {} on {}", a.heads, a.head_dim, a.kv_heads), format!("scale {}", a.scale)];
            lines.extend(a.window.map(|window| format!("window {window}")));
            lines.extend(a.softcap.map(|cap| format!("soft cap {cap}")));
            lines
        }
        Op::KvAppend(a) => vec![format!("cache of {}", a.part)],
        Op::Scale { factor } => vec![format!("× {factor}")],
        Op::Softcap { cap } => vec![format!("cap {cap}")],
        Op::Embed | Op::Linear | Op::Silu | Op::GeluTanh | Op::Mul | Op::Add | Op::QuantizeAct => Vec::new(),
    }
}

/// Type and bytes of a value.
pub fn edge(ty: &TensorType) -> String {
    match per_token(ty) {
        Some(bytes) => format!("{ty} · {} a token", human(bytes)),
        None => ty.to_string(),
    }
}

/// Bytes that a value has for each token.
fn per_token(ty: &TensorType) -> Option<u64> {
    let mut elements = 1;
    for dim in &ty.shape {
        elements *= if let Dim::Const(n) = dim { u64::from(*n) } else { 1 };
    }
    let bytes = (elements as f64 * ty.dtype.bits_per_element() / 8.0).ceil() as u64;
    ty.shape.iter().any(|dim| !matches!(dim, Dim::Const(_))).then_some(bytes)
}

/// Numbers as ranges: `0–4, 6–10`.
pub fn ranges(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &n in numbers {
        match runs.last_mut().filter(|run| run.1 + 1 == n) {
            Some(run) => run.1 = n,
            None => runs.push((n, n)),
        }
    }
    let word = |&(from, to): &(usize, usize)| if from == to { from.to_string() } else { format!("{from}–{to}") };
    runs.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 4, 6, 7]), "0–2, 4, 6–7");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn layers_are_cut_from_names_and_nothing_else() {
        assert_eq!(without_layer("model.layers.12.mlp.up_proj.weight"), "mlp.up_proj.weight");
        assert_eq!(without_layer("model.norm.weight"), "model.norm.weight");
        assert_eq!(without_layer("layers.x.y"), "layers.x.y");
    }
}
