//! The console: a running cluster on one screen, and the keys to break and mend it.
//!
//! ```text
//!   node tasks --+--> queue --+                              +--> view(&Model) --> screen, at most 30 times a second
//!   acts --------+            +--> update(&mut Model, Msg)
//!   keys ------------> queue --+                              +--> commands --> tasks, which answer into the queue
//! ```
//!
//! - `update` is a function of the model and a message that carries its own time; `view` is a function of the model.
//!   Neither does IO, so every screen can be had again from a list of messages.
//! - What came from outside is kept as facts (`film`): so the past can be shown, and a recording be replayed.
//! - The loop waits for a message, takes all that is there, and draws if something changed. It never waits for the
//!   network. A key is drawn at once; news that come thick are taken twenty times a second. When nothing happens and nothing
//!   ages, nothing is drawn: the screen says as of when it is.
//! - A node that is down is a state to show, never a reason to stop.
//!
//! Rooms: `deck` the loop, `msg` its vocabulary; `model` and `update` the state; `world` what nodes said, `members` who
//! they are, `status` and `tail` one node's word; `film`, `past` and `record` time; `picture`, `quorum`, `reign`, `pace`
//! and `tape` what follows from it; `events` and `story` what happened, in words; `trace`
//! who heard what from whom, `lost` what never arrived, `votes` who votes for whom, `outage` what faults did; `jobs` and `browse`
//! the lists; `checks` what must hold; `simulation` a simulated cluster as a source, `run` how far it goes, `cue` what a line
//! of its script does; `acts`, `deed`, `dialog` and `form` what the operator does;
//! `keys` the one key table, `keymap`, `palette` and `config`
//! how it is used and changed; `filter`, `fuzzy`, `order` what is wanted of a list; `net` and `hands` the network; `term`,
//! `theme`, `text`, `field`, `dump`, `svg`, `yank` the screen and what leaves it; `stage` a console without a terminal;
//! `view` the drawing.

mod acts;
mod browse;
mod checks;
mod chore;
mod config;
mod cue;
mod deck;
mod deed;
mod dialog;
mod dump;
mod events;
mod field;
mod film;
mod filter;
mod form;
mod fuzzy;
mod hands;
mod jobs;
mod keymap;
mod keys;
mod lost;
mod members;
mod model;
mod msg;
mod net;
mod order;
mod outage;
mod pace;
mod palette;
mod past;
mod picture;
mod quorum;
mod record;
mod reign;
mod run;
mod simulation;
mod stage;
mod status;
mod story;
mod svg;
mod tail;
mod tape;
mod term;
#[cfg(test)]
mod tests;
mod text;
mod theme;
mod trace;
mod update;
mod view;
mod votes;
mod world;
mod yank;

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use raftdeck_shared::{
    client::{Client, channel},
    cluster,
    ids::NodeId,
};
use tokio::sync::{mpsc, oneshot};

use self::{
    config::Config,
    deck::{Deck, KEYS_MAX, QUEUE_MAX, Signals, read_keys},
    film::{Film, Record},
    hands::Hands,
    model::{Model, Source},
    msg::Slot,
    net::{Clock, Ears},
    record::Writer,
    run::Run,
    simulation::Stretch,
    term::Screen,
    theme::{Glyphs, Skin},
    world::{Fact, World},
};
pub use self::{
    hands::{Crew, Helm, Launcher, Steering, Upkeep},
    simulation::Simulation,
    stage::Stage,
    theme::Theme,
};

/// A loop that has not ended so long after it was told to does not hear.
const STUCK_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

/// A member to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleNode {
    /// From the cluster file; none when only an address was given: then it is learned from the node's first word.
    pub id: Option<NodeId>,
    /// From the cluster file, as `id`.
    pub name: Option<String>,
    /// `HOST:PORT` of its api listener.
    pub api: String,
}

impl From<&cluster::NodeEntry> for ConsoleNode {
    fn from(entry: &cluster::NodeEntry) -> Self {
        ConsoleNode { id: Some(entry.id), name: Some(entry.name.clone()), api: entry.api.to_string() }
    }
}

impl ConsoleNode {
    /// A member of which only the address is known.
    #[must_use]
    pub fn at(api: impl Into<String>) -> ConsoleNode {
        ConsoleNode { id: None, name: None, api: api.into() }
    }
}

