//! The console: a running cluster on one screen, and the keys to break and mend it.
//!
//! ```text
//!   node tasks --+                              +--> view(&Model) --> screen, at most 30 times a second
//!   keys --------+--> one queue --> update(&mut Model, Msg)
//!   acts --------+                              +--> commands --> tasks, which answer into the queue
//! ```
//!
//! - `update` is a function of the model and a message that carries its own time; `view` is a function of the model.
//!   Neither does IO, so every screen can be had again from a list of messages.
//! - The loop here waits for a message, takes all that is there, and draws if something changed. It never waits for the
//!   network. A key is drawn at once; when nothing happens and nothing ages, nothing is drawn.
//! - A node that is down is a state to show, never a reason to stop.
//!
//! Rooms: `msg` the vocabulary; `model` and `update` the state; `status` what nodes say; `picture`, `quorum`, `reign`
//! and `pace` what follows from it; `events` and `story` what happened, in words; `votes` who votes for whom; `checks`
//! what must hold; `acts` and `dialog` what the operator does; `keys` the one key table; `net` and `hands` the network;
//! `term`, `theme`, `text`, `field` the screen; `view` the drawing.

mod acts;
mod checks;
mod dialog;
mod events;
mod field;
mod hands;
mod keys;
mod model;
mod msg;
mod net;
mod pace;
mod picture;
mod quorum;
mod reign;
mod status;
mod story;
mod term;
#[cfg(test)]
mod tests;
mod text;
mod theme;
mod update;
mod view;
mod votes;

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use crossterm::event::{self, Event};
use raftdeck_shared::{
    client::{Client, channel},
    cluster,
    ids::NodeId,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};

use self::{
    hands::Hands,
    model::{Model, Node},
    msg::{Body, Cmd, Msg, Slot},
    net::{Clock, Ears, Newest},
    term::Screen,
    theme::{Glyphs, Skin},
};
pub use self::{hands::Launcher, theme::Theme};

/// Messages that wait for the loop; more observations than that are dropped and counted.
const QUEUE_MAX: usize = 4096;

/// Shortest time between two frames that no key asked for.
const FRAME: Duration = Duration::from_millis(33);

/// How often the screen is looked at again while something on it ages.
const TICK: Duration = Duration::from_millis(250);

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

/// What a console is started with.
#[derive(Clone, Default)]
pub struct ConsoleOptions {
    /// Nodes of another cluster are shown as foreign. Empty: that of the first node that answers.
    pub cluster_id: String,
    /// The members, in the order of the screen.
    pub nodes: Vec<ConsoleNode>,
    /// Names that the submit form completes.
    pub handlers: Vec<String>,
    /// Restarts nodes; none when this console does not own their processes.
    pub launcher: Option<Arc<dyn Launcher>>,
    /// Draw with ASCII marks only.
    pub ascii: bool,
    /// Turns off every key that changes the cluster.
    pub read_only: bool,
    /// Colours or none; [`Theme::detect`] looks at the environment.
    pub theme: Theme,
}

/// Runs the console until it is quit, or told to end by SIGTERM, SIGHUP or SIGINT. The terminal is given back before this
/// returns.
///
/// # Errors
/// There is no terminal, no node, or an address is not one; or the terminal went away.
pub async fn run(options: ConsoleOptions) -> anyhow::Result<()> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("the console needs a terminal; without one, use: raftdeck watch --plain");
    }
    let clock = Clock::start();
    let (queue, inbox) = mpsc::channel(QUEUE_MAX);
    let newest = Arc::new(Newest::new(options.nodes.len()));
    let ears = Ears { queue: queue.clone(), newest, retry: Arc::default(), clock };
    let hands = connect(&options, &ears)?;
    let signals = Signals::listen().context("cannot listen for signals")?;
    let screen = Screen::enter().context("cannot take the terminal")?;
    let (gone, input_gone) = oneshot::channel();
    std::thread::spawn(move || read_keys(&queue, clock, gone));
    let deck = Deck { model: model(options), screen, hands, inbox, ears, signals, input_gone };
    deck.run().await
}

