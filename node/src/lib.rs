//! A node of Raftdeck.

pub mod executor;
