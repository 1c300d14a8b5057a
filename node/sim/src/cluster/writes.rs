//! What disks do in their time: writes of the log, one under way while the next gathers; the tables, behind them; and
//! snapshots. A disk that fails ends its node.

use raftdeck_node::{
    replica::Input,
    storage::{StorageError, snapshot::SNAPSHOT},
};
use raftdeck_raft::{Index, NodeId, SnapshotTask};
use rand::RngExt as _;

use super::{Cluster, Event, Happening, REMEMBER_EVERY_US};
use crate::violation::Violation;

impl Cluster {
    pub(super) fn start_write(&mut self, id: NodeId) {
        let Some(up) = self.nodes.get_mut(&id).and_then(|n| n.up.as_mut()) else { return };
        if up.under_way.is_empty() && !up.gathered.is_empty() {
            up.under_way = std::mem::take(&mut up.gathered);
            let time = self.rng.random_range(self.options.disk_us.clone());
            self.schedule(time, id, Event::DiskDone(id));
        }
    }

    pub(super) fn disk_done(&mut self, id: NodeId, life: u64) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id).filter(|n| n.life == life) else { return Ok(()) };
        let Some(up) = node.up.as_mut() else { return Ok(()) };
        if node.disk_held {
            up.stuck = true;
            return Ok(());
        }
        let p = self.options.crash_truncating;
        if node.disk.truncates(&up.under_way) && self.rng.random_bool(p) {
            self.crash(id);
            return Ok(());
        }
        let writes = std::mem::take(&mut up.under_way);
        match node.disk.write(&writes) {
            Ok(seq) => self.handle(id, vec![Input::Persisted(seq)]),
            Err(error) => {
                self.disk_failed(id, &error);
                Ok(())
            }
        }
    }

    pub(super) fn remember(&mut self, id: NodeId) -> Result<(), Violation> {
        let now = self.now_us;
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let Some(up) = node.up.as_mut().filter(|up| now - up.remembered_at >= REMEMBER_EVERY_US) else { return Ok(()) };
        up.remembered_at = now;
        if node.is_installing {
            return Ok(());
        }
        let Some((changes, start)) = up.replica.take_changes(up.remembered) else { return Ok(()) };
        if let Err(error) = node.disk.remember(&changes, &start) {
            self.tables_failed(id, &error);
            return Ok(());
        }
        up.replica.remembered(&changes);
        up.remembered = Index(changes.applied);
        self.handle(id, vec![Input::Remembered(Index(changes.applied))])
    }

    /// Rot is found: the tables are given up, and with them, if the log was cut, all that they stood for. It is now that the
    /// disk loses it.
    pub(super) fn tables_failed(&mut self, id: NodeId, error: &StorageError) {
        if matches!(error, StorageError::Damaged(_)) {
            self.note_hurt(id, true);
        }
        self.disk_failed(id, error);
    }

    /// The process ends with the cause: nothing is known about its disk any more.
    fn disk_failed(&mut self, id: NodeId, error: &StorageError) {
        self.happened(Happening::DiskFailed(id, error.to_string()));
        self.crash(id);
    }

    /// Snapshot tasks are done one after the other, each in its time.
    pub(super) fn start_task(&mut self, id: NodeId) {
        let time = self.rng.random_range(self.options.disk_us.clone());
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if let Some(task) = node.tasks.front().cloned() {
            node.is_installing |= matches!(task, SnapshotTask::Install(_));
            self.schedule(time, id, Event::Snapshot(id, Box::new(task)));
        }
    }

    pub(super) fn snapshot_done(&mut self, id: NodeId, life: u64, task: SnapshotTask) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id).filter(|n| n.life == life && n.up.is_some()) else { return Ok(()) };
        node.tasks.pop_front();
        node.is_installing = false;
        let answer = match node.disk.snapshot(task) {
            Ok(answer) => answer,
            Err(error) => {
                self.disk_failed(id, &error);
                return Ok(());
            }
        };
        match (&answer, &mut node.up) {
            (Some(Input::SnapshotInstalled(meta, _)), Some(up)) => up.remembered = meta.start.index,
            (Some(Input::SnapshotTaken(Some((_, bytes, _)))), _) => {
                let p = self.options.rot_snapshots;
                // Drawn only where there is rot at all: other runs stay what they are.
                if p > 0.0 && self.rng.random_bool(p) {
                    let byte = usize::try_from(self.rng.random_range(0..*bytes)).expect("a simulated file is short");
                    node.disk.drive().flip(SNAPSHOT, byte, self.rng.random_range(0..8));
                }
            }
            (Some(Input::SnapshotLost(_)), _) => self.snapshots_lost += 1,
            (Some(_) | None, _) => {}
        }
        self.start_task(id);
        self.handle(id, answer.into_iter().collect())
    }
}
