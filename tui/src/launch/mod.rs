//! Nodes as processes of this machine.
//!
//! - [`folder`]: a cluster's folder: its file, and a data directory, log and pid for each node;
//! - [`process`]: a process that is still the one that was started, however often pids are reused;
//! - [`openers`]: the terminals that nodes can be opened in, and [`tab`]: nodes in their tabs and panes;
//! - [`binary`]: which `raftdeck-node` is started;
//! - [`ports`]: addresses for a new cluster;
//! - [`temporary`]: a cluster that ends with the call that started it;
//! - [`ready`]: waiting until started nodes answer and agree on a leader.
//!
//! Everything is on disk: the call that starts a node ends, and the next one must find what runs.

pub mod binary;
pub mod folder;
pub mod openers;
pub mod ports;
pub mod process;
pub mod ready;
pub mod tab;
pub mod temporary;
