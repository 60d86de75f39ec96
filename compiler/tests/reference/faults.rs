//! What the reference refuses, and in which words.

use super::ops::{Build, Noise};
use slmc::reference::{Reference, ReferenceError};
use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{DType, Graph, Op, SegmentKind, TensorType, Weight};
use std::ops::Range;

fn small() -> Graph {
    let mut b = Build::new();
    let x = b.embed(32, DType::F32);
    b.end(x, &[(DType::F32, &[50, 32])])
}

fn message(error: ReferenceError) -> String {
    error.to_string()
}

#[test]
fn tokens_must_be_some_known_and_not_too_many() {
    let reference = Reference::new(&small(), &Noise).unwrap();
    assert_eq!(reference.vocab(), 50);
    assert!(message(reference.forward(&[]).unwrap_err()).contains("no tokens"));
    let unknown = message(reference.forward(&[1, 50, 51]).unwrap_err());
    assert!(unknown.contains("token 50 at position 1") && unknown.contains("below 50"), "{unknown}");
    assert!(message(reference.forward(&[0; 65]).unwrap_err()).contains("65 tokens do not fit the context of 64"));
    assert!(reference.forward(&[0; 64]).is_ok());
    // The 65th token is given without ever being read.
    assert_eq!(reference.greedy(&[0; 60], 5).unwrap().len(), 5);
    assert!(message(reference.greedy(&[0; 60], 6).unwrap_err()).contains("65 tokens"));
    assert!(reference.greedy(&[1], 0).unwrap().is_empty());
}

#[test]
fn every_weight_that_cannot_be_read_is_named() {
    struct Broken;
    impl WeightProvider for Broken {
        fn rows(&self, weight: &Weight, _: Range<u32>) -> Result<Vec<f32>, String> {
            if weight.name == "w0" { Err("disk on fire".to_owned()) } else { Ok(vec![0.0; 3]) }
        }
    }
    let Err(error) = Reference::new(&small(), &Broken) else { panic!("expected an error") };
    let text = message(error);
    assert!(text.contains("weight w0: disk on fire") && text.contains("weight w1: rows 0..50 have 3 numbers, expected 1600"), "{text}");
}

#[test]
fn graphs_that_are_no_models_are_refused() {
    let mut invalid = small();
    invalid.body.outputs.clear();
    assert!(matches!(Reference::new(&invalid, &Noise), Err(ReferenceError::Invalid(_) | ReferenceError::Shape(_))));

    let mut g = Build::new();
    let x = g.0.add_input(SegmentKind::Body, TensorType::rows(DType::F32, 32));
    let y = g.node(SegmentKind::Body, Op::Silu, &[x], &[]);
    let Err(error) = Reference::new(&g.end(y, &[(DType::F32, &[50, 32])]), &Noise) else { panic!("expected an error") };
    let text = message(error);
    assert!(text.contains("body's input v0 is f32[T,32], expected u32"), "{text}");
}
