//! A node comes and goes: it starts with what its disk has, and a crash leaves of it what was written.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use raftdeck_node::{
    replica::{Input, Replica},
    storage::StorageError,
};
use raftdeck_raft::{Config, GroupId, Membership, NodeId, StorageId};
use rand::RngExt as _;
use tokio_rusqlite::rusqlite::ErrorCode;

use super::{Cluster, Event, Happening, TICK_US, Up};
use crate::violation::Violation;

impl Cluster {
    /// A node that belongs to nobody yet starts, and waits to be added.
    ///
    /// # Errors
    /// It does not start.
    pub fn join(&mut self, id: NodeId) -> Result<(), Violation> {
        self.add_node(id);
        self.start(id)
    }

    /// A node is gone at once, with all that it had not written.
    pub fn crash(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(up) = node.up.take() else { return };
        // A held disk has not begun with it.
        node.disk.crash(if node.disk_held { &[] } else { &up.under_way });
        let lost = up.tickets.into_iter().map(|ticket| Happening::Answered(ticket, None));
        let lost = lost.chain(up.steering.into_iter().map(|ticket| Happening::Steered(ticket, None)));
        self.happenings.extend(lost.map(|what| (self.now_us, what)));
        for at in self.ids() {
            self.schedule(1_000, at, Event::LinkLost { at, peer: id });
        }
    }

    /// A node starts with what its disk has.
    ///
    /// # Errors
    /// Its disk is not what was written to it.
    pub fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        if self.is_up(id) {
            return Ok(());
        }
        let seed = self.rng.random();
        let (batch_entries_max, retention) = (self.options.batch_entries_max, self.options.retention);
        let node = self.nodes.get_mut(&id).expect("only nodes that there are can start");
        let started = match node.disk.start() {
            Ok(started) => started,
            // It stays down until there is room.
            Err(error) if node.disk.drive().is_limited() && says_full(&error) => {
                self.happened(Happening::DiskFailed(id, error.to_string()));
                return Ok(());
            }
            Err(error) => return Err(Violation::Storage { node: id, error: error.to_string() }),
        };
        let belongs = node.founded.is_some() && !started.joins;
        node.tasks.clear();
        node.is_installing = false;
        let bootstrap = if belongs { self.bootstrap(started.storage) } else { Membership::default() };
        let node = self.nodes.get_mut(&id).expect("it was here just now");
        let config = Config { batch_entries_max, ..Config::new(id, started.storage, bootstrap, seed) };
        let remembered = started.restart.applied;
        node.life += 1;
        let replica = Replica::new(GroupId::FIRST, config, started.restart, started.machine, retention);
        self.checks.started(id, &replica)?;
        node.up = Some(Up {
            replica,
            gathered: Vec::new(),
            under_way: Vec::new(),
            stuck: false,
            remembered,
            remembered_at: self.now_us,
            tickets: BTreeSet::new(),
            steering: BTreeSet::new(),
            asked: Vec::new(),
            paused: None,
            paused_at: 0,
        });
        self.handle(id, vec![Input::Remembered(remembered)])?;
        // Its peers connect to it anew.
        for at in self.ids().into_iter().filter(|at| *at != id) {
            self.schedule(1_000, at, Event::LinkLost { at, peer: id });
        }
        // Nodes do not tick at the same instant: nothing in the world does.
        self.schedule(TICK_US + id.0 * 100, id, Event::Tick(id));
        Ok(())
    }

    /// Who belongs to the group at first. One that lost all trace of its past begins as at first, too; but it is bound to
    /// nothing that the others know.
    fn bootstrap(&self, storage: StorageId) -> Membership {
        let founders = self.nodes.iter().filter_map(|(id, n)| Some((*id, n.founded?)));
        let storages: BTreeMap<NodeId, StorageId> = founders.collect();
        let unbound = Membership::of(storages.keys().copied());
        let is_first = storages.values().any(|first| *first == storage);
        if self.options.bound && is_first { Membership { storages, ..unbound } } else { unbound }
    }
}

/// Whether there was no room; any other error of a start is none that a full disk excuses.
fn says_full(error: &StorageError) -> bool {
    match error {
        StorageError::Sqlite { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
        StorageError::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
        StorageError::Damaged(_)
        | StorageError::LogLost(_)
        | StorageError::OtherNode { .. }
        | StorageError::Format { .. }
        | StorageError::InUse(_) => false,
    }
}
