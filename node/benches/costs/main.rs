//! What one step of each kind costs, as a ratio to a loop that never changes.
//!
//! `cargo bench -p raftdeck-node --bench costs` says of each how it compares with the ratio that was landed last
//! (`landed.toml`), and fails if one is more than half as much again. `-- --land` lands what it measures now.
//!
//! A machine that is shared is slower or faster from one moment to the next, and another machine is another machine: so
//! no time is kept. Each piece of work is timed in turns with a hash over 64 KiB, within milliseconds of each other: what
//! slows both down cancels, and the median of many turns is told.
//!
//! Log and tables are measured on files in memory, where an fsync costs nothing: what is compared is the work of our own
//! and of SQLite. How many flushes there are is counted by a test (`node/sim/tests/flushes.rs`), and what one takes here
//! `raftdeck bench --limits` says.
//!
//! | file | idea |
//! |---|---|
//! | `turns` | work and hash, in turns |
//! | `core` | consensus and its messages |
//! | `jobs` | commands as bytes, and applied |
//! | `disk` | log and tables |
//!
//! CAVEATS. Without `/dev/shm` the files are on a disk, and its ratios are the disk's: they cannot be compared.

mod core;
mod disk;
mod jobs;
mod turns;

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use turns::{Work, ratio};

/// A cost that grew by more than this is told and fails.
const WORSE_MAX: f64 = 1.5;

/// All of them, in the order in which they are told.
fn all() -> Vec<(&'static str, Box<dyn Work>)> {
    vec![
        ("core step", Box::new(core::Step::new())),
        ("frame of 64 entries", Box::new(core::Frame::new())),
        ("command of 64 submits", Box::new(jobs::Bytes::new())),
        ("apply of a job's life", Box::new(jobs::Apply::new())),
        ("append of 1", Box::new(disk::Append::of(1))),
        ("append of 100", Box::new(disk::Append::of(100))),
        ("tables of 1000 jobs", Box::new(disk::Tables::new())),
    ]
}

fn main() -> ExitCode {
    let lands = std::env::args().any(|arg| arg == "--land");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/landed.toml");
    let text = fs::read_to_string(&path).expect("the landed ratios can be read");
    let landed: BTreeMap<String, f64> = toml::from_str(&text).expect("the landed ratios are a table of numbers");
    let head: String = text.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let (mut now, mut worse) = (head, Vec::new());
    for (name, mut work) in all() {
        let ratio = ratio(work.as_mut());
        now += &format!("{name:?} = {ratio:.4}\n");
        match landed.get(name) {
            None => println!("{name:<22} {ratio:>9.4} x a hash, not landed yet"),
            Some(landed) => {
                println!("{name:<22} {:>9.2} x landed ({ratio:.4} x a hash)", ratio / landed);
                if ratio / landed > WORSE_MAX {
                    worse.push(name);
                }
            }
        }
    }
    if lands {
        fs::write(&path, now).expect("the landed ratios can be written");
        return ExitCode::SUCCESS;
    }
    if worse.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("more than {WORSE_MAX} x landed: {}", worse.join(", "));
    ExitCode::FAILURE
}
