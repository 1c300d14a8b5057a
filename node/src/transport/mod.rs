//! Messages between nodes: one stream for each ordered pair, on the peer listener.
//!
//! Raft needs no more of a transport than this: messages may be lost, late or doubled, but those that come over one
//! stream come in order (unless a fault of the link holds one back). So nothing is retried or kept here. Each peer has a bounded queue; what does not fit, or finds
//! the link down or cut, is dropped, and the core is told that what was in flight is lost.
//!
//! Nodes come and go while others run. Where they are stands in the [`AddressBook`]; the [`Outbox`] opens a stream to every
//! member, and to whom an answer is owed, and closes those that nobody needs any more.
//!
//! Chunks of snapshots go over a connection of their own, made when there is one to send: a heartbeat behind a megabyte
//! would be late, and a follower that hears no heartbeat asks for votes.

mod address_book;
mod codec;
mod delay_line;
pub mod member;
mod receiver;
mod sender;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

pub use address_book::AddressBook;
pub use codec::{decode, encode, entry_to_wire};
use raftdeck_raft::{Body, Envelope, GroupId, Membership, NodeId};
use raftdeck_shared::wire::{self, LinkState, ObservationKind};
pub use receiver::{Receiver, serve};
use tokio::sync::mpsc;
use tracing::info;

use crate::{faults::Faults, handle::Handle, observe::Observer};

/// Version of the protocol between nodes.
const PROTOCOL: u32 = 1;

/// Largest frame: a whole bulk is one entry.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// Messages that wait for one peer.
const QUEUE_MAX: usize = 4096;

/// A stream to a node that is no member is closed when nothing was sent over it for so long.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Chunks of a snapshot that wait for one peer, which asks for one at a time.
const CHUNKS_MAX: usize = 2;

/// Who this node is to its peers.
#[derive(Clone, Debug)]
pub struct Me {
    /// Of this cluster.
    pub cluster_id: String,
    /// Under this id.
    pub node: NodeId,
    /// With this data directory.
    pub storage_id: String,
    /// Reached there.
    pub address: wire::MemberAddress,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    up: bool,
    heard_at: Option<Instant>,
}

/// What is known of the links.
#[derive(Debug)]
pub struct Links {
    faults: Arc<Faults>,
    observer: Arc<Observer>,
    links: Mutex<BTreeMap<NodeId, Link>>,
}

impl Links {
    /// All down, none heard.
    #[must_use]
    pub fn new(faults: Arc<Faults>, observer: Arc<Observer>) -> Links {
        Links { faults, observer, links: Mutex::default() }
    }

    /// The state of a link as seen from here, and how long ago a message came over it.
    #[must_use]
    pub fn view(&self, peer: NodeId) -> (LinkState, Option<Duration>) {
        let link = self.links.lock().expect("no holder panics").get(&peer).copied().unwrap_or_default();
        let state = match (self.faults.is_cut(peer), link.up) {
            (true, _) => LinkState::Cut,
            (false, true) => LinkState::Up,
            (false, false) => LinkState::Down,
        };
        (state, link.heard_at.map(|at| at.elapsed()))
    }

    fn heard(&self, peer: NodeId) {
        self.links.lock().expect("no holder panics").entry(peer).or_default().heard_at = Some(Instant::now());
    }

    fn set(&self, peer: NodeId, up: bool, why: &str) {
        let mut links = self.links.lock().expect("no holder panics");
        let link = links.entry(peer).or_default();
        if std::mem::replace(&mut link.up, up) == up {
            return;
        }
        drop(links);
        info!("link to {peer} {}", if up { "open" } else { "closed" });
        self.observer.record([wire::Observation {
            kind: ObservationKind::Link.into(),
            peer: peer.0,
            granted: up,
            cause: why.to_owned(),
            ..Default::default()
        }]);
    }
}

/// The ways to one peer. Its senders end when this is dropped.
#[derive(Debug)]
struct Lanes {
    used_at: Instant,
    messages: mpsc::Sender<wire::RaftMessage>,
    chunks: mpsc::Sender<wire::RaftMessage>,
}

/// Sends messages to peers.
#[derive(Debug)]
pub struct Outbox {
    group: GroupId,
    me: Me,
    book: Arc<AddressBook>,
    links: Arc<Links>,
    handle: Handle,
    peers: BTreeMap<NodeId, Lanes>,
    members: BTreeSet<NodeId>,
}

impl Outbox {
    /// Without any stream yet.
    #[must_use]
    pub fn new(group: GroupId, me: Me, book: Arc<AddressBook>, links: Arc<Links>, handle: Handle) -> Outbox {
        Outbox { group, me, book, links, handle, peers: BTreeMap::new(), members: BTreeSet::new() }
    }

    /// Another membership is in force: every member gets a stream.
    pub fn follow(&mut self, membership: &Membership) {
        self.book.follow(membership);
        self.members = membership.members();
        for node in self.members.clone() {
            self.lanes(node);
        }
    }

    /// Closes the streams to nodes that are no members and were sent nothing for a while.
    pub fn close_idle(&mut self) {
        self.peers.retain(|node, lanes| self.members.contains(node) || lanes.used_at.elapsed() < IDLE_MAX);
    }

    /// Hands messages to the senders. Never waits: what a full queue does not take is dropped.
    pub fn send(&mut self, messages: Vec<Envelope>) {
        for message in messages {
            let group = self.group;
            if let Some(lanes) = self.lanes(message.to) {
                lanes.used_at = Instant::now();
                let is_chunk = matches!(message.body, Body::SnapshotChunk(_));
                let queue = if is_chunk { &lanes.chunks } else { &lanes.messages };
                // A full queue is a peer that does not read: to Raft, a lost message like any other.
                let _ = queue.try_send(encode(group, message));
            }
        }
    }

    /// The ways to a peer; none if nobody knows where it is.
    fn lanes(&mut self, to: NodeId) -> Option<&mut Lanes> {
        let Outbox { me, book, links, handle, peers, .. } = self;
        match peers.entry(to) {
            Entry::Occupied(lanes) => Some(lanes.into_mut()),
            Entry::Vacant(place) => {
                if to == me.node || book.find(to).is_none() {
                    return None;
                }
                let peer = || (to, Arc::clone(book));
                let (messages, waiting) = mpsc::channel(QUEUE_MAX);
                tokio::spawn(sender::run(me.clone(), peer(), Arc::clone(links), handle.clone(), waiting));
                let (chunks, waiting) = mpsc::channel(CHUNKS_MAX);
                tokio::spawn(sender::run_chunks(me.clone(), peer(), Arc::clone(links), waiting));
                Some(place.insert(Lanes { used_at: Instant::now(), messages, chunks }))
            }
        }
    }
}
