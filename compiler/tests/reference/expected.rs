//! The fixtures in f32: logits, hidden states and greedy tokens are Hugging Face's.

use super::fixture::{Fixture, NAMES};
use slmc::compare::{LogitGap, largest_difference};
use slmc::reference::Reference;

#[test]
fn logits_hidden_states_and_tokens_are_those_of_hugging_face() {
    for name in NAMES {
        let f = Fixture::read(name);
        let reference = Reference::new(&f.model.graph, &f.model.checkpoint).unwrap();
        let output = reference.forward(&f.tokens).unwrap();
        let mut gap = LogitGap::new(reference.vocab());
        gap.add(&f.logits, &output.logits).unwrap();
        assert_eq!(gap.rows(), f.tokens.len());
        assert!(gap.largest_difference() < 2e-4, "{name}: {gap:?}");
        assert!(gap.divergence().max < 1e-7 && gap.same_top() == gap.rows(), "{name}: {:?}", gap.divergence());

        let after_layers: Vec<_> = output.streams.iter().filter(|(name, _)| !name.ends_with("attention")).collect();
        let layers = f.model.summary.layers;
        assert_eq!(f.hidden.len(), layers + 1);
        // The stream before the final norm is not among the expected ones, the one after it is.
        assert_eq!(after_layers.len(), layers + 2);
        assert_eq!(
            (after_layers[0].0.as_str(), after_layers[1].0.as_str(), after_layers[layers + 1].0.as_str()),
            ("embedding", "layer 0 feed-forward", "output")
        );
        for (place, want) in f.hidden.iter().enumerate() {
            let (stream, got) = after_layers[if place == layers { layers + 1 } else { place }];
            let most = largest_difference(want, got);
            assert!(most < 1e-4, "{name}, {stream}: {most}");
        }
        assert_eq!(reference.greedy(&f.tokens, f.greedy.len()).unwrap(), f.greedy, "{name}");
    }
}

#[test]
fn a_position_does_not_see_what_follows_it() {
    let f = Fixture::read("llama-tied");
    let reference = Reference::new(&f.model.graph, &f.model.checkpoint).unwrap();
    let whole = reference.forward(&f.tokens).unwrap().logits;
    let part = reference.forward(&f.tokens[..7]).unwrap().logits;
    assert!(largest_difference(&whole[..part.len()], &part) < 2e-5);
}
