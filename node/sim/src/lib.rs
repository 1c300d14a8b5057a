//! A whole cluster on one thread: clock, network and disk under one seed.
//!
//! It runs the node's own [`Replica`](raftdeck_node::replica::Replica) and the node's own storage functions, on real
//! SQLite. What it replaces is what surrounds them: time is a number, the network is a queue of messages with a time of
//! arrival, and the disk is a drive in memory: a write happens when its time has come, or in part, or never, if the node
//! crashes before. The same seed gives the same run, event for event.
//!
//! | file | idea |
//! |---|---|
//! | `cluster` | events in the order of virtual time: ticks, messages, disks |
//! | `network` | messages that are lost, late, doubled, or come again |
//! | `disk` | a node's disk: what a crash leaves of a write that was under way |
//! | `vfs` | the drive under SQLite: syncs, torn writes, rotten bits |
//! | `checks`, `violation` | what must hold after every event |
//! | `scenario`, `parse` | the scenario language: one command a line; for those who write it, `SCENARIOS.md` |
//! | `play`, `expect` | runs it, tells what happened, and compares that with what it expects |
//! | `plan`, `strike`, `workload`, `operator` | what a seed draws; a fault as it strikes; what clients and an operator do meanwhile |
//! | `watch`, `show` | a run for somebody who looks on: what its nodes would tell a console, scene by scene |
//! | `swarm` | runs seeds: faults, then a healed majority, then rest |
//! | `shrink` | makes a failing seed smaller |
//! | `words` | what happened, as a line to read aloud |
//!
//! That these laws see something is proven with deliberate bugs, behind the feature `mutants`:
//! `cargo run --release -p raftdeck-sim --features mutants --example mutants` tells how each is found.
//!
//! CAVEATS. Rotten bits, failed syncs and full disks are faults of the drive that no seed draws yet: its tests do. Clocks
//! of all nodes run at the same rate.

mod checks;
mod cluster;
mod cue;
mod disk;
mod expect;
mod network;
mod operator;
mod parse;
mod plan;
mod play;
mod scenario;
mod show;
mod shrink;
mod strike;
mod swarm;
pub mod vfs;
mod violation;
mod words;
mod workload;

pub use cluster::{
    Cluster, Happening, Options, Steer,
    watch::{News, Scene, Sink, Word},
};
pub use cue::Cue;
pub use network::{Arrival, Traffic, Weather};
pub use play::{PlayError, play, rewrite};
pub use scenario::{Act, Clockwork, Command, Expect, Fate, ParseError, Place, Request, Scenario, Sky, View};
pub use show::{Ending, show_scenario, show_seed};
pub use shrink::shrink;
pub use swarm::{Counts, Outcome, SwarmOptions, run_seed};
pub use violation::Violation;
