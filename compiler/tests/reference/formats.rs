//! Quantized fixtures: burn and the interpreter agree on what the formats mean.
//!
//! A sum that differs in its last digit can move an int8 code of the next layer or an f16 of the cache by one step, and a model of
//! few columns feels a step, in each layer that follows. So logits agree less closely than in f32, and the bound that counts is on
//! the divergence: a tenth of what two back ends may differ by for each layer that is run. Single ops are held to rounding errors in `ops`.

use super::fixture::{Fixture, NAMES};
use slmc::compare::{LogitGap, TokenAgreement, top};
use slmc::pipeline::name_matches;
use slmc::reference::Reference;
use slmc_ir::graph::{DType, Graph};
use slmc_ir::interp::graph::GraphInterp;
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::manager::{self, Drive, Options, PassCx, PassSpec};

/// The graph as a compile with this body format makes it.
fn compiled(graph: &Graph, body: &str) -> Graph {
    let mut graph = graph.clone();
    let specs: Vec<_> = manager::GRAPH_PIPELINE
        .iter()
        .map(|name| PassSpec::new(*name, if *name == "quantize" { Options::new().with("body", body) } else { Options::new() }))
        .collect();
    let clock = || std::time::Duration::ZERO;
    let mut cx = PassCx::new(&name_matches, &clock);
    manager::run(&mut graph, &specs, GRAPH_PASSES, &mut cx, &mut Drive::default()).unwrap();
    graph
}

fn interpreted(graph: &Graph, f: &Fixture) -> Vec<f32> {
    let mut interp = GraphInterp::new(graph, &f.model.checkpoint).unwrap();
    let hidden = interp.body(&f.tokens).unwrap();
    interp.head(&hidden).unwrap()
}

#[test]
fn interpreter_and_burn_agree_in_every_format() {
    for name in NAMES {
        let f = Fixture::read(name);
        let per_layer = 1e-4 * f.model.summary.layers as f64;
        for (body, most, mean) in [("f32", 2e-4, 1e-9), ("f16", 2e-2, 1e-5), ("q8g32", 0.2, per_layer), ("q4g32", 0.2, per_layer)] {
            let graph = compiled(&f.model.graph, body);
            assert!(graph.weights.iter().any(|(_, w)| Some(w.ty.dtype) == DType::parse(body)), "{name} {body}");
            let reference = Reference::new(&graph, &f.model.checkpoint).unwrap();
            let mut gap = LogitGap::new(reference.vocab());
            gap.add(&interpreted(&graph, &f), &reference.forward(&f.tokens).unwrap().logits).unwrap();
            let d = gap.divergence();
            assert!(gap.largest_difference() < most && d.mean < mean, "{name} {body}: {} {d:?}", gap.largest_difference());
        }
    }
}

#[test]
fn passes_leave_the_numbers_of_the_interpreter_as_they_are() {
    for name in NAMES {
        let f = Fixture::read(name);
        let (before, after) = (interpreted(&f.model.graph, &f), interpreted(&compiled(&f.model.graph, "f32"), &f));
        assert!(before == after, "{name}: passes over an f32 model change its logits");
    }
}

#[test]
fn interpreter_and_burn_continue_alike() {
    let f = Fixture::read("llama-tied");
    let graph = compiled(&f.model.graph, "q8g32");
    let mut interp = GraphInterp::new(&graph, &f.model.checkpoint).unwrap();
    let next = |interp: &mut GraphInterp<'_>, tokens: &[u32]| {
        let hidden = interp.body(tokens).unwrap();
        let last = hidden.len() / tokens.len() * (tokens.len() - 1);
        top(&interp.head(&hidden[last..]).unwrap())
    };
    let mut want = vec![next(&mut interp, &f.tokens)];
    while want.len() < 8 {
        let token = next(&mut interp, &want[want.len() - 1..]);
        want.push(token);
    }
    let got = Reference::new(&graph, &f.model.checkpoint).unwrap().greedy(&f.tokens, 8).unwrap();
    let mut tokens = TokenAgreement::default();
    tokens.add(&want, &got);
    assert_eq!(tokens.equal, 1, "{tokens}");
}
