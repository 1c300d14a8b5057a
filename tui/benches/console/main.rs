//! What the console costs: how long a frame takes, what a flood of events takes of a core, how soon a key is seen, how
//! much memory an hour needs, and that nothing is drawn while nothing happens.
//!
//! `cargo build --release --workspace && cargo bench -p raftdeck --bench console` prints each figure with its goal. A
//! machine that is shared is slower from one moment to the next, so it fails only where a goal is missed by a factor of
//! three. A word after `--` measures only what has it in its name: `-- flood`.
//!
//! What can be, is measured on the program itself: in a terminal of its own, on nodes of this process that talk as real
//! ones do, by what the system says it has used. Frames, which are a matter of microseconds, are drawn here; and an hour
//! is told here in a process of its own, whose memory is read at its end.
//!
//! | file | idea |
//! |---|---|
//! | `frames` | one frame: everything anew, and a usual change |
//! | `program` | the program in a terminal: its bytes, its time, its memory |
//! | `nodes` | nodes that talk, and nothing behind them |
//! | `words` | what nodes say when they are busy |
//! | `hour` | an hour, told in a minute |

mod frames;
mod hour;
mod nodes;
mod program;
mod words;

use std::process::ExitCode;

/// A goal that is missed by more than this fails.
const MISSED_MAX: f64 = 3.0;

/// Something that was measured.
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    /// The most it should be.
    goal: f64,
}

type Measure = fn() -> Vec<Figure>;

/// Everything that is measured: what asks for it, and what does it.
const ALL: [(&str, Measure); 5] = [
    ("frames", frames::measure),
    ("start", program::start),
    ("idle", program::idle),
    ("flood", program::flood),
    ("hour", hour::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [child, nodes] = &arguments[..]
        && child == hour::CHILD
    {
        hour::child(nodes.parse().expect("a number of nodes"));
        return ExitCode::SUCCESS;
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|word| name.contains(word.as_str()));
    println!("{:<58} {:>9}      {:>7}", "", "measured", "goal");
    let mut missed = Vec::new();
    for (name, measure) in ALL {
        if !wanted(name) {
            continue;
        }
        for Figure { what, value, unit, goal } in measure() {
            let far = value > goal * MISSED_MAX;
            let said = if far {
                "  FAR OFF"
            } else if value > goal {
                "  missed"
            } else {
                ""
            };
            println!("{what:<58} {value:>9.2} {unit:<4} {goal:>7} {unit}{said}");
            if far {
                missed.push(what);
            }
        }
    }
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("more than {MISSED_MAX} x the goal: {}", missed.join("; "));
    ExitCode::FAILURE
}
