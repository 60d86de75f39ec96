//! Odd geometries of every family: the interpreter in steps of 7 and burn all at once compute the same.

use super::odd_models::{odd_models, prompt};
use slmc::compare::largest_difference;
use slmc::import::{ImportOptions, import};
use slmc::reference::Reference;
use slmc_ir::interp::graph::GraphInterp;

#[test]
fn odd_models_of_every_family_are_one_thing_to_interpreter_and_burn() {
    for model in odd_models() {
        let folder = tempfile::tempdir().unwrap();
        model.write(folder.path());
        let imported = import(folder.path(), &ImportOptions { chunk: 7, ..Default::default() }).unwrap_or_else(|e| panic!("{}: {e}", model.name));
        let mut interp = GraphInterp::new(&imported.graph, &imported.checkpoint).unwrap();
        let states = interp.body(&prompt(&model)).unwrap();
        let logits = interp.head(&states).unwrap();
        let expected = Reference::new(&imported.graph, &imported.checkpoint).unwrap().forward(&prompt(&model)).unwrap();
        let gap = largest_difference(&expected.logits, &logits);
        assert!(gap < 1e-4, "{}: {gap}", model.name);
        assert!(logits.iter().any(|v| v.abs() > 0.5), "{}: logits are no test", model.name);
    }
}
