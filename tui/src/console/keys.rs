//! The key table: one list that feeds dispatch, the footer, `?`, the `:` palette, the docs page and the read-only filter.
//!
//! Arrows and the vi letters move. Small letters look and steer the console; what breaks the cluster stands on `K` and
//! `x`, away from them, and asks first. No Alt, and none of the keys that tmux, screen or the terminal's own flow control
//! take (Ctrl-A, Ctrl-B, Ctrl-S, Ctrl-Q). Each row can be given other keys in the config file, by its name.

use super::{
    form::Sheet,
    hands::Upkeep,
    model::{Pane, View},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Kill,
    Cut,
    Heal,
    Upkeep(Upkeep),
    Form(Sheet),
    Transfer,
    Remove,
    HealOne,
    CancelJobs,
    RetryJobs,
    PauseQueue,
    Mark,
    Back,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Oldest,
    Newest,
    Every,
    NextPane,
    PreviousPane,
    Go(View),
    Open,
    Zoom,
    Filter,
    NextFound,
    PreviousFound,
    NextNode,
    Sort,
    Reverse,
    Hide(Hidden),
    Pause,
    Live,
    Step(Way),
    Event(Way),
    Jump(Way),
    Slower,
    Faster,
    Record,
    Dump,
    Copy,
    Mouse,
    Theme,
    Repaint,
    Suspend,
    Palette,
    Help,
    Quit,
}

/// Direction in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Back,
    On,
}

/// What the lanes can leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hidden {
    Appends,
    Votes,
    Jobs,
}

/// Where a row works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    In(View),
    Pane(Pane),
    /// Where the cursor is that it is about: on a node, a job, a fault. Called by name it works nowhere else either, for what
    /// it would be done to is not seen there.
    Cursor(View),
}

/// What is on the screen, as far as it decides what a key means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) view: View,
    pub(crate) focus: Pane,
    pub(crate) zoom: bool,
}

impl Place {
    /// The events alone are the one pane that has no node under a cursor.
    pub(crate) fn has_cursor(self) -> bool {
        !(self.view == View::Cluster && self.zoom && self.focus == Pane::Events)
    }
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Binding {
    /// For the palette and the config file.
    pub(crate) name: &'static str,
    /// As the config file spells them; the first stands in footer and help.
    pub(crate) keys: &'static [&'static str],
    pub(crate) action: Action,
    pub(crate) help: &'static str,
    /// One word for the footer; rows without one are in the help only.
    pub(crate) footer: Option<&'static str>,
    pub(crate) when: When,
    /// Takes something away or changes the cluster: gone in read-only mode.
    pub(crate) danger: bool,
}

