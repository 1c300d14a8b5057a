//! `node/raft/PITFALLS.md` names what shows that a pitfall is avoided: every name on that page exists.

use std::{fs, path::Path};

/// What stands between backticks and names something that can be looked up.
fn missing(root: &Path, name: &str) -> Option<String> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let exists = if let Some(law) = name.strip_prefix("Violation::") {
        let checked =
            ["checks", "cluster/ask", "swarm", "workload"].map(|file| read(&format!("node/sim/src/{file}.rs")));
        checked.iter().any(|code| code.contains(&format!("Violation::{law}")))
    } else if name.ends_with(".scn") {
        root.join("node/sim/scenarios").join(name).exists()
    } else if let Some((file, test)) = name.split_once("::") {
        read(file).contains(&format!("fn {test}("))
    } else if name.starts_with("node/") {
        root.join(name).exists()
    } else if name.ends_with(".rs") {
        root.join("node/raft/src").join(name).exists()
    } else {
        return None;
    };
    (!exists).then(|| name.to_owned())
}

#[test]
fn every_name_on_the_page_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("node/raft/PITFALLS.md")).unwrap();
    let names: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 150, "only {} names: the page lost its backticks", names.len());
    let gone: Vec<String> = names.iter().filter_map(|name| missing(&root, name)).collect();
    assert!(gone.is_empty(), "the page names what is not there: {gone:?}");
}

#[test]
fn every_pitfall_has_its_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("node/raft/PITFALLS.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| P")).collect();
    for (row, number) in rows.iter().zip(1..) {
        assert!(row.starts_with(&format!("| P{number} |")), "here should be P{number}: {row}");
    }
    assert_eq!(rows.len(), 38);
}