/// How a console looks and what it may do, as the command line says it. The config file comes after it.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The config file, instead of the usual one.
    pub config: Option<PathBuf>,
    /// Colours or none; else the config file, else the environment says.
    pub theme: Option<Theme>,
    /// Draw with ASCII marks only.
    pub ascii: bool,
    /// Turns off every key that changes the cluster.
    pub read_only: bool,
}

/// What a console is started with.
#[derive(Clone, Default)]
pub struct ConsoleOptions {
    /// Nodes of another cluster are shown as foreign. Empty: that of the first node that answers.
    pub cluster_id: String,
    /// The members, in the order of the screen.
    pub nodes: Vec<ConsoleNode>,
    /// Names that the submit form completes.
    pub handlers: Vec<String>,
    /// Who restarts nodes and steers the cluster.
    pub crew: Crew,
    /// How it looks.
    pub look: Look,
}

/// Runs the console until it is quit, or told to end by SIGTERM, SIGHUP or SIGINT. The terminal is given back before this
/// returns.
///
/// # Errors
/// There is no terminal, no node, or an address is not one; or the terminal went away.
pub async fn run(options: ConsoleOptions) -> anyhow::Result<()> {
    need_terminal("raftdeck watch --plain")?;
    let (ears, inbox) = ears();
    let hands = hands(&options, &ears)?;
    let mut model = model(&options, ears.clock);
    model.can_restart = options.crew.launcher.is_some();
    open(model, Some(hands), None, ears, inbox).await
}

/// Shows a recording in the console.
///
/// # Errors
/// The file is no recording; or as [`run`].
pub async fn replay(file: &Path, look: Look) -> anyhow::Result<()> {
    let records = stage::recording(file)?;
    need_terminal("raftdeck replay FILE --svg PICTURE")?;
    let (ears, inbox) = ears();
    let mut model = model(&ConsoleOptions { look, ..ConsoleOptions::default() }, ears.clock);
    replayed(&mut model, records, 0);
    open(model, None, None, ears, inbox).await
}

/// Shows a simulation in the console, with its time in the operator's hand.
///
/// # Errors
/// As [`run`].
pub async fn simulate(simulation: Simulation, look: Look) -> anyhow::Result<()> {
    need_terminal("raftdeck sim, in a pipe")?;
    let (ears, inbox) = ears();
    let mut model = model(&ConsoleOptions { look, ..ConsoleOptions::default() }, ears.clock);
    let mut stretches = simulation.start().context("cannot simulate")?;
    simulated(&mut model, simulation);
    if let Some(first) = stretches.recv().await {
        begun(&mut model, first);
    }
    open(model, None, Some(stretches), ears, inbox).await
}

/// Makes a model that looks at a simulation which has not begun.
fn simulated(model: &mut Model, simulation: Simulation) {
    model.live = World::simulated();
    model.film = Film::of_simulation(model.live.clone());
    model.source = Source::Simulation(Box::new(Run::new(simulation)));
}

/// Looks at the beginning of a simulation.
fn begun(model: &mut Model, first: Stretch) {
    run::take(model, first);
    past::to(model, 0);
}

/// Makes a model that looks at a recording, from a time of it on.
fn replayed(model: &mut Model, records: Vec<Record>, run_ms: u64) {
    let (film, end) = Film::of_records(records.into_iter());
    (model.film, model.live) = (film, end);
    model.source = Source::Recording;
    past::to(model, run_ms);
    past::pause(model);
}

/// Records what the nodes say, without a screen, until SIGINT, SIGTERM, SIGHUP or `until` ends it; how many facts of how
/// many nodes were written.
///
/// # Errors
/// The file is there already or cannot be written; there is no node, or an address is not one.
pub async fn record(
    options: ConsoleOptions,
    file: &Path,
    until: impl Future<Output = ()>,
) -> anyhow::Result<(u64, usize)> {
    let (ears, mut inbox) = ears();
    let hands = hands(&options, &ears)?;
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let mut model = model(&options, ears.clock);
    let begun = Writer::begin(file, &model.live, &model.film);
    let mut writer = begun.with_context(|| format!("cannot write {}", file.display()))?;
    let mut until = std::pin::pin!(until);
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            Some(msg) = inbox.recv() => batch.push(msg),
            () = ears.newest.changed() => {}
            () = signals.end() => break,
            () = &mut until => break,
        }
        batch.extend(ears.newest.take());
        for cmd in batch.into_iter().flat_map(|msg| update::update(&mut model, msg)) {
            hands.start(cmd);
        }
        writer.follow(&model.film).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok((writer.written, model.live.nodes.len()))
}

