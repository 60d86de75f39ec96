//! The laws of the text form: `parse(print(x)) == x` and `print(parse(print(x))) == print(x)`.

use slmc_ir::graph::Graph;

use crate::file::difference;

/// Checks both laws; `Err` says which is broken and where.
pub fn graph(graph: &Graph) -> Result<(), String> {
    let text = graph.to_string();
    let again = Graph::parse(&text).map_err(|e| format!("what is printed does not parse: {e}\n{text}"))?;
    if let Some(difference) = difference(&text, &again.to_string()) {
        return Err(format!("printing what was parsed gives another text: {difference}"));
    }
    if again != *graph {
        return Err(format!("parsing what was printed gives another graph (of the same text):\n{text}"));
    }
    Ok(())
}
