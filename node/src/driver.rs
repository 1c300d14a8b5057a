//! The task that owns the replica: it brings inputs and carries out effects, and decides nothing.
//!
//! ```text
//! ticks, peers, requests, finished writes ──> inputs ──> Replica::handle ──> write, send, reply, observe
//! ```
//!
//! Everything that waits is drained before the replica is asked once. While one log write is on its way to the disk,
//! further writes gather and become one transaction: that is all there is to group commit. The state tables are written
//! behind in the same manner, at most four times a second.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use raftdeck_jobs::Changes;
use raftdeck_raft::{Index, LogStart, RoleKind, Term, Write, WriteSeq};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_rusqlite::Connection;
use tracing::info;

use crate::{
    faults::Faults,
    handle::{Ask, Caller, FromPeer, Inbox, Pulse, Request, Steer},
    observe::{Observer, wall_ms},
    replica::{Effects, Input, Refused, Replica, Ticket},
    snapshots::Snapshots,
    storage::{Files, LogStore, StateStore, StorageError},
    transport::Outbox,
};

/// Inputs handled together.
const ROUND_MAX: usize = 1024;

/// Requests that wait while a fault holds the replica.
const ASIDE_MAX: usize = 4096;

/// Pause between two writes of the state tables.
const REMEMBER_EVERY: Duration = Duration::from_millis(250);

/// A node's disk as the driver uses it: two connections, each with its thread.
#[derive(Debug)]
pub struct Disk {
    /// Of `log.db`.
    pub log: Connection,
    /// Used by the log's thread alone.
    pub log_store: Arc<Mutex<LogStore>>,
    /// Of `state.db`.
    pub state: Connection,
    /// Of `state.db`.
    pub state_store: StateStore,
    /// Both, and what else is there.
    pub files: Arc<dyn Files>,
}

type Writing = Pin<Box<dyn Future<Output = Result<WriteSeq, StorageError>> + Send>>;
type Remembering = Pin<Box<dyn Future<Output = Result<Box<Changes>, StorageError>> + Send>>;

impl Disk {
    fn write(&self, writes: Vec<Write>, faults: &Arc<Faults>) -> Writing {
        let (log, store, faults) = (self.log.clone(), Arc::clone(&self.log_store), Arc::clone(faults));
        Box::pin(async move {
            faults.before_log_write().await?;
            log.call(move |conn| store.lock().expect("no holder panics").append(conn, &writes)).await.map_err(flatten)
        })
    }

    fn remember(&self, (changes, start): (Changes, LogStart)) -> Remembering {
        let (state, store, files) = (self.state.clone(), self.state_store.clone(), Arc::clone(&self.files));
        let changes = Box::new(changes);
        Box::pin(async move {
            let writing = state.call(move |conn| store.remember(conn, &*files, &changes, &start).map(|()| changes));
            writing.await.map_err(flatten)
        })
    }
}

/// The storage thread's own end is as fatal as any error of the disk.
pub(crate) fn flatten(error: tokio_rusqlite::Error<StorageError>) -> StorageError {
    match error {
        tokio_rusqlite::Error::Error(error) => error,
        other => StorageError::Damaged(format!("the storage thread ended: {other}")),
    }
}

/// One node's replica at work.
#[derive(Debug)]
pub struct Driver {
    replica: Replica,
    inbox: Inbox,
    disk: Disk,
    outbox: Outbox,
    observer: Arc<Observer>,
    faults: Arc<Faults>,
    tick: Duration,
    /// Callers that wait, by ticket.
    callers: HashMap<Ticket, Caller>,
    /// Those of what was asked beside commands.
    steering: HashMap<Ticket, oneshot::Sender<Result<Index, Refused>>>,
    last_ticket: u64,
    /// Requests that came while a fault held the replica.
    aside: Vec<Request>,
    /// Writes that gather while one is under way.
    gathered: Vec<Write>,
    snapshots: Snapshots,
    /// The tables have everything up to here.
    remembered: Index,
    remembered_at: Instant,
    work: u64,
    known_role: RoleKind,
    /// The entry of the membership that the outbox knows; none before the first round.
    known_membership: Option<(Index, Option<Term>)>,
    /// More than this between two ticks, and the process stood still.
    sleep: Duration,
    ticked_at: Instant,
}

