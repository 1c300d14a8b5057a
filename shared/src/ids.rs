//! The ids that travel: defined by the two pure crates, gathered here for everybody who speaks the wire.
//!
//! A bare `u64` exists only inside a generated message; the first thing a receiver does is to give it its type.

pub use raftdeck_jobs::{JobId, LeaseToken};
pub use raftdeck_raft::{GroupId, Index, NodeId, Term};
