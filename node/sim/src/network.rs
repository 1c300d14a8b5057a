//! The network between simulated nodes: what is sent may be lost, late, doubled, out of order, or come again long after.
//!
//! A message's fate is drawn when it is sent; a cut takes what is on its way when it arrives. Some messages are kept and
//! come again later, after any number of elections and restarts: every node must be able to hear its own past.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::RangeInclusive,
};

use raftdeck_raft::{Body, Envelope, NodeId};
use rand::{RngExt as _, rngs::StdRng};

/// Messages kept to come again.
const KEPT_MAX: usize = 256;

/// An order to campaign may come again so much later.
const ORDER_LATE_US: RangeInclusive<u64> = 100_000..=2_500_000;

/// How messages fare.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Time on the way, microseconds. A wide range puts messages out of order.
    pub delay_us: RangeInclusive<u64>,
    /// Part of the messages that is lost.
    pub loss: f64,
    /// Part that arrives twice.
    pub duplicate: f64,
    /// Part that comes again, seconds later.
    pub replay: f64,
}

impl Weather {
    /// Half a millisecond for everything, and nothing goes wrong.
    #[must_use]
    pub fn calm() -> Weather {
        Weather { delay_us: 500..=500, loss: 0.0, duplicate: 0.0, replay: 0.0 }
    }
}

/// Which messages a cut or a clog stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// All.
    All,
    /// Requests for votes and answers to them.
    Votes,
    /// Appends, their answers and snapshots: a link on which only the small messages pass.
    Entries,
    /// Heartbeats and answers to them.
    Heartbeats,
    /// Orders to campaign.
    Orders,
}

impl Traffic {
    fn of(body: &Body) -> Traffic {
        match body {
            Body::RequestVote { .. } | Body::Vote { .. } => Traffic::Votes,
            Body::Append(_)
            | Body::Appended { .. }
            | Body::Rejected(_)
            | Body::SnapshotOffer(_)
            | Body::SnapshotWanted { .. }
            | Body::SnapshotChunk(_) => Traffic::Entries,
            Body::Heartbeat { .. } | Body::HeartbeatReply { .. } => Traffic::Heartbeats,
            Body::TimeoutNow => Traffic::Orders,
        }
    }
}

/// How what waited on a link arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// In order.
    Once,
    /// In order, and all of it once more.
    Twice,
    /// The last first.
    Backwards,
    /// Not at all.
    Never,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    /// From whom to whom what does not pass.
    cut: BTreeSet<(NodeId, NodeId, Traffic)>,
    /// From whom to whom what waits on the way, and what has come so far.
    clogged: BTreeMap<(NodeId, NodeId), (Traffic, Vec<Envelope>)>,
    kept: VecDeque<Envelope>,
    /// What happened to messages, by kind.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Network {
    pub(crate) fn new(weather: Weather) -> Network {
        Network {
            weather,
            cut: BTreeSet::new(),
            clogged: BTreeMap::new(),
            kept: VecDeque::new(),
            counts: BTreeMap::new(),
        }
    }

    /// When a message that is sent now arrives, after so many microseconds; never, once, or more than once.
    pub(crate) fn fate(&mut self, envelope: &Envelope, rng: &mut StdRng) -> Vec<(u64, Envelope)> {
        let Weather { delay_us, loss, duplicate, replay } = self.weather.clone();
        let mut arrivals = Vec::with_capacity(1);
        if rng.random_bool(loss) {
            self.count("message-lost");
        } else {
            arrivals.push((rng.random_range(delay_us.clone()), envelope.clone()));
            if rng.random_bool(duplicate) {
                self.count("message-doubled");
                arrivals.push((rng.random_range(delay_us.clone()), envelope.clone()));
            }
        }
        if rng.random_bool(replay) {
            if self.kept.len() == KEPT_MAX {
                self.kept.pop_front();
            }
            self.kept.push_back(envelope.clone());
            let old = self.kept[rng.random_range(0..self.kept.len())].clone();
            self.count("message-replayed");
            arrivals.push((rng.random_range(delay_us), old));
        }
        // Among so many heartbeats, an order to campaign would hardly ever be drawn from what is kept.
        if replay > 0.0 && envelope.body == Body::TimeoutNow && rng.random_bool(0.5) {
            self.count("order-replayed");
            arrivals.push((rng.random_range(ORDER_LATE_US), envelope.clone()));
        }
        arrivals
    }

    fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// Whether a message passes that arrives now.
    pub(crate) fn passes(&self, envelope: &Envelope) -> bool {
        let stops = |traffic: Traffic| self.cut.contains(&(envelope.from, envelope.to, traffic));
        !(stops(Traffic::All) || stops(Traffic::of(&envelope.body)))
    }

    /// Whether exactly this is cut.
    pub(crate) fn is_cut(&self, from: NodeId, to: NodeId, traffic: Traffic) -> bool {
        self.cut.contains(&(from, to, traffic))
    }

    /// What is cut on the ways from a node.
    pub(crate) fn cuts(&self, from: NodeId) -> impl Iterator<Item = (NodeId, Traffic)> {
        let here = self.cut.range((from, NodeId(0), Traffic::All)..).take_while(move |(at, _, _)| *at == from);
        here.filter(move |(_, to, _)| *to != from).map(|(_, to, traffic)| (*to, *traffic))
    }

    /// What waits on the ways from a node.
    pub(crate) fn clogs(&self, from: NodeId) -> impl Iterator<Item = (NodeId, Traffic)> {
        self.clogged.iter().filter(move |((at, _), _)| *at == from).map(|((_, to), (traffic, _))| (*to, *traffic))
    }

    /// Nothing of a kind passes from one node to another any more.
    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId, traffic: Traffic) {
        self.cut.insert((from, to, traffic));
    }

    /// What is of a kind waits from now on.
    pub(crate) fn clog(&mut self, from: NodeId, to: NodeId, traffic: Traffic) {
        self.clogged.entry((from, to)).or_insert((traffic, Vec::new())).0 = traffic;
    }

    /// Whether a message has to wait; then it is taken.
    pub(crate) fn hold_up(&mut self, envelope: &Envelope) -> bool {
        match self.clogged.get_mut(&(envelope.from, envelope.to)) {
            Some((traffic, waiting)) if matches!(traffic, Traffic::All) || *traffic == Traffic::of(&envelope.body) => {
                waiting.push(envelope.clone());
                true
            }
            Some(_) | None => false,
        }
    }

    /// What waited.
    pub(crate) fn unclog(&mut self, from: NodeId, to: NodeId) -> Vec<Envelope> {
        self.clogged.remove(&(from, to)).map(|(_, waiting)| waiting).unwrap_or_default()
    }

    /// Everything passes again.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Everything passes again between these.
    pub(crate) fn heal_among(&mut self, nodes: &BTreeSet<NodeId>) {
        self.cut.retain(|(from, to, _)| !(nodes.contains(from) && nodes.contains(to)));
    }
}
