//! The loop: takes what has come, updates the model, does what it asked for, and draws if something changed.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::bail;
use crossterm::event::{self, Event, KeyCode, KeyEvent, MouseEventKind};
use ratatui::{buffer::Buffer, layout::Rect};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::{
    dump,
    hands::Hands,
    model::{FRAME, Model, NEWS_EVERY},
    msg::{Body, Cmd, Msg, NodeMsg, Slot},
    net::{Clock, Ears},
    record::Writer,
    run,
    simulation::Stretch,
    term::Screen,
    update::update,
    view,
    world::{Node, World},
};

/// Messages that wait for the loop; more observations than that are dropped and counted.
pub(crate) const QUEUE_MAX: usize = 4096;

/// Keys that wait for the loop.
pub(crate) const KEYS_MAX: usize = 256;

/// Lines for one notch of the wheel.
const WHEEL: isize = 3;

/// Reads the terminal on a thread of its own, as reading cannot be interrupted. Ends with the process, or when the
/// terminal is gone, which dropping `_gone` tells.
pub(crate) fn read_keys(queue: &mpsc::Sender<Msg>, clock: Clock, _gone: oneshot::Sender<()>) {
    while let Ok(event) = event::read() {
        let body = match event {
            Event::Key(key) => Body::Key(key),
            Event::Paste(text) => Body::Paste(text),
            Event::Resize(columns, rows) => Body::Resize(columns, rows),
            Event::Mouse(mouse) if mouse.kind == MouseEventKind::ScrollUp => Body::Wheel(-WHEEL),
            Event::Mouse(mouse) if mouse.kind == MouseEventKind::ScrollDown => Body::Wheel(WHEEL),
            Event::FocusGained | Event::FocusLost | Event::Mouse(_) => continue,
        };
        if queue.blocking_send(Msg { at: clock.now(), body }).is_err() {
            return;
        }
    }
}

/// What ends the console from outside, or wakes it up.
pub(crate) struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    go_on: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            go_on: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }

    /// Waits for one that ends the console.
    pub(crate) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The next of what is simulated. Waits for ever where nothing is.
