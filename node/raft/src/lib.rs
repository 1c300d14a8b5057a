//! The consensus core of Raftdeck: Raft as a value that takes inputs and gives outputs.
//!
//! Raft (Ongaro and Ousterhout 2014, "the paper"; Ongaro's dissertation, "the thesis") keeps one log equal on a
//! majority of nodes. A leader is elected for a *term*; it alone appends; an entry that a majority has on disk is
//! *committed* and will be in every later leader's log; committed entries are applied in order, on every node alike.
//!
//! # Shape
//!
//! [`Raft`] owns no clock, no disk, no network and no source of chance. Whoever drives it calls
//! [`tick`](Raft::tick), [`receive`](Raft::receive), [`propose`](Raft::propose) and [`persisted`](Raft::persisted), as
//! often as there is something to say, and then takes one [`Output`]: what to write, what to send, what to apply, what
//! was observed. A hundred proposals between two outputs become one write and one message for each peer. The value is
//! `Clone + Eq + Hash`, so the code that runs in production is the code that is simulated, replayed and explored.
//!
//! # Order of disk and network
//!
//! An output's messages come in two parts. `send_now` may leave at once: appends and heartbeats of a leader, whose own
//! write is under way at the same time (thesis 10.2.1). `send_durable` may leave only when the write `after` is on
//! disk: votes, requests for votes, and acknowledgements, for each of them claims something about this node's disk.
//! A leader counts itself towards a majority by the same rule.
//!
//! # Where to find what
//!
//! | file | idea |
//! |---|---|
//! | `election` | timeouts, pre-votes, votes, winning and losing |
//! | `replication` | appends, agreement of logs, heartbeats, commitment |
//! | `progress` | what a leader knows of one follower: match, next, the window in flight |
//! | `log` | entries in memory, and how far the disk has them |
//! | `quorum` | majorities |
//! | `message`, `output`, `observation` | the values that go in and out |
//! | `config` | what a node is told when it starts |
//! | `node` | the struct itself: terms, roles, dispatch |
//!
//! # Laws
//!
//! Kept by assertions in release builds too; a node that sees one broken stops rather than goes on.
//!
//! 1. The term never falls; a vote in a term is never taken back or changed (paper 5.2).
//! 2. A leader never overwrites or removes entries of its own log (paper 5.3).
//! 3. An entry at or below the commit index is never truncated (paper 5.4).
//! 4. A leader commits by counting only entries of its own term (paper 5.4.2, figure 8).
//! 5. Nothing is claimed to a peer that is not on this node's disk.
//! 6. There is at most one leader a term; hearing of two is a broken law of the cluster.
//!
//! # CAVEATS
//!
//! The set of voters is fixed. The log is held in memory whole and is not compacted, so a follower can always be caught
//! up from it. A leader that is cut off from its peers stays in office until it hears of a higher term; it
//! cannot commit, and [`Raft::in_touch`] tells that it should not be asked. So one whose messages go out but to whom none
//! come in keeps its followers from electing another. There are no linearizable reads without a log entry.

mod config;
mod election;
mod ids;
mod log;
mod message;
mod node;
mod observation;
mod output;
mod progress;
mod quorum;
mod random;
mod replication;

pub use config::{Config, Restart};
pub use ids::{GroupId, Index, NodeId, Term};
pub use log::{Entry, EntryKind, Log};
pub use message::{Append, Body, Envelope, Rejection, VoteRefusal};
pub use node::{PeerView, ProposeError, Raft, RoleKind};
pub use observation::{Cause, Observation, Observed};
pub use output::{HardState, Output, Write, WriteSeq};
pub use quorum::majority;
