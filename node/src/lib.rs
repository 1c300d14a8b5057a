//! A node of Raftdeck: one replica of the job queue, and all that it needs to live in a process.
//!
//! Start reading at [`replica`]: the consensus core and the job machine under one owner, as a plain value. Around it,
//! from the inside out:
//!
//! - [`steering`], [`compaction`]: what it does for its operator and readers, and how it keeps its log short;
//! - [`driver`], `snapshots`: the task that owns the replica, brings inputs and carries out effects; files, beside it;
//! - [`handle`]: the way to it for everybody else;
//! - [`storage`]: log, mark and tables on disk;
//! - [`transport`]: messages between nodes;
//! - `listener`: what both listeners accept, and how much of it;
//! - [`observe`], [`faults`], [`status`]: what can be seen of a node, and what can be done to it on purpose;
//! - [`api`]: the services for clients, workers and the console;
//! - [`executor`]: the worker that every node brings along;
//! - [`node`]: all of it put together.

pub mod api;
pub mod compaction;
pub mod driver;
pub mod executor;
pub mod faults;
pub mod handle;
pub(crate) mod listener;
#[doc(hidden)]
pub mod mutants;
pub mod node;
pub mod observe;
pub(crate) mod parking;
pub mod replica;
pub(crate) mod snapshots;
pub mod status;
pub mod steering;
pub mod storage;
pub mod transport;
