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
//! | `disk` | a node's disk: what a crash leaves of a write that was under way |
//! | `vfs` | the drive under SQLite: syncs, torn writes, rotten bits |
//! | `checks` | what must hold after every event |
//! | `scenario` | the scenario language: one command a line |
//! | `play` | runs a scenario and tells what happened |
//! | `swarm` | runs seeds: random faults, then healing, then nothing may be missing |
//! | `words` | what happened, as a line to read aloud |
//!
//! CAVEATS. Rotten bits, failed syncs and full disks are faults of the drive that no seed draws yet: its tests do. Clocks
//! of all nodes run at the same rate.

mod checks;
mod cluster;
mod disk;
mod play;
mod scenario;
mod swarm;
pub mod vfs;
mod words;

pub use checks::Violation;
pub use cluster::{Cluster, Happening, Network, Options};
pub use play::{PlayError, play, rewrite};
pub use scenario::{Command, ParseError, Scenario};
pub use swarm::{Counts, Outcome, SwarmOptions, run_seed};
