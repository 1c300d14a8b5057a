//! Faults on purpose: applied inside the node, of a closed set, each with an id, an end, and an account of what it did.
//!
//! This is the register of them. The places where they strike ask it: the transport what becomes of a message, the driver
//! whether it stands still and what time it is, the log's writer whether it may write.
//!
//! | file | idea |
//! |---|---|
//! | `weather` | what becomes of messages on a link with a fault |
//! | `strike` | the questions of the places where faults strike |
//!
//! Laws:
//! - nothing is injected unless the node was started with faults enabled;
//! - the node itself ends a fault when its time is over, whatever became of whoever asked for it;
//! - healing what is not there is no error; the same fault again is the same one with a new end, and another of its kind in
//!   its place takes its place;
//! - what a fault did is counted where it does it, and can still be read when it has ended.

mod strike;
mod weather;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use raftdeck_raft::NodeId;
use raftdeck_shared::{
    faults::{LABEL_MAX, TTL_MAX, check, effect, peer, words},
    wire::{self, FaultEffect, ObservationKind, fault_spec::Fault},
};
pub(crate) use strike::Way;
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;
pub(crate) use weather::Fate;

use self::weather::Chance;
use crate::{
    observe::{Observer, wall_ms},
    transport::AddressBook,
};

/// Life of a fault for which none was given.
pub const TTL_DEFAULT: Duration = Duration::from_secs(60);

/// Faults at a time.
const ACTIVE_MAX: usize = 256;

/// Faults that are over and still told.
const ENDED_MAX: usize = 32;

/// Why a fault was not injected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultError {
    /// The node was started without faults.
    #[error("faults are not enabled on this node (start it with --enable-faults)")]
    NotEnabled,
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    until: Instant,
    label: String,
    /// What it did, but for what stands still now.
    done: FaultEffect,
    still_since: Option<Instant>,
    chance: Chance,
}

impl Active {
    fn effect(&self, now: Instant) -> FaultEffect {
        let mut done = self.done;
        if let Some(since) = self.still_since {
            let ms = millis(now - since);
            done.stalled_ms += ms;
            done.longest_stall_ms = done.longest_stall_ms.max(ms);
        }
        done
    }

    /// Something begins to stand still by it, unless it does already.
    fn holds(&mut self, now: Instant) {
        if self.still_since.is_none() {
            self.still_since = Some(now);
            self.done.stalls += 1;
        }
    }

    /// What stood still goes on.
    fn lets_go(&mut self, now: Instant) {
        self.done = self.effect(now);
        self.still_since = None;
    }

