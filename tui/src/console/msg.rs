//! The vocabulary: everything that can happen to the console, and everything it can ask for.
//!
//! Time is part of what happened. So a list of messages is a whole session: fed again, it makes the same screens.

use std::{collections::BTreeMap, sync::Arc};

use crossterm::event::KeyEvent;
use raftdeck_shared::{
    ids::NodeId,
    wire::{self, fault_spec::Fault},
};

use super::{
    hands::{Steering, Upkeep},
    jobs::{Job, Page},
    simulation::Stretch,
    status::Status,
};

/// In place of a time or a length: of what does not come by itself.
pub(crate) const NEVER: u64 = u64::MAX;

/// When something happened: since the console started (for ageing) and as unix time (for showing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) run_ms: u64,
    pub(crate) unix_ms: u64,
}

/// A node's place in the list the console was started with. Ids may not be known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) usize);

/// Numbers the acts of one console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ActId(pub(crate) u64);

/// Something happened.
#[derive(Clone, Debug)]
pub(crate) struct Msg {
    pub(crate) at: Time,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Key(KeyEvent),
    Paste(String),
    /// Lines that the mouse wheel asks for, up if negative.
    Wheel(isize),
    /// The terminal is so many columns wide and rows high now.
    Resize(u16, u16),
    Node(Slot, NodeMsg),
    /// An act has ended, with one line to show.
    Done(ActId, Result<String, String>),
    /// A page of jobs, or why there is none.
    Jobs(Result<Arc<Page>, String>),
    Job(Result<Arc<Job>, String>),
    /// The last lines of a node's log.
    Log(Slot, Result<Vec<String>, String>),
    /// What the console itself did has ended, with one line to show.
    Told(Result<String, String>),
    /// Something on the screen ages.
    Tick,
    /// A simulation has gone on.
    Stretch(Box<Stretch>),
}

/// News of one node. What is large is shared with the history.
#[derive(Clone, Debug)]
pub(crate) enum NodeMsg {
    Connecting,
    /// A stream is open; this is the first word on it.
    Snapshot(Arc<Status>),
    Status(Arc<Status>),
    Observed(Arc<wire::Observation>),
    /// Observations that will not come: lost at the node because this console was slow, or here.
    Dropped(u64),
    /// Nothing has come over its open stream since this time of the run, though something should have.
    Silent {
        since_run_ms: u64,
    },
    /// Something comes again.
    Heard,
    /// The connection is gone; the next try is at this time since the start, or [`NEVER`].
    Retrying {
        at_run_ms: u64,
        why: String,
    },
}

/// Something to be done outside of the model. Everything with an [`ActId`] answers with [`Body::Done`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cmd {
    Quit,
    /// Give the terminal back and stop, as Ctrl-Z does elsewhere.
    Suspend,
    /// Paint everything anew.
    Repaint,
    /// Write the screen to files.
    Dump,
    /// To the clipboard.
    Copy(String),
    /// Take the mouse, or give it back.
    Mouse(bool),
    /// Begin to record to a file, or end it.
    Record(bool),
    /// Watch a node at this address, in place of any other.
    Reach {
        slot: Slot,
        api: String,
    },
    Kill {
        act: ActId,
        slot: Slot,
    },
    /// Faults, each at the node that is to have it.
    Strike {
        act: ActId,
        faults: Vec<(Slot, Fault)>,
        ttl_ms: u64,
    },
    /// End faults: at each of these nodes those of these ids, or all.
    Heal {
        act: ActId,
        at: BTreeMap<Slot, Vec<u64>>,
    },
    /// What only the leader decides.
    Steer {
        act: ActId,
        steering: Steering,
    },
    /// Where the process of a node runs.
    Upkeep {
        act: ActId,
        node: NodeId,
        what: Upkeep,
    },
    Submit {
        act: ActId,
        job: wire::NewJob,
    },
    CancelJobs {
        act: ActId,
        ids: Vec<u64>,
    },
    RetryJobs {
        act: ActId,
        ids: Vec<u64>,
    },
    PauseQueue {
        act: ActId,
        queue: String,
        paused: bool,
    },
    /// The newest jobs; answers with [`Body::Jobs`].
    List,
    /// One job; answers with [`Body::Job`].
    Get(u64),
    /// Answers with [`Body::Log`].
    ReadLog {
        slot: Slot,
        id: NodeId,
    },
}
