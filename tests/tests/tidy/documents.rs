//! Documents: every package has one, every one can be found, no link leads nowhere.

use crate::{PACKAGES, no_breach, root, texts};

/// The documents that list the others.
const INDEX: [&str; 2] = ["README.md", "compiler/ARCHITECTURE.md"];

/// Targets of `[text](target)` in `text`, code blocks left out.
fn links(text: &str) -> Vec<String> {
    let (mut found, mut in_code) = (Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if !in_code {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            found.extend(targets.map(str::to_owned));
        }
    }
    found
}

/// `target`, as seen from the document `from`, as a path from the root.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('#').next().unwrap_or("").split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn local(target: &str) -> bool {
    !target.contains("://") && !target.starts_with('#') && !target.starts_with("mailto:")
}

#[test]
fn every_package_has_its_document() {
    let has = |package: &str| ["README.md", "ARCHITECTURE.md"].iter().any(|d| root().join(package).join(d).is_file());
    let missing = PACKAGES.iter().filter(|p| !has(p));
    no_breach("a README.md (or ARCHITECTURE.md) beside each Cargo.toml", missing.map(ToString::to_string).collect());
}

#[test]
fn every_document_is_in_the_index() {
    let documents = texts(&[".md"]);
    let mut listed: Vec<String> = INDEX.iter().map(ToString::to_string).collect();
    for (path, text) in &documents {
        if INDEX.contains(&path.as_str()) {
            listed.extend(links(text).iter().filter(|t| local(t)).map(|t| resolve(path, t)));
        }
    }
    // What lies in the root is found without an index.
    let lost = documents.iter().map(|(path, _)| path).filter(|p| p.contains('/') && !listed.contains(p));
    no_breach(&format!("a link in {} to every document", INDEX.join(" or ")), lost.cloned().collect());
}

#[test]
fn every_link_leads_somewhere() {
    let mut breaches = Vec::new();
    for (path, text) in texts(&[".md"]) {
        for target in links(&text).iter().filter(|t| local(t)) {
            if !root().join(resolve(&path, target)).exists() {
                breaches.push(format!("{path}: {target}"));
            }
        }
    }
    no_breach("links between documents", breaches);
}
