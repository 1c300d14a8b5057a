//! The way to the replica for everybody else in the process.
//!
//! Peers' messages and clients' requests come over queues of their own, both bounded: a flood of requests fills its queue
//! and is refused there, and delays no heartbeat. What others wait for (an index applied, work, a leader) is published as
//! a [`Pulse`], so that nobody has to ask again and again.

use std::time::Duration;

use raftdeck_jobs::{Op, SessionCall};
use raftdeck_raft::{Envelope, Index, NodeId};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    replica::{Applied, Refused, Replica},
    steering::Change,
};

/// Requests that wait for the replica; more are refused.
const REQUESTS_MAX: usize = 4096;

/// Peers' messages that wait for the replica; their streams wait with them.
const MESSAGES_MAX: usize = 1024;

/// A look at the replica, and at the index up to which its tables are written.
pub(crate) type Look = Box<dyn FnOnce(&Replica, Index) + Send>;

/// What a client or a service of this node wants.
pub(crate) enum Request {
    Do(Ask, Caller),
    Steer(Steer, oneshot::Sender<Result<Index, Refused>>),
    Look(Look),
}

/// Something to be done.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What.
    pub op: Op,
    /// As which call of a session.
    pub session: Option<SessionCall>,
    /// A claim that gets nothing waits so long for a job.
    pub wait: Option<Duration>,
}

/// What becomes of it.
pub type Outcome = Result<Applied, Refused>;

/// Where an outcome goes.
#[derive(Debug)]
pub(crate) enum Caller {
    One(oneshot::Sender<Outcome>),
    /// Of many, under its number.
    Stream(u64, mpsc::Sender<(u64, Outcome)>),
}

impl Caller {
    /// To a caller who has given up, or takes no more, nothing is said.
    pub(crate) fn answer(self, outcome: Outcome) {
        match self {
            Caller::One(caller) => drop(caller.send(outcome)),
            Caller::Stream(number, callers) => drop(callers.try_send((number, outcome))),
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Caller::One(caller) => caller.is_closed(),
            Caller::Stream(_, callers) => callers.is_closed(),
        }
    }
}

/// What is asked of the replica beside commands.
#[derive(Clone, Debug)]
pub enum Steer {
    /// The applied index from which on a read may be answered.
    Read,
    /// Hand leadership over.
    Transfer(NodeId),
    /// Change the membership.
    Change(Change),
    /// Cut the log as far as it can be.
    Compact,
}

/// What the transport brings.
#[derive(Debug)]
pub(crate) enum FromPeer {
    Message(Envelope),
    LinkLost(NodeId),
    Gone(NodeId),
}

/// What others wait for, as of the last round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// The newest applied index.
    pub applied: u64,
    /// This node leads.
    pub leads: bool,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// This node hears its leader, or as leader a majority: what it has applied is not far behind.
    pub in_touch: bool,
    /// Changes whenever jobs may have become available.
    pub work: u64,
}

/// Why a request has no answer.
#[derive(Clone, Debug, Error)]
pub enum RequestError {
    /// It was not done.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It was not even looked at.
    #[error("more than {REQUESTS_MAX} requests wait")]
    QueueFull,
    /// The node stops: nobody can say.
    #[error("the node is stopping")]
    Stopping,
}

/// Reaches the replica's task.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    peers: mpsc::Sender<FromPeer>,
    pulse: watch::Receiver<Pulse>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Request::Do(ask, _) => f.debug_tuple("Do").field(ask).finish(),
            Request::Steer(steer, _) => f.debug_tuple("Steer").field(steer).finish(),
            Request::Look(_) => f.write_str("Look"),
        }
    }
}

impl Handle {
    /// Has something done, as a call of a session once, and waits until it is applied here. Without bound: the caller has
    /// the deadline. Who stops waiting for the answer to a claim gets no job.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(&self, ask: Ask) -> Result<Applied, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Do(ask, Caller::One(answer)))?;
        answered.await.map_err(|_| RequestError::Stopping)?.map_err(RequestError::Refused)
    }

    /// As [`Handle::request`], for many at once: their outcomes come one by one, each with its number, as long as `to` has
    /// room for them.
    ///
    /// # Errors
    /// None of them was looked at.
    pub fn request_all(&self, asks: Vec<(u64, Ask)>, to: &mpsc::Sender<(u64, Outcome)>) -> Result<(), RequestError> {
        let places = self.requests.try_reserve_many(asks.len()).map_err(|e| match e {
            mpsc::error::TrySendError::Full(()) => RequestError::QueueFull,
            mpsc::error::TrySendError::Closed(()) => RequestError::Stopping,
        })?;
        for (place, (number, ask)) in places.zip(asks) {
            place.send(Request::Do(ask, Caller::Stream(number, to.clone())));
        }
        Ok(())
    }

    /// Asks for something beside commands, and waits for the answer: the index that it is as of. Without bound: the caller
    /// has the deadline.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn steer(&self, steer: Steer) -> Result<Index, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Steer(steer, answer))?;
        answered.await.map_err(|_| RequestError::Stopping)?.map_err(RequestError::Refused)
    }

    fn ask(&self, request: Request) -> Result<(), RequestError> {
        self.requests.try_send(request).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => RequestError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => RequestError::Stopping,
        })
    }

    /// Looks at the replica, and at the index up to which its tables are written.
    ///
    /// # Errors
    /// The node stops.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Replica, Index) -> T + Send + 'static,
    ) -> Result<T, RequestError> {
        let (answer, answered) = oneshot::channel();
        let look: Look = Box::new(move |replica, remembered| {
            let _ = answer.send(look(replica, remembered)); // The caller may have given up.
        });
        self.requests.send(Request::Look(look)).await.map_err(|_| RequestError::Stopping)?;
        answered.await.map_err(|_| RequestError::Stopping)
    }

    /// Hands over a peer's message; waits while the replica has too many.
    pub async fn deliver(&self, message: Envelope) {
        let _ = self.peers.send(FromPeer::Message(message)).await; // Fails only when the node stops.
    }

    /// Tells that what was on its way to a peer is lost.
    pub async fn link_lost(&self, peer: NodeId) {
        let _ = self.peers.send(FromPeer::LinkLost(peer)).await; // As above.
    }

    /// As [`Handle::link_lost`]: the peer, or its host, has closed the connection.
    pub async fn peer_gone(&self, peer: NodeId) {
        let _ = self.peers.send(FromPeer::Gone(peer)).await; // As above.
    }

    /// What others wait for.
    #[must_use]
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.clone()
    }
}

/// The other ends of a [`Handle`].
#[derive(Debug)]
pub struct Inbox {
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) peers: mpsc::Receiver<FromPeer>,
    pub(crate) pulse: watch::Sender<Pulse>,
}

/// A handle, and what the driver needs to serve it.
#[must_use]
pub fn channel() -> (Handle, Inbox) {
    let (requests, requests_inbox) = mpsc::channel(REQUESTS_MAX);
    let (peers, peers_inbox) = mpsc::channel(MESSAGES_MAX);
    let (pulse, pulse_outbox) = watch::channel(Pulse::default());
    let handle = Handle { requests, peers, pulse: pulse_outbox };
    (handle, Inbox { requests: requests_inbox, peers: peers_inbox, pulse })
}
