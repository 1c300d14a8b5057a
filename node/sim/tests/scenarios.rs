//! Every scenario still reads as its file says. `UPDATE_SCENARIOS=1` writes the files anew: read the difference.

use std::{fs, path::Path};

#[test]
fn every_scenario_reads_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 100, "the scenarios are gone: {} left", paths.len());
    let (mut changed, mut failed) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let played = match raftdeck_sim::rewrite(&text, 1) {
            Ok(played) => played,
            Err(error) => {
                failed.push(format!("{name}: {error}"));
                continue;
            }
        };
        if played != text {
            if std::env::var_os("UPDATE_SCENARIOS").is_some() {
                fs::write(&path, played).unwrap();
            } else {
                let line = played.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap_or_default();
                let now = played.lines().nth(line).unwrap_or_default();
                changed.push(format!("{name}:{}: now {now:?}", line + 1));
            }
        }
    }
    assert!(failed.is_empty(), "it came otherwise:\n{}", failed.join("\n"));
    assert!(
        changed.is_empty(),
        "UPDATE_SCENARIOS=1 cargo test -p raftdeck-sim writes these anew:\n{}",
        changed.join("\n")
    );
}
