//! README.md says what the code says: the table of ops, and an example that is canonical and verifies.

use slmc_ir::graph::Graph;
use slmc_ir::graph::op::OPS;
use slmc_ir::graph::verify::verify;

const README: &str = include_str!("../README.md");

#[test]
fn the_op_table_is_that_of_the_code() {
    let mut table = String::from("| op | values | weights | attributes | meaning |\n|---|---|---|---|---|\n");
    for op in OPS {
        let (least, most) = op.weights;
        let weights = if least == most { least.to_string() } else { format!("{least}–{most}") };
        let attrs: Vec<String> = op.attrs.iter().map(|a| format!("`{a}`")).collect();
        table += &format!("| `{}` | {} | {weights} | {} | {} |\n", op.name, op.inputs, attrs.join(", "), op.summary);
    }
    assert!(README.contains(&table), "put this table into README.md under Ops:\n\n{table}");
}

#[test]
fn the_example_is_canonical() {
    let start = README.find("```slmir\n").expect("there is an example") + "```slmir\n".len();
    let text = &README[start..start + README[start..].find("```").expect("it ends")];
    let mut graph = Graph::parse(text).expect("it parses");
    verify(&graph).expect("it verifies");
    assert!(graph.renumber());
    assert_eq!(graph.to_string(), text);
}
