//! All that the console holds: what the nodes said, now and then (`live`, `film`), and how the operator looks at it. One
//! value, changed in one place (`update`), drawn without being changed (`view`).
//!
//! What is drawn is [`Model::shown`]: the present, or the moment of the past that was gone to. What is done is done to the
//! present, always.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use raftdeck_shared::ids::Index;

use super::{
    browse::{self, Browse},
    deed::Deed,
    events::Reading,
    field::Field,
    film::{Film, Record},
    filter::Filter,
    form::Form,
    keymap::Keymap,
    keys::Place,
    msg::{ActId, Slot, Time},
    order::Order,
    palette::Palette,
    past::Past,
    run::{Goal, Run},
    theme::{Skin, Tone},
    view,
    world::{Fact, World},
};

/// Time between two frames while time is played.
pub(crate) const FRAME: Duration = Duration::from_millis(33);

/// News of nodes are taken and drawn so often. No eye follows what changes faster, and what is the newest is seen as soon as
/// it would be otherwise: the first news after a rest wait for nothing.
pub(crate) const NEWS_EVERY: Duration = Duration::from_millis(50);

/// How often the screen is drawn while something on it is counted by the tenth of a second, and by the second.
const AGES: Duration = Duration::from_millis(250);
const AGES_SLOWLY: Duration = Duration::from_secs(1);

/// How long a toast stays.
const TOAST_MS: u64 = 6_000;

/// How long one that reports a failure stays.
const TOAST_BAD_MS: u64 = 12_000;

/// What fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum View {
    #[default]
    Cluster,
    Messages,
    Election,
    Jobs,
    Queues,
    Log,
    Faults,
    /// One job; opened out of the list.
    Job,
}

impl View {
    /// Those with a key, in the order of the keys.
    pub(crate) const ALL: [View; 7] =
        [View::Cluster, View::Messages, View::Election, View::Jobs, View::Queues, View::Log, View::Faults];

    pub(crate) fn name(self) -> &'static str {
        match self {
            View::Cluster => "cluster",
            View::Messages => "messages",
            View::Election => "election",
            View::Jobs => "jobs",
            View::Queues => "queues",
            View::Log => "log",
            View::Faults => "faults",
            View::Job => "job",
        }
    }
}

/// A part of the cluster view.
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
            Pane::Nodes => "Nodes",
            Pane::Logs => "Logs",
            Pane::Links => "Links",
            Pane::Events => "Events",
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
    /// Jobs, by their ids.
    Cancel(Vec<u64>),
    /// What was said in words of the command line.
    Said(Deed),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) act: Act,
    pub(crate) button: Button,
    /// The phrase that is asked for when the quorum would be lost.
    pub(crate) typed: Field,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dialog {
    Palette(Palette),
    /// The filter of the view, as it is being typed.
    Filter(Field),
    Confirm(Box<Confirm>),
    Form(Form),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toast {
    pub(crate) tone: Tone,
    pub(crate) text: String,
    pub(crate) until_run_ms: u64,
}

/// Where the facts come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Nodes that run.
    Cluster,
    /// A file.
    Recording,
    /// A simulation, which goes as far as it is asked to.
    Simulation(Box<Run>),
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// Of the console, whatever moment is shown.
    pub(crate) now: Time,
    pub(crate) live: World,
    pub(crate) film: Film,
    pub(crate) past: Option<Past>,
    pub(crate) source: Source,

    pub(crate) view: View,
    pub(crate) focus: Pane,
    /// The focused pane has the whole screen.
    pub(crate) zoom: bool,
    /// The node that is meant.
    pub(crate) cursor: usize,
    /// The nodes that the next act is about; gone when it has begun, with esc, and when their view is left.
    pub(crate) marked: BTreeSet<Slot>,
    pub(crate) order: Order,
    pub(crate) browse: Browse,
    /// Newest index shown; none: follows the log.
    pub(crate) log_held: Option<Index>,
    /// Every observation instead of the story.
    pub(crate) every: bool,
    pub(crate) reading: Reading,
    pub(crate) filters: BTreeMap<View, Filter>,
    pub(crate) dialog: Option<Dialog>,
    /// The terminal is too small for what keys are about: none but those that leave are taken.
    cramped: bool,
    pub(crate) toast: Option<Toast>,
    /// Told one after the other when the one before has gone.
    pub(crate) to_say: Vec<String>,

    acts: u64,
    /// Acts under way, in words.
    pub(crate) pending: BTreeMap<u64, String>,
    /// The last act, as the command line would do it.
    pub(crate) same_as: String,
    /// The file that is recorded to.
    pub(crate) recording: Option<String>,

    pub(crate) handlers: Vec<String>,
    pub(crate) read_only: bool,
    pub(crate) can_restart: bool,
    pub(crate) mouse: bool,
    pub(crate) keys: Keymap,
    pub(crate) skin: Skin,
}

