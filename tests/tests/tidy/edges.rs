//! Which package may use which: the table of the architecture, read against the Cargo.toml files.

use std::collections::BTreeSet;

use crate::{PACKAGES, no_breach, root};

/// What a package may depend on.
struct Row {
    folder: &'static str,
    name: &'static str,
    ours: &'static [&'static str],
    /// Outside packages; `None` leaves the choice to the package.
    outside: Option<&'static [&'static str]>,
    /// Outside packages that must be optional, behind the feature given.
    optional: &'static [(&'static str, &'static str)],
}

const ROWS: [Row; 7] = [
    Row { folder: "ir", name: "slmc-ir", ours: &[], outside: Some(&["half", "thiserror"]), optional: &[] },
    Row { folder: "passes", name: "slmc-passes", ours: &["slmc-ir"], outside: Some(&["half", "petgraph", "rayon", "thiserror"]), optional: &[] },
    Row {
        folder: "backends",
        name: "slmc-backends",
        ours: &["slmc-ir"],
        outside: Some(&["half", "object", "thiserror"]),
        optional: &[("inkwell", "llvm"), ("cranelift-codegen", "cranelift"), ("cranelift-frontend", "cranelift"), ("naga", "naga")],
    },
    Row { folder: "runtime-stub", name: "slmc-runtime-stub", ours: &[], outside: Some(&["sha2"]), optional: &[] },
    Row { folder: "compiler", name: "slmc", ours: &["slmc-ir", "slmc-passes", "slmc-backends", "slmc-runtime-stub"], outside: None, optional: &[] },
    Row {
        folder: "tests",
        name: "slmc-tests",
        ours: &["slmc-ir", "slmc-passes", "slmc-backends", "slmc-runtime-stub", "slmc"],
        outside: None,
        optional: &[],
    },
    Row { folder: "examples", name: "slmc-examples", ours: &["slmc"], outside: None, optional: &[] },
];

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn dependencies(table: &toml::Table, key: &str) -> Vec<(String, bool)> {
    let list = table.get(key).and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let optional = |v: &toml::Value| v.get("optional").and_then(toml::Value::as_bool).unwrap_or(false);
    list.into_iter().map(|(name, v)| (name, optional(&v))).collect()
}

#[test]
fn packages_depend_only_on_what_the_table_allows() {
    let names: BTreeSet<&str> = ROWS.iter().map(|r| r.name).collect();
    let mut breaches = Vec::new();
    for row in &ROWS {
        let table = manifest(row.folder);
        if table["package"]["name"].as_str() != Some(row.name) {
            breaches.push(format!("{}: the package is not called {}", row.folder, row.name));
        }
        for key in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, optional) in dependencies(&table, key) {
                if names.contains(name.as_str()) {
                    // A test of a package may use what the package may use.
                    if !row.ours.contains(&name.as_str()) {
                        breaches.push(format!("{}: {key} has {name}, an edge that the table does not have", row.folder));
                    }
                    continue;
                }
                if key != "dependencies" {
                    continue;
                }
                if let Some((_, feature)) = row.optional.iter().find(|(n, _)| *n == name) {
                    let listed = table["features"].get(*feature).and_then(toml::Value::as_array);
                    let wanted = format!("dep:{name}");
                    if !optional || !listed.is_some_and(|l| l.iter().any(|v| v.as_str() == Some(&wanted))) {
                        breaches.push(format!("{}: {name} has to be optional and belong to the feature {feature}", row.folder));
                    }
                } else if row.outside.is_some_and(|allowed| !allowed.contains(&name.as_str())) {
                    breaches.push(format!("{}: {name} is not among its outside packages", row.folder));
                }
            }
        }
    }
    no_breach("edges between packages", breaches);
}

#[test]
fn the_workspace_is_the_table() {
    let table = manifest(".");
    let members: Vec<&str> = table["workspace"]["members"].as_array().into_iter().flatten().filter_map(toml::Value::as_str).collect();
    assert_eq!(members, PACKAGES);
    let mut folders: Vec<&str> = ROWS.iter().map(|r| r.folder).collect();
    folders.sort_unstable();
    let mut packages = PACKAGES;
    packages.sort_unstable();
    assert_eq!(folders, packages);
}

#[test]
fn packages_without_unsafe_say_so() {
    let breaches = ["ir", "passes", "tests"].iter().filter(|folder| {
        let path = root().join(folder).join("src/lib.rs");
        !std::fs::read_to_string(path).is_ok_and(|text| text.contains("#![forbid(unsafe_code)]"))
    });
    no_breach("lib.rs has `#![forbid(unsafe_code)]`", breaches.map(ToString::to_string).collect());
}
