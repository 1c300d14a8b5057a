//! The parts of the binary `raftdeck`.

pub mod console;