impl Driver {
    /// A driver for a replica whose tables are as of `remembered`. It ticks every `tick`, and a pause of `sleep` between
    /// two ticks is one in which an election may have passed it by.
    #[must_use]
    pub fn new(
        replica: Replica,
        inbox: Inbox,
        disk: Disk,
        outbox: Outbox,
        (observer, faults): (Arc<Observer>, Arc<Faults>),
        (tick, sleep): (Duration, Duration),
        remembered: Index,
    ) -> Driver {
        let snapshots = Snapshots::new(Arc::clone(&disk.files), disk.state.clone(), disk.state_store.clone());
        Driver {
            replica,
            inbox,
            snapshots,
            disk,
            outbox,
            observer,
            faults,
            tick,
            callers: HashMap::new(),
            steering: HashMap::new(),
            last_ticket: 0,
            aside: Vec::new(),
            gathered: Vec::new(),
            remembered,
            remembered_at: Instant::now(),
            work: 0,
            known_role: RoleKind::Follower,
            known_membership: None,
            sleep,
            ticked_at: Instant::now(),
        }
    }

    /// Runs until the disk fails, or until `stop` says so: then with nothing left to remember.
    ///
    /// # Errors
    /// Of the disk. The process must end: what is on the disk is not known any more.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), StorageError> {
        let mut ticks = interval(self.tick);
        // A node that was stopped for a while must hear its peers before it believes that they are silent.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut writing, mut remembering): (Option<Writing>, Option<Remembering>) = (None, None);
        let mut snapshotting = None;
        let mut inputs = Vec::with_capacity(ROUND_MAX);
        inputs.push(Input::Remembered(self.remembered));
        loop {
            if self.faults.holds_replica() && self.stand_still(&mut stop).await {
                self.tick(&mut inputs);
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                written = finished(&mut writing) => {
                    inputs.push(Input::Persisted(written?));
                }
                changes = finished(&mut remembering) => {
                    let changes = changes?;
                    self.replica.remembered(&changes);
                    self.remembered = Index(changes.applied);
                    inputs.push(Input::Remembered(self.remembered));
                }
                done = finished(&mut snapshotting) => {
                    let done = self.snapshots.done(done?);
                    if let Some(Input::SnapshotInstalled(meta, _)) = &done {
                        self.remembered = meta.start.index;
                    }
                    inputs.extend(done);
                }
                _ = ticks.tick() => self.tick(&mut inputs),
                Some(message) = self.inbox.peers.recv() => inputs.push(from_peer(message)),
                Some(request) = self.inbox.requests.recv() => self.take(request, &mut inputs),
            }
            self.drain(&mut inputs);
            if !inputs.is_empty() {
                let (now_ms, wrong_by) = self.faults.job_clock(wall_ms());
                let effects = self.replica.handle(now_ms, inputs.drain(..));
                if let Some(fault) = wrong_by
                    && self.replica.raft().role() == RoleKind::Leader
                {
                    let stamped = effects.write.as_ref().map_or(0, |write| write.entries.len());
                    self.faults.count(fault, |done| done.stamps += stamped as u64);
                }
                self.carry_out(effects);
                if self.replica.has_work_for_parked() {
                    let gone = self.gone();
                    let effects = self.replica.handle(now_ms, [Input::Gone(gone)]);
                    self.carry_out(effects);
                }
            }
            if writing.is_none() && !self.gathered.is_empty() {
                writing = Some(self.disk.write(std::mem::take(&mut self.gathered), &self.faults));
            }
            if snapshotting.is_none() {
                snapshotting = self.snapshots.begin(remembering.is_some());
            }
            let may_remember = remembering.is_none() && !self.snapshots.is_installing();
            if may_remember && self.remembered_at.elapsed() >= REMEMBER_EVERY {
                remembering = self.replica.take_changes(self.remembered).map(|changes| self.disk.remember(changes));
                self.remembered_at = Instant::now();
            }
        }
        // Without an acknowledgement nothing here is owed to anybody; what is in the log will be found there.
        if let Some(writing) = writing {
            writing.await?;
        }
        if let Some(remembering) = remembering {
            remembering.await?;
        }
        if let Some(snapshotting) = snapshotting {
            snapshotting.await?;
        }
        Ok(())
    }

    /// A fault holds the replica: it is as if the process were stopped, but that it can be looked at. Requests wait as they
    /// would in the queue. False if the node is to stop.
    async fn stand_still(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        let mut changed = self.faults.changed();
        while self.faults.holds_replica() {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return false,
                _ = changed.changed() => {}
                Some(request) = self.inbox.requests.recv() => match request {
                    Request::Look(look) => look(&self.replica, self.remembered),
                    later => self.set_aside(later),
                },
            }
        }
        true
    }

    /// Keeps a request until the replica goes on; those for which there is no room are refused.
    fn set_aside(&mut self, request: Request) {
        if self.aside.len() < ASIDE_MAX {
            return self.aside.push(request);
        }
        let refused = || Refused::AskAgain(format!("it stands still by a fault, and {ASIDE_MAX} requests wait for it"));
        match request {
            Request::Do(_, caller) => caller.answer(Err(refused())),
            Request::Steer(_, answer) => drop(answer.send(Err(refused()))), // The caller may have given up.
            Request::Look(look) => look(&self.replica, self.remembered),
        }
    }

    fn tick(&mut self, inputs: &mut Vec<Input>) {
        let now = Instant::now();
        if now - std::mem::replace(&mut self.ticked_at, now) >= self.sleep {
            inputs.push(Input::Slept);
        }
        inputs.push(Input::Tick);
        self.outbox.close_idle();
    }

    /// The outbox reaches exactly who belongs to the group. A truncation may put another entry at the same index.
    fn follow_membership(&mut self) {
        let log = self.replica.raft().log();
        let index = log.membership_index();
        let entry = Some((index, log.term_at(index)));
        if std::mem::replace(&mut self.known_membership, entry) != entry {
            self.outbox.follow(log.membership());
        }
    }

    /// Takes what waits, without waiting for more. A look may take its time, so after one the replica has its turn.
    fn drain(&mut self, inputs: &mut Vec<Input>) {
        for request in std::mem::take(&mut self.aside) {
            self.take(request, inputs);
        }
        while inputs.len() < ROUND_MAX {
            let Ok(message) = self.inbox.peers.try_recv() else { break };
            inputs.push(from_peer(message));
        }
        while inputs.len() < ROUND_MAX {
            let Ok(request) = self.inbox.requests.try_recv() else { break };
            let looked = matches!(request, Request::Look(_));
            self.take(request, inputs);
            if looked {
                break;
            }
        }
    }

    fn take(&mut self, request: Request, inputs: &mut Vec<Input>) {
        match request {
            Request::Do(Ask { op, session, wait }, caller) => {
                let ticket = self.next_ticket();
                self.callers.insert(ticket, caller);
                inputs.push(match wait {
                    None => Input::Request(ticket, op, session),
                    Some(wait) => {
                        let ticks = wait.as_millis().div_ceil(self.tick.as_millis());
                        Input::Wait(ticket, op, session, u64::try_from(ticks).unwrap_or(u64::MAX))
                    }
                });
            }
            Request::Steer(steer, answer) => {
                let ticket = self.next_ticket();
                self.steering.insert(ticket, answer);
                inputs.push(match steer {
                    Steer::Read => Input::Read(ticket),
                    Steer::Transfer(target) => Input::Transfer(ticket, target),
                    Steer::Change(change) => Input::Change(ticket, change),
                    Steer::Compact => Input::Compact(ticket),
                });
            }
            Request::Look(look) => look(&self.replica, self.remembered),
        }
    }

    /// Of those who wait for a job, the ones who do not wait any more: they must not be given one.
    fn gone(&mut self) -> Vec<Ticket> {
        let is_gone = |ticket: &Ticket| self.callers.get(ticket).is_none_or(Caller::is_gone);
        let gone: Vec<Ticket> = self.replica.parked().filter(is_gone).collect();
        for ticket in &gone {
            self.callers.remove(ticket);
        }
        gone
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    fn carry_out(&mut self, effects: Effects) {
        let Effects { write, send, replies, steered, snapshots, events, work } = effects;
        self.gathered.extend(write);
        self.follow_membership();
        self.snapshots.extend(snapshots);
        self.outbox.send(send);
        for (ticket, reply) in replies {
            if let Some(caller) = self.callers.remove(&ticket) {
                caller.answer(reply);
            }
        }
        for (ticket, answer) in steered {
            if let Some(caller) = self.steering.remove(&ticket) {
                let _ = caller.send(answer); // The caller may have given up.
            }
        }
        let (group, tick_ms) = (self.replica.group(), self.tick.as_millis());
        self.observer.happened(group, tick_ms, events);
        self.work += u64::from(work);
        let raft = self.replica.raft();
        let role = raft.role();
        if std::mem::replace(&mut self.known_role, role) != role {
            info!("{} in {}, log ends at {}", role.as_str(), raft.term(), raft.log().last().0);
        }
        let pulse = Pulse {
            applied: self.replica.machine().applied(),
            leads: role == RoleKind::Leader,
            leader: raft.leader(),
            in_touch: raft.in_touch(),
            work: self.work,
        };
        self.inbox.pulse.send_if_modified(|known| std::mem::replace(known, pulse) != pulse);
    }
}

fn from_peer(message: FromPeer) -> Input {
    match message {
        FromPeer::Message(envelope) => Input::Message(envelope),
        FromPeer::LinkLost(peer) => Input::LinkLost(peer),
        FromPeer::Gone(peer) => Input::PeerGone(peer),
    }
}

/// The outcome of what is under way; never, while nothing is.
async fn finished<T>(under_way: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match under_way {
        Some(future) => {
            let outcome = future.as_mut().await;
            *under_way = None;
            outcome
        }
        None => std::future::pending().await,
    }
}