/// The page of all keys, with those of the config file.
///
/// # Errors
/// What is wrong with the config file, with its lines.
pub fn key_page(look: &Look) -> Result<String, Vec<String>> {
    let config = config::read(look.config.as_deref());
    if config.mistakes.is_empty() { Ok(config.keys.page()) } else { Err(config.mistakes) }
}

fn need_terminal(instead: &str) -> anyhow::Result<()> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("the console needs a terminal; without one, use: {instead}");
    }
    Ok(())
}

fn ears() -> (Ears, mpsc::Receiver<msg::Msg>) {
    let (queue, inbox) = mpsc::channel(QUEUE_MAX);
    (Ears { queue, newest: Arc::default(), retry: Arc::default(), clock: Clock::start() }, inbox)
}

/// Opens the channels and starts a task for each node. Nothing waits for a node here.
fn hands(options: &ConsoleOptions, ears: &Ears) -> anyhow::Result<Hands> {
    for node in &options.nodes {
        channel(&node.api)?;
    }
    let jobs = Client::new(options.nodes.iter().map(|n| n.api.clone()))?;
    let hands = Hands::new(jobs, options.crew.clone(), ears.clone());
    for (at, node) in options.nodes.iter().enumerate() {
        hands.reach(Slot(at), &node.api);
    }
    Ok(hands)
}

fn model(options: &ConsoleOptions, clock: Clock) -> Model {
    let look = &options.look;
    let Config { theme, ascii, mouse, read_only, keys, colors, mistakes } = config::read(look.config.as_deref());
    // NO_COLOR and a dumb terminal are before the file, and the command line is before all.
    let found = match Theme::detect() {
        Theme::Mono => Theme::Mono,
        detected => theme.unwrap_or(detected),
    };
    let mut skin = Skin::new(look.theme.unwrap_or(found), Glyphs::choose(look.ascii || ascii));
    skin.own = colors;
    let mut model = Model::new(options.cluster_id.clone(), skin);
    model.now = clock.now();
    for node in &options.nodes {
        let name = node.name.clone().or_else(|| node.id.map(|id| id.to_string())).unwrap_or_else(|| node.api.clone());
        model.tell(Fact::Member { id: node.id, name: text::clean(&name), api: node.api.clone() });
    }
    model.handlers.clone_from(&options.handlers);
    model.read_only = look.read_only || read_only;
    (model.mouse, model.keys, model.to_say) = (mouse, keys, mistakes);
    model
}

/// Takes the terminal and runs the loop.
async fn open(
    model: Model,
    hands: Option<Hands>,
    stretches: Option<mpsc::Receiver<Stretch>>,
    ears: Ears,
    inbox: mpsc::Receiver<msg::Msg>,
) -> anyhow::Result<()> {
    let signals = Signals::listen().context("cannot listen for signals")?;
    let mut screen = Screen::enter().context("cannot take the terminal")?;
    if model.mouse {
        screen.mouse(true)?;
    }
    let (gone, input_gone) = oneshot::channel();
    let (queue, keys) = mpsc::channel(KEYS_MAX);
    let clock = ears.clock;
    std::thread::spawn(move || read_keys(&queue, clock, gone));
    let stuck = tokio::spawn(end_if_stuck(Signals::listen().context("cannot listen for signals")?));
    let ended =
        Deck { model, screen, hands, stretches, inbox, keys, ears, signals, input_gone, writer: None }.run().await;
    stuck.abort();
    ended
}

/// A terminal that nobody reads takes no more, and a loop that stands in the middle of a frame hears nothing: the process
/// ends all the same when it is told to.
async fn end_if_stuck(mut signals: Signals) {
    signals.end().await;
    tokio::time::sleep(STUCK_AFTER).await;
    std::process::exit(1);
}