    fn to_wire(&self, id: u64, now: Instant) -> wire::Fault {
        wire::Fault {
            id,
            spec: Some(wire::FaultSpec { fault: Some(self.fault) }),
            left_ms: millis(self.until.saturating_duration_since(now)),
            label: self.label.clone(),
            effect: Some(self.effect(now)),
            ended: String::new(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    active: BTreeMap<u64, Active>,
    /// Oldest first.
    ended: VecDeque<wire::Fault>,
    /// A task ends those whose time is over.
    has_keeper: bool,
}

/// The faults of this node.
#[derive(Debug)]
pub struct Faults {
    enabled: bool,
    node: NodeId,
    book: Arc<AddressBook>,
    observer: Arc<Observer>,
    state: Mutex<State>,
    /// Tells those that wait for the end of one.
    changed: watch::Sender<()>,
}

impl Faults {
    /// None yet, at this node; links can be hurt to those that the book knows.
    #[must_use]
    pub fn new(enabled: bool, node: NodeId, book: Arc<AddressBook>, observer: Arc<Observer>) -> Faults {
        Faults { enabled, node, book, observer, state: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// Whether any may be injected.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Injects a fault. A kill does not return.
    ///
    /// # Errors
    /// See [`FaultError`].
    pub fn inject(self: &Arc<Self>, request: wire::InjectFaultRequest) -> Result<wire::Fault, FaultError> {
        if !self.enabled {
            return Err(FaultError::NotEnabled);
        }
        let wire::InjectFaultRequest { spec, ttl_ms, label } = request;
        let ttl = match Duration::from_millis(ttl_ms) {
            Duration::ZERO => TTL_DEFAULT,
            ttl if ttl > TTL_MAX => {
                let message = format!("time to live is {} ms, the limit is {}", ttl.as_millis(), TTL_MAX.as_millis());
                return Err(FaultError::Invalid(message));
            }
            ttl => ttl,
        };
        if label.len() > LABEL_MAX {
            return Err(FaultError::Invalid(format!("label is {} bytes, the limit is {LABEL_MAX}", label.len())));
        }
        let fault = spec.and_then(|spec| spec.fault).ok_or_else(|| FaultError::Invalid("no fault was named".into()))?;
        check(&fault).map_err(FaultError::Invalid)?;
        if let Some(peer) = peer(&fault).map(NodeId)
            && (peer == self.node || self.book.find(peer).is_none())
        {
            return Err(FaultError::Invalid(format!("{peer} is no peer of this node")));
        }
        if let Fault::Kill(_) = fault {
            warn!("killed by a fault: {label}");
            std::process::abort()
        }
        self.add(fault, Instant::now() + ttl, label)
    }

    fn add(self: &Arc<Self>, fault: Fault, until: Instant, label: String) -> Result<wire::Fault, FaultError> {
        let now = Instant::now();
        let mut state = self.state();
        let (same, others): (Vec<u64>, Vec<u64>) = state
            .active
            .iter()
            .filter(|(_, active)| is_in_place_of(&active.fault, &fault))
            .map(|(id, _)| *id)
            .partition(|id| state.active[id].fault == fault);
        if same.is_empty() && others.is_empty() && state.active.len() == ACTIVE_MAX {
            return Err(FaultError::Invalid(format!("{ACTIVE_MAX} faults are active, which is the limit")));
        }
        let replaced = state.end("replaced", now, |id, _| others.contains(&id));
        let id = match same.first() {
            Some(id) => *id,
            None => {
                state.last_id += 1;
                let (id, chance) = (state.last_id, Chance::new(wall_ms() ^ (state.last_id << 48)));
                let done = FaultEffect::default();
                state.active.insert(id, Active { fault, until, label: String::new(), done, still_since: None, chance });
                id
            }
        };
        let active = state.active.get_mut(&id).expect("it was found or inserted");
        (active.until, active.label) = (until, label);
        let told = active.to_wire(id, now);
        let has_keeper = std::mem::replace(&mut state.has_keeper, true);
        drop(state);
        self.observe(&replaced);
        self.observe(std::slice::from_ref(&told));
        self.changed.send_replace(());
        if !has_keeper {
            tokio::spawn(Arc::clone(self).keep());
        }
        Ok(told)
    }

    /// Ends faults when their time is over. Runs while there are any.
    async fn keep(self: Arc<Self>) {
        let mut changed = self.changed.subscribe();
        loop {
            let next = {
                let mut state = self.state();
                let next = state.active.values().map(|active| active.until).min();
                state.has_keeper = next.is_some();
                next
            };
            let Some(next) = next else { return };
            tokio::select! {
                () = sleep_until(next) => {
                    let now = Instant::now();
                    self.end("ran out", |_, active| active.until <= now);
                }
                _ = changed.changed() => {}
            }
        }
    }

    /// Ends faults: those named, those of the named links, or all if nothing is named.
    pub fn heal(&self, request: &wire::HealFaultsRequest) -> Vec<wire::Fault> {
        let all = request.ids.is_empty() && request.peers.is_empty();
        self.end("healed", |id, active| {
            all || request.ids.contains(&id) || peer(&active.fault).is_some_and(|peer| request.peers.contains(&peer))
        })
    }

    fn end(&self, how: &str, which: impl Fn(u64, &Active) -> bool) -> Vec<wire::Fault> {
        let ended = self.state().end(how, Instant::now(), which);
        if !ended.is_empty() {
            self.observe(&ended);
            self.changed.send_replace(());
        }
        ended
    }

    /// Those in force.
    #[must_use]
    pub fn active(&self) -> Vec<wire::Fault> {
        let now = Instant::now();
        self.state().active.iter().map(|(id, active)| active.to_wire(*id, now)).collect()
    }

    /// The last ones that are over, oldest first.
    #[must_use]
    pub fn ended(&self) -> Vec<wire::Fault> {
        self.state().ended.iter().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn observe(&self, faults: &[wire::Fault]) {
        for told in faults {
            let fault = told.spec.and_then(|spec| spec.fault).expect("every fault here has its spec");
            let over = !told.ended.is_empty();
            let cause = if over { told.ended.clone() } else { words(&fault) };
            let measured = told.effect.filter(|_| over);
            let did = measured.map(|done| format!(", {}", effect(&fault, &done))).unwrap_or_default();
            match peer(&fault) {
                Some(peer) => warn!("fault {}: link to n{peer} {cause}{did}", told.id),
                None => warn!("fault {}: {cause}{did}", told.id),
            }
            self.observer.record([wire::Observation {
                kind: ObservationKind::Fault.into(),
                peer: peer(&fault).unwrap_or_default(),
                fault: told.id,
                cause,
                effect: measured,
                ..Default::default()
            }]);
        }
    }
}

impl State {
    fn end(&mut self, how: &str, now: Instant, which: impl Fn(u64, &Active) -> bool) -> Vec<wire::Fault> {
        let over = self.active.extract_if(.., |id, active| which(*id, active));
        let over: Vec<wire::Fault> = over
            .map(|(id, mut active)| {
                active.lets_go(now);
                wire::Fault { ended: how.to_owned(), ..active.to_wire(id, now) }
            })
            .collect();
        self.ended.extend(over.iter().cloned());
        self.ended.drain(..self.ended.len().saturating_sub(ENDED_MAX));
        over
    }
}

/// Whether two faults cannot be at the same time: of one kind, on one link.
fn is_in_place_of(one: &Fault, other: &Fault) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other) && peer(one) == peer(other)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
