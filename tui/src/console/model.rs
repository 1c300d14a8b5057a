//! All that the console knows: one value, changed in one place (`update`), drawn without being changed (`view`).
//!
//! A node that is gone keeps its last word, marked with its age: the console never forgets what was true because it can
//! no longer ask.

use std::collections::{BTreeMap, BTreeSet};

use raftdeck_shared::ids::{Index, NodeId};

use super::{
    checks::Checks,
    events::Events,
    field::Field,
    msg::{ActId, Slot, Time},
    pace::Pace,
    reign::Reign,
    status::{FaultKind, Status},
    theme::{Skin, Tone},
    votes::Votes,
};

/// How long a toast stays.
const TOAST_MS: u64 = 6_000;

/// How long one that reports a failure stays.
const TOAST_BAD_MS: u64 = 12_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conn {
    Connecting,
    Live,
    Retrying {
        at_run_ms: u64,
        why: String,
    },
    /// It answers, but as a member of another cluster.
    Foreign(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// From the cluster file, or from its first word.
    pub(crate) id: Option<NodeId>,
    pub(crate) name: String,
    pub(crate) api: String,
    pub(crate) conn: Conn,
    /// It could not be reached since it was last live, or ever.
    pub(crate) failed: bool,
    /// Its last word, and when it came.
    pub(crate) status: Option<(Status, Time)>,
    /// Newest observation taken, of the boot in `status`.
    pub(crate) seen_seq: u64,
    /// Observations of it that never came.
    pub(crate) dropped: u64,
}

impl Node {
    pub(crate) fn live(&self) -> bool {
        self.conn == Conn::Live
    }

    pub(crate) fn word(&self) -> Option<&Status> {
        self.status.as_ref().map(|(status, _)| status)
    }

    /// How old its last word is. Nothing for a live node: what it said is what is.
    pub(crate) fn age_ms(&self, now: Time) -> u64 {
        match (&self.conn, &self.status) {
            (Conn::Live, _) | (_, None) => 0,
            (_, Some((_, at))) => now.run_ms.saturating_sub(at.run_ms),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pane {
    #[default]
    Nodes,
    Logs,
    Links,
    Events,
}

impl Pane {
    pub(crate) const ALL: [Pane; 4] = [Pane::Nodes, Pane::Logs, Pane::Links, Pane::Events];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Pane::Nodes => "Nodes [1]",
            Pane::Logs => "Logs [2]",
            Pane::Links => "Links [3]",
            Pane::Events => "Events [4]",
        }
    }
}

/// Which button of a dialog would be pressed by Enter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Button {
    #[default]
    Cancel,
    Go,
}

/// What is about to be done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Kill(Slot),
    /// All links between these nodes and the others.
    Cut {
        side: BTreeSet<Slot>,
        ttl: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) act: Act,
    pub(crate) button: Button,
    /// The phrase that is asked for when the quorum would be lost.
    pub(crate) typed: Field,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// Handler, payload, queue.
    pub(crate) fields: [Field; 3],
    pub(crate) at: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dialog {
    /// Scrolled by so many lines.
    Help(usize),
    Confirm(Box<Confirm>),
    Submit(Form),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toast {
    pub(crate) tone: Tone,
    pub(crate) text: String,
    pub(crate) until_run_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) now: Time,
    /// Empty until the first node has said it.
    pub(crate) cluster_id: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) events: Events,
    pub(crate) checks: Checks,
    pub(crate) votes: Votes,

    pub(crate) focus: Pane,
    /// The focused pane has the whole screen.
    pub(crate) zoom: bool,
    pub(crate) cursor: usize,
    pub(crate) marked: BTreeSet<Slot>,
    /// Newest index shown; none: follows the log.
    pub(crate) log_held: Option<Index>,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) toast: Option<Toast>,

    acts: u64,
    /// Acts under way, in words.
    pub(crate) pending: BTreeMap<u64, String>,
    pub(crate) reign: Reign,
    pub(crate) pace: Pace,

    pub(crate) handlers: Vec<String>,
    pub(crate) read_only: bool,
    pub(crate) can_restart: bool,
    pub(crate) skin: Skin,
}

impl Model {
    pub(crate) fn new(cluster_id: String, nodes: Vec<Node>, skin: Skin) -> Model {
        Model {
            now: Time::default(),
            cluster_id,
            nodes,
            events: Events::default(),
            checks: Checks::default(),
            votes: Votes::default(),
            focus: Pane::default(),
            zoom: false,
            cursor: 0,
            marked: BTreeSet::new(),
            log_held: None,
            dialog: None,
            toast: None,
            acts: 0,
            pending: BTreeMap::new(),
            reign: Reign::default(),
            pace: Pace::default(),
            handlers: Vec::new(),
            read_only: false,
            can_restart: false,
            skin,
        }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (Slot, &Node)> {
        self.nodes.iter().enumerate().map(|(at, node)| (Slot(at), node))
    }

    pub(crate) fn node(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(slot.0)
    }

    pub(crate) fn by_id(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|n| n.id == Some(id))
    }

    /// A node's name; its number where the name is not known.
    pub(crate) fn name(&self, id: NodeId) -> String {
        self.by_id(id).map_or_else(|| id.to_string(), |n| n.name.clone())
    }

    pub(crate) fn names<'a>(&self, ids: impl IntoIterator<Item = &'a NodeId>, between: &str) -> String {
        ids.into_iter().map(|id| self.name(*id)).collect::<Vec<_>>().join(between)
    }

    pub(crate) fn live(&self) -> usize {
        self.nodes.iter().filter(|n| n.live()).count()
    }

    /// Faults in force, as their nodes tell: links cut, whether at one end or at both, and all else.
    pub(crate) fn faults(&self) -> (usize, usize) {
        let mut links = BTreeSet::new();
        let mut others = 0;
        for status in self.nodes.iter().filter(|n| n.live()).filter_map(Node::word) {
            for fault in &status.faults {
                match fault.kind {
                    FaultKind::Cut(peer) => drop(links.insert((status.id.min(peer), status.id.max(peer)))),
                    FaultKind::Kill | FaultKind::Unknown => others += 1,
                }
            }
        }
        (links.len(), others)
    }

    /// The newest index any node has.
    pub(crate) fn last_index(&self) -> Index {
        self.nodes.iter().filter_map(Node::word).map(|s| s.last).max().unwrap_or_default()
    }

    /// Something on the screen changes without news: a countdown, an age, a toast that will go.
    pub(crate) fn ages(&self) -> bool {
        self.toast.is_some()
            || self.reign.lost.is_some()
            || self.faults() != (0, 0)
            || self.live() < self.nodes.len()
            || self.pace.jobs_per_s(self.now.run_ms) > Some(0)
    }

    pub(crate) fn say(&mut self, tone: Tone, text: impl Into<String>) {
        let stays_ms = if tone == Tone::Bad { TOAST_BAD_MS } else { TOAST_MS };
        self.toast = Some(Toast { tone, text: text.into(), until_run_ms: self.now.run_ms.saturating_add(stays_ms) });
    }

    /// Starts to keep account of an act.
    pub(crate) fn begin(&mut self, what: String) -> ActId {
        self.acts += 1;
        self.pending.insert(self.acts, what);
        ActId(self.acts)
    }
}
