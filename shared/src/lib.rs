//! What Raftdeck's node and console must agree on, and nothing else.
//!
//! - [`ids`]: typed ids and the conversions from bare numbers of the wire;
//! - [`wire`]: the generated messages of `proto/`, the only contract between processes;
//! - [`cluster`]: the cluster file that every binary reads;
//! - [`faults`]: the limits of faults, and the words for them;
//! - [`client`]: channels, and the client that follows the leader;
//! - [`calls`]: many calls on one stream.

pub mod calls;
pub mod client;
pub mod cluster;
pub mod faults;
pub mod ids;
pub mod wire;
