//! How far an exploration goes.

use crate::{Config, Membership, NodeId, StorageId};

/// How often something may happen; in a world, how often it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Times {
    /// Election clocks that ran out: limited by name, see [`Bounds::timeouts`].
    pub(super) timeouts: u8,
    pub(super) heartbeats: u8,
    pub(super) crashes: u8,
    pub(super) damages: u8,
    pub(super) wipes: u8,
    /// The first message on a link never arrives.
    pub(super) losses: u8,
    /// Any message on a link arrives, and all stay on their way: so it comes twice, or before others.
    pub(super) copies: u8,
    pub(super) broken_links: u8,
    pub(super) proposals: u8,
    pub(super) changes: u8,
    pub(super) transfers: u8,
    pub(super) reads: u8,
}

/// What is explored: see the parent module.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) name: &'static str,
    /// Also those that are no members yet.
    pub(super) nodes: u64,
    pub(super) bootstrap: Membership,
    pub(super) prelude: Prelude,
    /// Writes take their time.
    pub(super) slow_disk: bool,
    /// Whose clock may run out first, second, and so on.
    pub(super) timeouts: Vec<Vec<NodeId>>,
    pub(super) may_crash: Vec<NodeId>,
    /// In this order.
    pub(super) changes: Vec<Membership>,
    pub(super) at_most: Times,
    /// Entries in one append.
    pub(super) batch_entries_max: usize,
    /// What must have happened somewhere.
    pub(super) reached: Vec<Reached>,
}

/// What has happened before the exploration begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prelude {
    /// All nodes have just been started for the first time.
    Nothing,
    /// Node 1 is in office, and its first entry is committed everywhere.
    Led,
    /// Then it took a command that nobody else has got; and node 2 was elected, whose first entry nobody else has got.
    Divided,
}

/// What must have happened somewhere in an exploration, for it is empty otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    Leader,
    SecondLeader,
    Command,
    Change,
    Promotion,
    Transfer,
    Read,
    Refill,
}

impl Bounds {
    /// Of a node, with this directory.
    pub(super) fn config(&self, id: NodeId, storage: StorageId) -> Config {
        let joins = !self.bootstrap.contains(id);
        let bootstrap = if joins { Membership::default() } else { self.bootstrap.clone() };
        let usual = Config::new(id, storage, bootstrap, 0);
        // With a timeout that is no range, nothing is left to chance.
        let batch_entries_max = self.batch_entries_max;
        Config { heartbeat_ticks: 1, election_ticks_min: 2, election_ticks_max: 2, batch_entries_max, ..usual }
    }
}

/// The directory a node is first started with.
pub(super) fn storage(node: NodeId) -> StorageId {
    StorageId(u128::from(node.0))
}