/// Opens the channels and starts a task for each node. Nothing waits for a node here.
fn connect(options: &ConsoleOptions, ears: &Ears) -> anyhow::Result<Hands> {
    let addresses: Vec<String> = options.nodes.iter().map(|n| n.api.clone()).collect();
    let jobs = Arc::new(Client::new(addresses.clone())?);
    let channels = addresses.iter().map(|a| channel(a)).collect::<Result<Vec<_>, _>>()?;
    for (at, channel) in channels.iter().enumerate() {
        tokio::spawn(net::watch(Slot(at), channel.clone(), ears.clone()));
    }
    let (queue, retry, clock) = (ears.queue.clone(), Arc::clone(&ears.retry), ears.clock);
    Ok(Hands { channels, addresses, jobs, launcher: options.launcher.clone(), queue, retry, clock })
}

fn model(options: ConsoleOptions) -> Model {
    let skin = Skin { theme: options.theme, glyphs: Glyphs::choose(options.ascii) };
    let nodes = options.nodes.into_iter().map(|n| {
        let name = n.name.or_else(|| n.id.map(|id| id.to_string())).unwrap_or_else(|| n.api.clone());
        Node::new(n.id, text::clean(&name), n.api)
    });
    let mut model = Model::new(options.cluster_id, nodes.collect(), skin);
    model.handlers = options.handlers;
    model.read_only = options.read_only;
    model.can_restart = options.launcher.is_some();
    model
}

/// Reads the terminal on a thread of its own, as reading cannot be interrupted. Ends with the process, or when the
/// terminal is gone, which dropping `_gone` tells.
fn read_keys(queue: &mpsc::Sender<Msg>, clock: Clock, _gone: oneshot::Sender<()>) {
    while let Ok(event) = event::read() {
        let body = match event {
            Event::Key(key) => Body::Key(key),
            Event::Paste(text) => Body::Paste(text),
            Event::Resize(_, _) => Body::Resize,
            Event::FocusGained | Event::FocusLost | Event::Mouse(_) => continue,
        };
        if queue.blocking_send(Msg { at: clock.now(), body }).is_err() {
            return;
        }
    }
}

struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    go_on: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            go_on: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }
}

/// The loop and what it owns.
struct Deck {
    model: Model,
    screen: Screen,
    hands: Hands,
    inbox: mpsc::Receiver<Msg>,
    ears: Ears,
    signals: Signals,
    input_gone: oneshot::Receiver<()>,
}

impl Deck {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut last_frame = Instant::now();
        self.screen.draw(|frame| view::draw(&self.model, frame))?;
        let mut dirty = false;
        loop {
            let mut urgent = false;
            let mut batch = Vec::new();
            tokio::select! {
                Some(msg) = self.inbox.recv() => batch.push(msg),
                () = self.ears.newest.changed() => {}
                () = sleep(TICK), if self.model.ages() => batch.push(Msg { at: self.ears.clock.now(), body: Body::Tick }),
                () = sleep_until(last_frame + FRAME), if dirty => {}
                _ = self.signals.go_on.recv() => {
                    self.screen.resume()?;
                    urgent = true;
                }
                _ = self.signals.terminate.recv() => return Ok(()),
                _ = self.signals.hang_up.recv() => return Ok(()),
                _ = self.signals.interrupt.recv() => return Ok(()),
                _ = &mut self.input_gone => bail!("the terminal's input ended"),
            }
            while batch.len() < QUEUE_MAX
                && let Ok(msg) = self.inbox.try_recv()
            {
                batch.push(msg);
            }
            batch.extend(self.ears.newest.take());
            dirty |= !batch.is_empty();
            for msg in batch {
                urgent |= matches!(msg.body, Body::Key(_) | Body::Paste(_) | Body::Resize);
                for cmd in update::update(&mut self.model, msg) {
                    match cmd {
                        Cmd::Quit => return Ok(()),
                        Cmd::Suspend => self.suspend().await?,
                        Cmd::Repaint => self.screen.repaint()?,
                        Cmd::Kill { .. }
                        | Cmd::Cut { .. }
                        | Cmd::Heal { .. }
                        | Cmd::Restart { .. }
                        | Cmd::Submit { .. } => self.hands.start(cmd),
                    }
                }
            }
            if urgent || (dirty && last_frame.elapsed() >= FRAME) {
                self.screen.draw(|frame| view::draw(&self.model, frame))?;
                last_frame = Instant::now();
                dirty = false;
            }
        }
    }

    /// Stops until the shell says to go on. Where nobody can stop us (no job control), we are back at once.
    async fn suspend(&mut self) -> anyhow::Result<()> {
        self.screen.suspend()?;
        // Elapsed: no stop came.
        let _ = timeout(Duration::from_secs(1), self.signals.go_on.recv()).await;
        self.screen.resume()?;
        Ok(())
    }
}
