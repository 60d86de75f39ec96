//! Which line of a text a fault of the verifier belongs to: the one that defines the faulty thing.
//!
//! Faults name things as the printer numbers them, so a text that is judged numbers its values from 0, in order.

/// The line, from 1, of what `at` names; `None` if no line defines it.
///
/// In a graph `v3` and `w0` are found by their definition, `graph`, `body` and `head` by their first line. In a program
/// `kernel @k: v3` is a line of that kernel, `a0 name`, `p0 name` and `kv 0` are lines of the plan's tables, and
/// `decode[2] @k` is the third dispatch of that list. What has no line of its own stands on that of its kernel or plan.
pub fn line_of(text: &str, at: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().map(|line| line.split(';').next().unwrap_or("").trim()).collect();
    let found = match at.strip_prefix("kernel @").and_then(|rest| rest.split_once(": ")) {
        Some((name, what)) => in_kernel(&lines, name, what),
        None => in_graph(&lines, at).or_else(|| in_plan(&lines, at)),
    };
    found.map(|i| i + 1)
}

/// Whether `line` defines the id: `v3: type = …`, `w0 = …`, `b0 %name`, `for v3 in`, `a0 "name"`.
fn defines(line: &str, id: &str) -> bool {
    let line = line.strip_prefix("for ").unwrap_or(line);
    let line = line.strip_prefix("private ").or_else(|| line.strip_prefix("workgroup ")).unwrap_or(line);
    line.strip_prefix(id)
        .is_some_and(|rest| rest.starts_with(':') || [" = ", " %", " in ", " \"", " slot "].iter().any(|next| rest.starts_with(next)))
}

fn in_kernel(lines: &[&str], name: &str, what: &str) -> Option<usize> {
    let opens = |line: &str| line.strip_prefix("kernel @").is_some_and(|rest| rest.split(' ').next() == Some(name));
    // A second kernel of the name is at fault for it.
    let first = if what.starts_with('k') { lines.iter().rposition(|l| opens(l)) } else { lines.iter().position(|l| opens(l)) }?;
    let body = &lines[first..];
    let end = body.iter().skip(1).position(|l| l.starts_with("kernel ") || l.starts_with("plan ")).map_or(body.len(), |n| n + 1);
    let body = &body[..end];
    let statement = || body.iter().position(|line| line.starts_with(what));
    let word = what.split(' ').next().unwrap_or(what);
    Some(first + body.iter().position(|line| defines(line, word)).or_else(statement).unwrap_or(0))
}

fn in_graph(lines: &[&str], at: &str) -> Option<usize> {
    let id = at.split(' ').next()?;
    let opens = |line: &str| match id {
        "graph" => line.starts_with("graph "),
        "body" | "head" => line.strip_prefix(id).is_some_and(|rest| rest.trim_start().starts_with('(')),
        _ => id.starts_with(['v', 'w']) && (defines(line, id) || line.split(['(', ',']).any(|part| defines(part.trim(), id))),
    };
    lines.iter().position(|line| opens(line))
}

fn in_plan(lines: &[&str], at: &str) -> Option<usize> {
    let first = lines.iter().position(|line| line.starts_with("plan "))?;
    let plan = &lines[first..];
    let id = match at.strip_prefix("kv ") {
        Some(index) => format!("kv{index}"),
        None => at.split(' ').next()?.to_owned(),
    };
    if id == "plan" {
        return Some(first);
    }
    if let Some((list, index)) = id.strip_suffix(']').and_then(|id| id.split_once('[')) {
        let opens = plan.iter().position(|line| line.strip_prefix(list).is_some_and(|rest| rest.trim() == "{"))?;
        let dispatches = plan.iter().enumerate().skip(opens + 1).filter(|(_, line)| line.starts_with('@'));
        return dispatches.map(|(i, _)| first + i).nth(index.parse().ok()?);
    }
    plan.iter().position(|line| defines(line, &id)).map(|i| first + i)
}
