//! The questions of the places where faults strike. Each counts what its answer does.
//!
//! A node without faults enabled answers all of them without a look.

use std::time::Duration;

use raftdeck_raft::NodeId;
use raftdeck_shared::wire::{FaultEffect, fault_spec::Fault};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Active, Fate, Faults};
use crate::storage::StorageError;

/// On a link, as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the peer.
    Out,
    /// From it.
    In,
}

fn cuts(fault: &Fault, way: Way, peer: NodeId) -> bool {
    match (fault, way) {
        (Fault::Cut(cut), Way::Out | Way::In) => cut.peer == peer.0,
        (Fault::OneWayCut(cut), Way::Out) => cut.peer == peer.0,
        (
            Fault::OneWayCut(_)
            | Fault::Kill(_)
            | Fault::Link(_)
            | Fault::Pause(_)
            | Fault::DiskStall(_)
            | Fault::DiskFull(_)
            | Fault::FailedFsync(_)
            | Fault::Clock(_),
            Way::Out | Way::In,
        ) => false,
    }
}

impl Faults {
    /// Changes whenever a fault begins or ends.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether nothing may pass to a peer.
    #[must_use]
    pub fn is_cut(&self, peer: NodeId) -> bool {
        self.enabled && self.state().active.values().any(|active| cuts(&active.fault, Way::Out, peer))
    }

    /// Whether these messages are stopped by a cut.
    pub(crate) fn stops(&self, way: Way, peer: NodeId, messages: usize) -> bool {
        let cut = self.with(|_, active| {
            let cut = cuts(&active.fault, way, peer);
            active.done.dropped += if cut { messages as u64 } else { 0 };
            cut.then_some(())
        });
        cut.is_some()
    }

    /// What becomes of messages to a peer, and by which fault; nothing, if there is none on the link.
    pub(crate) fn fates(&self, peer: NodeId, messages: usize) -> Option<(u64, Vec<Fate>)> {
        self.with(|id, active| {
            let Fault::Link(link) = active.fault else { return None };
            if link.peer != peer.0 {
                return None;
            }
            let fates: Vec<Fate> = (0..messages).map(|_| active.chance.fate(&link)).collect();
            active.done.messages += messages as u64;
            for fate in &fates {
                match fate {
                    Fate::Lost => active.done.dropped += 1,
                    Fate::Passes { delay: _, held_back, doubled } => {
                        active.done.duplicated += u64::from(*doubled);
                        active.done.reordered += u64::from(!held_back.is_zero());
                    }
                }
            }
            Some((id, fates))
        })
    }

    /// Whether messages to a peer meet a fault of the link beside cuts.
    pub(crate) fn has_weather(&self, peer: NodeId) -> bool {
        let weather = |active: &mut Active| matches!(active.fault, Fault::Link(link) if link.peer == peer.0);
        self.with(|_, active| weather(active).then_some(())).is_some()
    }

    /// Counts what a fault did after it was asked: it may have ended meanwhile.
    pub(crate) fn count(&self, id: u64, count: impl FnOnce(&mut FaultEffect)) {
        let mut state = self.state();
        if let Some(active) = state.active.get_mut(&id) {
            count(&mut active.done);
        } else if let Some(ended) = state.ended.iter_mut().find(|ended| ended.id == id) {
            count(ended.effect.get_or_insert_default());
        }
    }

    /// Whether the replica stands still. From the first time it is asked, that is measured.
    pub(crate) fn holds_replica(&self) -> bool {
        let now = Instant::now();
        let paused = self.with(|_, active| matches!(active.fault, Fault::Pause(_)).then(|| active.holds(now)));
        paused.is_some()
    }

    /// A write of the log is about to begin: waits as long as it has to.
    ///
    /// # Errors
    /// The write fails, as if the disk had said so.
    pub(crate) async fn before_log_write(&self) -> Result<(), StorageError> {
        let began = Instant::now();
        let mut changed = self.changed();
        while let Some(until) = self.holds_write(began) {
            tokio::select! {
                () = sleep_until(until) => {}
                _ = changed.changed() => {}
            }
        }
        let refusal = self.with(|id, active| match active.fault {
            Fault::DiskFull(_) => Some(StorageError::as_if_full(id)),
            Fault::FailedFsync(_) => Some(StorageError::as_if_unsynced(id)),
            Fault::Kill(_)
            | Fault::Cut(_)
            | Fault::OneWayCut(_)
            | Fault::Link(_)
            | Fault::Pause(_)
            | Fault::DiskStall(_)
            | Fault::Clock(_) => None,
        });
        refusal.map_or(Ok(()), Err)
    }

    /// Until when a write that began then has to wait.
    fn holds_write(&self, began: Instant) -> Option<Instant> {
        let now = Instant::now();
        self.with(|_, active| {
            let Fault::DiskStall(stall) = active.fault else { return None };
            let until = began + Duration::from_millis(stall.write_ms.into());
            if now < until {
                active.holds(now);
                return Some(until);
            }
            active.lets_go(now);
            None
        })
    }

    /// The clock that jobs are stamped with, and the fault that made it wrong.
    pub(crate) fn job_clock(&self, wall_ms: u64) -> (u64, Option<u64>) {
        let wrong = self.with(|id, active| match active.fault {
            Fault::Clock(clock) => Some((wall_ms.saturating_add_signed(clock.offset_ms), Some(id))),
            Fault::Kill(_)
            | Fault::Cut(_)
            | Fault::OneWayCut(_)
            | Fault::Link(_)
            | Fault::Pause(_)
            | Fault::DiskStall(_)
            | Fault::DiskFull(_)
            | Fault::FailedFsync(_) => None,
        });
        wrong.unwrap_or((wall_ms, None))
    }

    /// The first answer that an active fault gives.
    fn with<T>(&self, mut ask: impl FnMut(u64, &mut Active) -> Option<T>) -> Option<T> {
        if !self.enabled {
            return None;
        }
        self.state().active.iter_mut().find_map(|(id, active)| ask(*id, active))
    }
}
