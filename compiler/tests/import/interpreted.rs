//! The fixtures of all families as the interpreter runs them: logits, hidden states and greedy tokens are Hugging Face's.

use super::fixture::{Fixture, NAMES};
use slmc::compare::{largest_difference, top};
use slmc::streams::{Stream, residual_streams};
use slmc_ir::graph::Graph;
use slmc_ir::interp::graph::GraphInterp;

/// The places of `hidden`: the embedding, the stream after each layer but the last, and the output.
pub fn after_layers(graph: &Graph) -> Vec<Stream> {
    let mut places: Vec<Stream> = residual_streams(graph).into_iter().filter(|s| !s.name.ends_with("attention")).collect();
    let last = places.len().saturating_sub(2);
    places.remove(last);
    places
}

#[test]
fn every_family_computes_what_hugging_face_does() {
    for name in NAMES {
        let f = Fixture::read(name);
        let places = after_layers(&f.model.graph);
        assert_eq!((places.len(), f.hidden.len()), (f.model.summary.layers + 1, f.model.summary.layers + 1), "{name}");
        let mut interp = GraphInterp::new(&f.model.graph, &f.model.checkpoint).unwrap();
        interp.watch(&places.iter().map(|place| place.value).collect::<Vec<_>>());
        let states = interp.body(&f.tokens).unwrap();
        for (place, want) in places.iter().zip(&f.hidden) {
            let gap = largest_difference(want, interp.watched(place.value));
            assert!(gap < 1e-4, "{name}, {}: {gap}", place.name);
        }
        let logits = interp.head(&states).unwrap();
        let gap = largest_difference(&f.logits, &logits);
        assert!(gap < 2e-4, "{name}: logits differ by {gap}");
        println!("{name}: {gap}");

        let width = states.len() / f.tokens.len();
        let mut last = states[states.len() - width..].to_vec();
        let mut followed = Vec::new();
        while followed.len() < f.greedy.len() {
            let next = top(&interp.head(&last).unwrap());
            followed.push(next);
            last = interp.body(&[next]).unwrap();
        }
        assert_eq!(followed, f.greedy, "{name}");
    }
}
