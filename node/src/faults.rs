//! Faults on purpose: applied inside the node, of a closed set, each with an id and an end.
//!
//! Laws:
//! - nothing is injected unless the node was started with faults enabled;
//! - the node itself ends a fault when its time is over, whatever became of whoever asked for it;
//! - healing what is not there is no error, and a cut of the same link is one fault with a new end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use raftdeck_raft::NodeId;
use raftdeck_shared::wire::{self, ObservationKind, fault_spec};
use thiserror::Error;
use tracing::warn;

use crate::{observe::Observer, transport::AddressBook};

/// Longest life of a fault.
pub const TTL_MAX: Duration = Duration::from_secs(600);

/// Life of a fault for which none was given.
pub const TTL_DEFAULT: Duration = Duration::from_secs(60);

/// Faults at a time.
const ACTIVE_MAX: usize = 256;

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
    /// The other end of the link that is cut.
    peer: NodeId,
    until: Instant,
    label: String,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    active: BTreeMap<u64, Active>,
}

/// The faults of this node.
#[derive(Debug)]
pub struct Faults {
    enabled: bool,
    node: NodeId,
    book: Arc<AddressBook>,
    observer: Arc<Observer>,
    state: Mutex<State>,
}

impl Faults {
    /// None yet, at this node; links can be cut to those that the book knows.
    #[must_use]
    pub fn new(enabled: bool, node: NodeId, book: Arc<AddressBook>, observer: Arc<Observer>) -> Faults {
        Faults { enabled, node, book, observer, state: Mutex::default() }
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
        let ttl = match Duration::from_millis(request.ttl_ms) {
            Duration::ZERO => TTL_DEFAULT,
            ttl if ttl > TTL_MAX => {
                let message = format!("time to live is {} ms, the limit is {}", ttl.as_millis(), TTL_MAX.as_millis());
                return Err(FaultError::Invalid(message));
            }
            ttl => ttl,
        };
        match request.spec.and_then(|spec| spec.fault) {
            None => Err(FaultError::Invalid("no fault was named".into())),
            Some(fault_spec::Fault::Kill(_)) => {
                warn!("killed by a fault: {}", request.label);
                std::process::abort()
            }
            Some(fault_spec::Fault::Cut(cut)) => self.cut(NodeId(cut.peer), ttl, request.label),
        }
    }

    fn cut(self: &Arc<Self>, peer: NodeId, ttl: Duration, label: String) -> Result<wire::Fault, FaultError> {
        if peer == self.node || self.book.find(peer).is_none() {
            return Err(FaultError::Invalid(format!("{peer} is no peer of this node")));
        }
        let until = Instant::now() + ttl;
        let mut state = self.state.lock().expect("no holder panics");
        let known = state.active.iter().find(|(_, active)| active.peer == peer).map(|(id, _)| *id);
        if known.is_none() && state.active.len() == ACTIVE_MAX {
            return Err(FaultError::Invalid(format!("{ACTIVE_MAX} faults are active, which is the limit")));
        }
        let id = known.unwrap_or(state.last_id + 1);
        state.last_id = state.last_id.max(id);
        state.active.insert(id, Active { peer, until, label });
        let fault = describe(id, &state.active[&id]);
        drop(state);
        self.observe(&fault, "cut");
        let faults = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(until.into()).await;
            faults.expire();
        });
        Ok(fault)
    }

    /// Ends faults: those named, those of the named links, or all if nothing is named.
    pub fn heal(&self, request: &wire::HealFaultsRequest) -> Vec<wire::Fault> {
        let all = request.ids.is_empty() && request.peers.is_empty();
        self.end("healed", |id, active| all || request.ids.contains(&id) || request.peers.contains(&active.peer.0))
    }

    /// Ends those whose time is over.
    fn expire(&self) {
        let now = Instant::now();
        self.end("ran out", |_, active| active.until <= now);
    }

    fn end(&self, how: &str, which: impl Fn(u64, &Active) -> bool) -> Vec<wire::Fault> {
        let mut state = self.state.lock().expect("no holder panics");
        let ended: Vec<wire::Fault> =
            state.active.iter().filter(|(id, active)| which(**id, active)).map(|(id, a)| describe(*id, a)).collect();
        state.active.retain(|id, active| !which(*id, active));
        drop(state);
        for fault in &ended {
            self.observe(fault, how);
        }
        ended
    }

    /// Whether nothing may pass between this node and a peer.
    #[must_use]
    pub fn is_cut(&self, peer: NodeId) -> bool {
        self.enabled && self.state.lock().expect("no holder panics").active.values().any(|active| active.peer == peer)
    }

    /// Those in force.
    #[must_use]
    pub fn active(&self) -> Vec<wire::Fault> {
        self.state.lock().expect("no holder panics").active.iter().map(|(id, active)| describe(*id, active)).collect()
    }

    fn observe(&self, fault: &wire::Fault, what: &str) {
        let peer = match fault.spec.and_then(|spec| spec.fault) {
            Some(fault_spec::Fault::Cut(cut)) => cut.peer,
            Some(fault_spec::Fault::Kill(_)) | None => 0,
        };
        warn!("fault {}: link to n{peer} {what}", fault.id);
        self.observer.record([wire::Observation {
            kind: ObservationKind::Fault.into(),
            peer,
            fault: fault.id,
            cause: what.to_owned(),
            ..Default::default()
        }]);
    }
}

fn describe(id: u64, active: &Active) -> wire::Fault {
    let left = active.until.saturating_duration_since(Instant::now());
    wire::Fault {
        id,
        spec: Some(wire::FaultSpec { fault: Some(fault_spec::Fault::Cut(wire::CutFault { peer: active.peer.0 })) }),
        left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        label: active.label.clone(),
    }
}