impl Model {
    pub(crate) fn new(cluster_id: String, skin: Skin) -> Model {
        let live = World::new(cluster_id);
        Model {
            now: Time::default(),
            film: Film::of_live(live.clone()),
            live,
            past: None,
            source: Source::Cluster,
            view: View::default(),
            focus: Pane::default(),
            zoom: false,
            cursor: 0,
            marked: BTreeSet::new(),
            order: Order::default(),
            browse: Browse::default(),
            log_held: None,
            every: false,
            reading: Reading::default(),
            filters: BTreeMap::new(),
            dialog: None,
            cramped: false,
            toast: None,
            to_say: Vec::new(),
            acts: 0,
            pending: BTreeMap::new(),
            same_as: String::new(),
            recording: None,
            handlers: Vec::new(),
            read_only: false,
            can_restart: false,
            mouse: false,
            keys: Keymap::default(),
            skin,
        }
    }

    /// The world that is drawn.
    pub(crate) fn shown(&self) -> &World {
        self.past.as_ref().map_or(&self.live, |past| &past.world)
    }

    /// Something happened in the world.
    pub(crate) fn tell(&mut self, fact: Fact) {
        self.learn(Record { at: self.now, fact });
    }

    /// Something happened in the world, at a time of its own.
    pub(crate) fn learn(&mut self, record: Record) {
        self.live.take(record.at, &record.fact);
        let position = self.film.push(record, &self.live);
        if let Some(past) = &mut self.past {
            past.learn(&self.film, position);
        }
    }

    /// The terminal has this size now. One that has grown counts when it was drawn on: until then nobody has seen what a
    /// key would be about.
    pub(crate) fn resized(&mut self, columns: u16, rows: u16) {
        self.cramped |= view::is_too_small(columns, rows);
    }

    /// A frame of this size is on the screen.
    pub(crate) fn drawn(&mut self, columns: u16, rows: u16) {
        self.cramped = view::is_too_small(columns, rows);
    }

    /// Only the page that says that there is no room is on the screen.
    pub(crate) fn is_cramped(&self) -> bool {
        self.cramped
    }

    /// Where a key is pressed.
    pub(crate) fn place(&self) -> Place {
        Place { view: self.view, focus: self.focus, zoom: self.zoom }
    }

    pub(crate) fn filter(&self) -> Option<&Filter> {
        self.filters.get(&self.view).filter(|f| !f.is_empty())
    }

    /// How soon after the last frame something on the screen has changed without news: time that is played, a countdown, an
    /// age, a toast that will go. None: never.
    pub(crate) fn ages(&self) -> Option<Duration> {
        let live = self.past.is_none();
        if self.playing() {
            Some(FRAME)
        } else if self.toast.is_some() || browse::asks(self) || (live && self.live.ages()) {
            Some(AGES)
        } else if live && self.live.ages_slowly() {
            Some(AGES_SLOWLY)
        } else {
            None
        }
    }

    /// What the simulation is asked to go on to; none if it is not, or if there is none.
    pub(crate) fn goal(&self) -> Option<&Goal> {
        match &self.source {
            Source::Simulation(run) => run.goal(),
            Source::Cluster | Source::Recording => None,
        }
    }

    pub(crate) fn playing(&self) -> bool {
        self.past.as_ref().is_some_and(|past| past.playing)
    }

    pub(crate) fn say(&mut self, tone: Tone, text: impl Into<String>) {
        let stays_ms = if tone == Tone::Bad { TOAST_BAD_MS } else { TOAST_MS };
        self.toast = Some(Toast { tone, text: text.into(), until_run_ms: self.now.run_ms.saturating_add(stays_ms) });
    }

    /// Starts to keep account of an act. Nodes were marked for it, not for the one after it.
    pub(crate) fn begin(&mut self, what: String) -> ActId {
        self.marked.clear();
        self.acts += 1;
        self.pending.insert(self.acts, what);
        ActId(self.acts)
    }
}