async fn next(stretches: &mut Option<mpsc::Receiver<Stretch>>) -> Option<Stretch> {
    match stretches {
        Some(stretches) => stretches.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether a message is about to change what is on the screen. That a node to which nothing happens says so again changes
/// nothing: the screen is as of the time that is in its header.
pub(crate) fn is_seen(model: &Model, body: &Body) -> bool {
    let Body::Node(slot, news) = body else { return true };
    // While the past is shown, the present goes on unseen.
    if model.past.is_some() {
        return false;
    }
    let before = model.live.node(*slot).filter(|node| node.live()).and_then(Node::word);
    match (news, before) {
        (NodeMsg::Status(status), Some(before)) => !status.has_only_aged(before),
        (
            NodeMsg::Status(_)
            | NodeMsg::Snapshot(_)
            | NodeMsg::Observed(_)
            | NodeMsg::Dropped(_)
            | NodeMsg::Connecting
            | NodeMsg::Silent { .. }
            | NodeMsg::Heard
            | NodeMsg::Retrying { .. },
            _,
        ) => true,
    }
}

/// The newest statuses and what is in the queue, as they are to be taken. A status goes before the observations: if it knows of
/// some that are still in the queue, it waits for them. But one of a stream whose first word is still in the queue is not
/// before that: it would be taken for a word of the stream before, and of the process before.
pub(crate) fn in_order(live: &World, statuses: Vec<Msg>, queue: Vec<Msg>) -> Vec<Msg> {
    let begun = |msg: &Msg| match &msg.body {
        Body::Node(slot, NodeMsg::Snapshot(_)) => Some(*slot),
        _ => None,
    };
    let begun: BTreeSet<Slot> = queue.iter().filter_map(begun).collect();
    let is_open = |slot: &Slot| !begun.contains(slot) && live.node(*slot).is_some_and(Node::connected);
    let is_before = |msg: &Msg| matches!(&msg.body, Body::Node(slot, _) if is_open(slot));
    let (before, behind): (Vec<Msg>, Vec<Msg>) = statuses.into_iter().partition(is_before);
    before.into_iter().chain(queue).chain(behind).collect()
}

/// The loop and what it owns.
pub(crate) struct Deck {
    pub(crate) model: Model,
    pub(crate) screen: Screen,
    /// None while no cluster is looked at.
    pub(crate) hands: Option<Hands>,
    /// What a simulation tells.
    pub(crate) stretches: Option<mpsc::Receiver<Stretch>>,
    pub(crate) inbox: mpsc::Receiver<Msg>,
    /// What the operator does never stands behind what the nodes say.
    pub(crate) keys: mpsc::Receiver<Msg>,
    pub(crate) ears: Ears,
    pub(crate) signals: Signals,
    pub(crate) input_gone: oneshot::Receiver<()>,
    pub(crate) writer: Option<Writer>,
}

impl Deck {
    /// News of nodes wait for a while after those before ([`NEWS_EVERY`]): they are taken together, and the loop is not woken up
    /// for each. Where none wait, nothing wakes it.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let (mut last_frame, mut last_taken) = (Instant::now(), Instant::now());
        self.draw()?;
        let mut changed = false;
        // Something has come and waits; it may be in the queue, or be this.
        let (mut waits, mut early) = (false, None);
        loop {
            let (mut urgent, mut came) = (false, false);
            let mut batch = Vec::new();
            let ages = self.model.ages();
            tokio::select! {
                Some(msg) = self.keys.recv() => batch.push(msg),
                Some(msg) = self.inbox.recv(), if !waits => (early, came) = (Some(msg), true),
                () = self.ears.newest.changed(), if !waits => came = true,
                () = sleep_until(last_taken + NEWS_EVERY), if waits => {}
                Some(stretch) = next(&mut self.stretches), if run::wants(&self.model) => batch.push(self.of(stretch)),
                () = sleep_until(last_frame + ages.unwrap_or_default()), if ages.is_some() => batch.push(self.tick()),
                () = sleep_until(last_frame + NEWS_EVERY), if changed => {}
                _ = self.signals.go_on.recv() => {
                    self.screen.resume()?;
                    urgent = true;
                }
                _ = self.signals.terminate.recv() => return Ok(()),
                _ = self.signals.hang_up.recv() => return Ok(()),
                _ = self.signals.interrupt.recv() => return Ok(()),
                _ = &mut self.input_gone => bail!("the terminal's input ended"),
            }
            if came && last_taken.elapsed() < NEWS_EVERY {
                waits = true;
                continue;
            }
            (waits, last_taken) = (false, Instant::now());
            let statuses = self.ears.newest.take();
            let mut queue: Vec<Msg> = early.take().into_iter().collect();
            while queue.len() < QUEUE_MAX + KEYS_MAX
                && let Ok(msg) = self.keys.try_recv().or_else(|_| self.inbox.try_recv())
            {
                queue.push(msg);
            }
            batch.extend(in_order(&self.model.live, statuses, queue));
            if self.model.playing() && !batch.iter().any(|msg| matches!(msg.body, Body::Tick)) {
                batch.push(self.tick());
            }
            for msg in batch {
                if cfg!(debug_assertions) {
                    panic_if_asked(&msg.body);
                }
                let key = matches!(msg.body, Body::Key(_) | Body::Paste(_) | Body::Resize(_, _) | Body::Wheel(_));
                urgent |= key;
                changed |= is_seen(&self.model, &msg.body);
                for cmd in update(&mut self.model, msg) {
                    if cmd == Cmd::Quit {
                        return Ok(());
                    }
                    self.obey(cmd).await?;
                }
            }
            changed |= self.simulate();
            self.record();
            let every = if self.model.playing() { FRAME } else { NEWS_EVERY };
            if urgent || (changed && last_frame.elapsed() >= every) {
                self.draw()?;
                last_frame = Instant::now();
                changed = false;
            }
        }
    }

    /// Draws a frame; keys are about what is on it.
    fn draw(&mut self) -> io::Result<()> {
        let mut area = Rect::ZERO;
        self.screen.draw(|frame| {
            area = frame.area();
            view::draw(&self.model, frame);
        })?;
        self.model.drawn(area.width, area.height);
        Ok(())
    }

    /// Takes what was simulated meanwhile and is wanted, for at most a frame: keys come before it.
    fn simulate(&mut self) -> bool {
        let until = Instant::now() + FRAME;
        let mut any = false;
        while run::wants(&self.model)
            && Instant::now() < until
            && let Some(stretch) = self.stretches.as_mut().and_then(|stretches| stretches.try_recv().ok())
        {
            let msg = self.of(stretch);
            update(&mut self.model, msg);
            any = true;
        }
        any
    }

    fn of(&self, stretch: Stretch) -> Msg {
        Msg { at: self.ears.clock.now(), body: Body::Stretch(Box::new(stretch)) }
    }

    fn tick(&self) -> Msg {
        Msg { at: self.ears.clock.now(), body: Body::Tick }
    }

    async fn obey(&mut self, cmd: Cmd) -> io::Result<()> {
        match cmd {
            Cmd::Suspend => self.suspend().await?,
            Cmd::Repaint => self.screen.repaint()?,
            Cmd::Mouse(on) => self.screen.mouse(on)?,
            Cmd::Copy(text) => {
                self.screen.copy(&text)?;
                to_tmux(text);
            }
            Cmd::Dump => {
                let mut buffer = Buffer::empty(self.screen.size()?);
                view::render(&self.model, buffer.area, &mut buffer);
                let theme = self.model.skin.theme;
                let written = dump::write(buffer, theme, Path::new("."), self.ears.clock.now().unix_ms);
                self.told(written.map(|path| format!("screen written to {}, .ansi and .svg", path.display())));
            }
            Cmd::Record(true) => {
                let path = PathBuf::from(format!("raftdeck-{}.jsonl", self.ears.clock.now().unix_ms));
                match Writer::begin(&path, &self.model.live, &self.model.film) {
                    Ok(writer) => {
                        self.model.recording = Some(path.display().to_string());
                        self.writer = Some(writer);
                        self.told(Ok(format!("recording to {}; R ends it", path.display())));
                    }
                    Err(e) => self.told(Err(e)),
                }
            }
            Cmd::Record(false) => {
                if let Some(writer) = self.writer.take() {
                    let path = writer.path.display();
                    self.told(Ok(format!("recorded; look at it with: raftdeck replay {path}")));
                }
            }
            cmd => {
                if let Some(hands) = &self.hands {
                    hands.start(cmd);
                }
            }
        }
        Ok(())
    }

    fn told(&mut self, outcome: io::Result<String>) {
        let body = Body::Told(outcome.map_err(|e| e.to_string()));
        update(&mut self.model, Msg { at: self.ears.clock.now(), body });
    }

    /// A disk that is full ends the recording, not the console.
    fn record(&mut self) {
        if let Some(Err(e)) = self.writer.as_mut().map(|writer| writer.follow(&self.model.film)) {
            self.writer = None;
            self.model.recording = None;
            self.told(Err(io::Error::other(format!("the recording ends here: {e}"))));
        }
    }

    /// Stops until the shell says to go on. Where nobody can stop us (no job control), we are back at once.
    async fn suspend(&mut self) -> io::Result<()> {
        self.screen.suspend()?;
        // Elapsed: no stop came.
        let _ = timeout(Duration::from_secs(1), self.signals.go_on.recv()).await;
        self.screen.resume()
    }
}

/// In debug builds only, for the test that the terminal is given back then too: f12 panics where `RAFTDECK_TEST_PANIC` is set,
/// in the loop (`here`) or on a thread beside it.
fn panic_if_asked(body: &Body) {
    let Body::Key(KeyEvent { code: KeyCode::F(12), .. }) = body else { return };
    match std::env::var("RAFTDECK_TEST_PANIC").as_deref() {
        Ok("here") => panic!("asked to"),
        Ok(_) => drop(std::thread::spawn(|| panic!("asked to")).join()),
        Err(_) => {}
    }
}

/// Inside tmux the text goes into its paste buffer as well: whether it hands OSC 52 on is its user's setting.
fn to_tmux(text: String) {
    if std::env::var_os("TMUX").is_none() {
        return;
    }
    tokio::task::spawn_blocking(move || {
        let mut load = Command::new("tmux");
        load.args(["load-buffer", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Without tmux there is nothing to tell: the text went to the terminal already.
        if let Ok(mut child) = load.spawn() {
            if let Some(mut pipe) = child.stdin.take() {
                let _ = pipe.write_all(text.as_bytes());
            }
            let _ = child.wait();
        }
    });
}