const fn row(name: &'static str, keys: &'static [&'static str], action: Action, help: &'static str) -> Binding {
    Binding { name, keys, action, help, footer: None, when: When::Always, danger: false }
}

impl Binding {
    const fn footer(mut self, word: &'static str) -> Binding {
        self.footer = Some(word);
        self
    }

    const fn danger(mut self) -> Binding {
        self.danger = true;
        self
    }

    const fn when(mut self, when: When) -> Binding {
        self.when = when;
        self
    }
}

impl When {
    /// True if a row for `self` and one for `other` may be meant by one key press.
    pub(crate) fn meets(self, other: When) -> bool {
        match (self, other) {
            (When::Always, _) | (_, When::Always) => true,
            (When::In(a) | When::Cursor(a), When::In(b) | When::Cursor(b)) => a == b,
            (When::Pane(a), When::Pane(b)) => a == b,
            (When::In(view) | When::Cursor(view), When::Pane(_))
            | (When::Pane(_), When::In(view) | When::Cursor(view)) => view == View::Cluster,
        }
    }

    pub(crate) fn holds(self, place: Place) -> bool {
        match self {
            When::Always => true,
            When::In(at) => at == place.view,
            When::Pane(pane) => place.view == View::Cluster && pane == place.focus,
            When::Cursor(at) => at == place.view && place.has_cursor(),
        }
    }
}

/// Beside the nodes.
pub(crate) const NODE: When = When::Cursor(View::Cluster);
const JOB: When = When::Cursor(View::Jobs);
const FAULT: When = When::Cursor(View::Faults);
const CLUSTER: When = When::In(View::Cluster);
const MESSAGES: When = When::In(View::Messages);
const QUEUE: When = When::Cursor(View::Queues);
const LOG: When = When::In(View::Log);

/// All rows, in the order of footer and help. The first that fits is taken.
pub(crate) const TABLE: &[Binding] = &[
    row("kill", &["K"], Action::Kill, "kill the node under the cursor").footer("kill").danger().when(NODE),
    row("cut", &["x"], Action::Cut, "cut the marked nodes (or this one) from the others")
        .footer("cut")
        .danger()
        .when(NODE),
    row("heal", &["H"], Action::Heal, "heal all faults on all nodes").footer("heal").danger(),
    row("restart", &["r"], Action::Upkeep(Upkeep::Restart), "restart the node under the cursor")
        .footer("restart")
        .danger()
        .when(NODE),
    row("submit", &["s"], Action::Form(Sheet::Submit), "submit a job").footer("submit").danger(),
    row("cancel", &["c"], Action::CancelJobs, "cancel the marked jobs, or the one under the cursor")
        .footer("cancel")
        .danger()
        .when(JOB),
    row("retry", &["r"], Action::RetryJobs, "try the marked jobs again now, or the one under the cursor")
        .footer("retry")
        .danger()
        .when(JOB),
    row(
        "cut-one-way",
        &["X"],
        Action::Form(Sheet::OneWay),
        "cut the marked nodes' way to the others, not the way back",
    )
    .danger()
    .when(NODE),
    row("link", &["W"], Action::Form(Sheet::Link), "weather on a link: delay, jitter, loss, duplicates, reordering")
        .danger()
        .when(NODE),
    row("disk", &["D"], Action::Form(Sheet::Disk), "the disk of a node: stalled, full, or failing its fsync")
        .danger()
        .when(NODE),
    row("pause-node", &["P"], Action::Form(Sheet::Pause), "let a node stand still").danger().when(NODE),
    row("clock", &["C"], Action::Form(Sheet::Clock), "set the clock of a node wrong").danger().when(NODE),
    row("pause-queue", &["P"], Action::PauseQueue, "pause the queue under the cursor, or resume it")
        .footer("pause queue")
        .danger()
        .when(QUEUE),
    row("heal-one", &["e"], Action::HealOne, "heal the fault under the cursor").footer("heal one").danger().when(FAULT),
    row("transfer", &["T"], Action::Transfer, "hand leadership over to the node under the cursor").danger().when(NODE),
    row("add", &["A"], Action::Form(Sheet::Add), "take a node in").danger().when(CLUSTER),
    row("remove", &[], Action::Remove, "let the node under the cursor go (no key: by name only)").danger().when(NODE),
    row("tab", &["f"], Action::Upkeep(Upkeep::ShowTab), "show the terminal tab of the node under the cursor")
        .when(NODE),
    row("close-tab", &["F"], Action::Upkeep(Upkeep::CloseTab), "close the terminal tab of a node that has ended")
        .danger()
        .when(NODE),
    row("mark", &["space"], Action::Mark, "mark: nodes for a side of a cut, jobs to cancel or retry").footer("mark"),
    row("open", &["enter"], Action::Open, "what is under the cursor: node's log, job, cause of a message")
        .footer("open"),
    row("back", &["esc"], Action::Back, "close, unmark, drop the filter, back to the newest"),
    row("up", &["up", "k"], Action::Up, "up; in Events: scroll back"),
    row("down", &["down", "j"], Action::Down, "down; in Events: scroll on"),
    row("left", &["left", "h"], Action::Left, "older log entries; 100 ms back while paused"),
    row("right", &["right", "l"], Action::Right, "newer log entries; 100 ms on while paused"),
    row("page-up", &["pgup", "ctrl-u"], Action::PageUp, "ten lines, or twenty entries, back"),
    row("page-down", &["pgdn", "ctrl-d"], Action::PageDown, "ten lines, or twenty entries, on"),
    row("oldest", &["g", "home"], Action::Oldest, "to the first, or the oldest"),
    row("newest", &["G", "end"], Action::Newest, "to the last, or the newest, and follow it"),
    row("every", &["e"], Action::Every, "Events: the story, or every observation")
        .footer("every")
        .when(When::Pane(Pane::Events)),
    row("appends", &["a"], Action::Hide(Hidden::Appends), "hide appends and commits, or show them")
        .footer("appends")
        .when(MESSAGES),
    row("votes", &["v"], Action::Hide(Hidden::Votes), "hide votes, or show them").footer("votes").when(MESSAGES),
    row("work", &["w"], Action::Hide(Hidden::Jobs), "hide what jobs do, or show it").footer("work").when(MESSAGES),
    row(
        "filter",
        &["/"],
        Action::Filter,
        "filter: words, !words, node:n2 kind:vote term>6 state:running; search in a log",
    )
    .footer("filter"),
    row("next", &["n"], Action::NextFound, "next line found").footer("next").when(LOG),
    row("previous", &["N"], Action::PreviousFound, "line found before").when(LOG),
    row("next-node", &["tab"], Action::NextNode, "the log of the next node").footer("node").when(LOG),
    row("sort", &["o"], Action::Sort, "order by the next column"),
    row("reverse", &["O"], Action::Reverse, "the other way round"),
    row("pane", &["tab"], Action::NextPane, "next pane").footer("pane").when(CLUSTER),
    row("previous-pane", &["shift-tab"], Action::PreviousPane, "previous pane").when(CLUSTER),
    row("zoom", &["z"], Action::Zoom, "the focused pane alone, and back").footer("zoom").when(CLUSTER),
    row("cluster", &["1"], Action::Go(View::Cluster), "nodes, logs side by side, links, events, timeline"),
    row("messages", &["2"], Action::Go(View::Messages), "what one node heard from another, in the order of cause"),
    row("election", &["3"], Action::Go(View::Election), "votes as they were cast, and why they were refused"),
    row("jobs", &["4"], Action::Go(View::Jobs), "the jobs"),
    row("queues", &["5"], Action::Go(View::Queues), "the queues, and how much waits in each"),
    row("log", &["6"], Action::Go(View::Log), "what the node under the cursor writes to its log"),
    row("faults", &["7"], Action::Go(View::Faults), "faults in force, and the measured effect of each"),
    row(
        "pause",
        &["p"],
        Action::Pause,
        "pause and play: the screen as it was then, while the cluster goes on; a simulation stops",
    )
    .footer("pause"),
    row("live", &["L"], Action::Live, "back to now; of a simulation to as far as it is, and then on to its end"),
    row("step-back", &[","], Action::Step(Way::Back), "100 ms back"),
    row("step-on", &["."], Action::Step(Way::On), "100 ms on"),
    row("event-back", &["["], Action::Event(Way::Back), "to the event before"),
    row("event-on", &["]"], Action::Event(Way::On), "to the next event, of those that are listed"),
    row("jump-back", &["{"], Action::Jump(Way::Back), "to the fault or election before"),
    row("jump-on", &["}"], Action::Jump(Way::On), "to the next fault or election"),
    row("slower", &["-"], Action::Slower, "play slower"),
    row("faster", &["+", "="], Action::Faster, "play faster"),
    row("record", &["R"], Action::Record, "record to a file what is seen from now on, and end it"),
    row("dump", &["S"], Action::Dump, "write this screen to files, as text and with its colours"),
    row("copy", &["y"], Action::Copy, "copy what is under the cursor, or the command that does the same"),
    row("mouse", &["M"], Action::Mouse, "the wheel scrolls; then hold shift to select text"),
    row("theme", &["t"], Action::Theme, "dark, light, colour-blind safe, mono"),
    row("repaint", &["ctrl-l"], Action::Repaint, "paint the screen anew"),
    row("suspend", &["ctrl-z"], Action::Suspend, "back to the shell; fg returns"),
    row(
        "palette",
        &[":"],
        Action::Palette,
        "all of this by name: `:kill n3`, `:job 17`, `:at 12:04:21`, `:until leader`",
    )
    .footer("command"),
    row("help", &["?"], Action::Help, "these keys").footer("help"),
    row("quit", &["q", "ctrl-c"], Action::Quit, "quit").footer("quit"),
];
