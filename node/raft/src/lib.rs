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
//! | `leader` | what only a leader has; giving up when no majority is heard |
//! | `replication` | appends, agreement of logs, heartbeats, commitment |
//! | `progress` | what a leader knows of one follower: match, next, the window in flight |
//! | `membership` | who belongs to the group; joint majorities; which disk a member is bound to |
//! | `reconfigure` | changing that: joint consensus, learners and their promotion, removed leaders |
//! | `transfer` | handing over leadership, with an outcome |
//! | `read` | linearizable reads without a log entry |
//! | `snapshot` | bringing up a follower that needs what is no longer in the log |
//! | `damage` | a disk that lost what was acknowledged, and how its node comes back |
//! | `log` | entries in memory, where they begin, and how far the disk has them |
//! | `quorum` | majorities |
//! | `message`, `output`, `observation` | the values that go in and out |
//! | `config` | what a node is told when it starts |
//! | `node` | the struct itself: terms, roles, dispatch |
//! | `mutants` | deliberate bugs, for the proof of the simulator |
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
//! 7. A membership is in force from its append on; one change at a time (thesis 4.1, 4.3).
//! 8. What a node says that lost its promises counts towards no majority.
//!
//! # CAVEATS
//!
//! Entries that are not compacted are held in memory. A member is bound to its data directory when a leader has first
//! heard it: a disk that is lost before that, or an old copy of a whole directory put in its place, is noticed by nobody.
//! There are no leases: a read costs a round of heartbeats, shared by all that wait.
//!
//! What bit others, and what shows that it does not bite here: `PITFALLS.md`.

mod config;
mod damage;
mod election;
mod ids;
mod leader;
mod log;
mod membership;
mod message;
#[cfg(test)]
mod model;
#[doc(hidden)]
pub mod mutants;
mod node;
mod observation;
mod output;
mod progress;
mod quorum;
mod random;
mod read;
mod reconfigure;
mod replication;
mod snapshot;
mod transfer;

pub use config::{Config, Restart};
pub use ids::{GroupId, Index, NodeId, StorageId, Term};
pub use log::{Entry, EntryKind, Log};
pub use membership::{Learner, Membership};
pub use message::{Append, Body, Envelope, Rejection, VoteRefusal};
pub use node::{PeerView, ProposeError, Raft, RoleKind};
pub use observation::{Cause, Observation, Observed};
pub use output::{Damage, HardState, LogStart, Output, Write, WriteSeq};
pub use progress::Sending;
pub use quorum::majority;
pub use read::{ReadError, ReadRound, ReadToken};
pub use reconfigure::ChangeError;
pub use snapshot::{Chunk, SnapshotId, SnapshotMeta, SnapshotTask};
pub use transfer::{TransferError, TransferOutcome};
