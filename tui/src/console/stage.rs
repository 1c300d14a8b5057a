//! A console without a terminal: on nodes that are told by hand, on a recording, or on a simulation, and drawn into memory.
//! It is the same model, moved by the same keys, and drawn by the same views; only the loop is missing, and time is what it
//! is told. So pictures are made with it, tests of time are written with it, and the console's own costs are measured on it.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use raftdeck_shared::wire::{self, observe_event::Event};
use ratatui::{Frame, buffer::Buffer, layout::Rect};
use tokio::sync::mpsc;

use super::{
    ConsoleNode, ConsoleOptions, Look, begun, dump,
    film::Record,
    keymap::Key,
    model::Model,
    msg::{Body, Cmd, Msg, NodeMsg, Slot, Time},
    net::Clock,
    past, record, replayed, run, simulated,
    simulation::{Simulation, Stretch},
    status::Status,
    svg,
    update::update,
    view,
};

/// Unix time at the beginning of what is told by hand: some day, 12:00 UTC.
const UNIX_MS: u64 = 20_000 * 86_400_000 + 43_200_000;

/// The shortest time that a screen of a moving picture is shown.
const SHOT_MS: u64 = 200;

/// How long its last one stays.
const LAST_MS: u64 = 3_000;

/// See the module.
#[derive(Debug)]
pub struct Stage {
    pub(crate) model: Model,
    /// Of a simulation.
    stretches: Option<mpsc::Receiver<Stretch>>,
}

impl Stage {
    /// Watches nodes that nothing is known of yet.
    #[must_use]
    pub fn watching(nodes: Vec<ConsoleNode>, look: Look) -> Stage {
        let options = ConsoleOptions { nodes, look, ..ConsoleOptions::default() };
        let mut model = super::model(&options, Clock::start());
        model.now = Time { run_ms: 0, unix_ms: UNIX_MS };
        Stage { model, stretches: None }
    }

    /// Looks at a recording, at its end.
    ///
    /// # Errors
    /// The file is none.
    pub fn replaying(file: &Path, look: Look) -> anyhow::Result<Stage> {
        let records = recording(file)?;
        let mut stage = Stage::watching(Vec::new(), look);
        replayed(&mut stage.model, records, 0);
        stage.at(u64::MAX);
        Ok(stage)
    }

    /// Looks at the beginning of a simulation. Not to be called inside of an async runtime: it waits.
    ///
    /// # Errors
    /// The system gives no thread, or the simulation did not begin.
    pub fn simulating(simulation: Simulation, look: Look) -> anyhow::Result<Stage> {
        let mut stretches = simulation.start().context("cannot simulate")?;
        let mut stage = Stage::watching(Vec::new(), look);
        simulated(&mut stage.model, simulation);
        begun(&mut stage.model, stretches.blocking_recv().context("the simulation did not begin")?);
        Ok(Stage { stretches: Some(stretches), ..stage })
    }

    /// A node, by its place, says something so long after the beginning.
    pub fn hear(&mut self, run_ms: u64, node: usize, event: Event) {
        let news = match event {
            Event::Snapshot(raw) => NodeMsg::Snapshot(Arc::new(Status::from_wire(raw))),
            Event::Status(raw) => NodeMsg::Status(Arc::new(Status::from_wire(raw))),
            Event::Observations(wire::Observations { list }) => {
                for observation in list {
                    self.tell(run_ms, Body::Node(Slot(node), NodeMsg::Observed(Arc::new(observation))));
                }
                return;
            }
            Event::Dropped(count) => NodeMsg::Dropped(count),
            Event::StillHere(_) => NodeMsg::Heard,
        };
        self.tell(run_ms, Body::Node(Slot(node), news));
    }

    /// Goes to a time of a recording, in milliseconds from its beginning, and stands there.
    pub fn at(&mut self, ms: u64) {
        let first = self.model.film.span().map_or(0, |(first, _)| first.run_ms);
        past::to(&mut self.model, first.saturating_add(ms));
        if self.model.playing() {
            past::pause(&mut self.model);
        }
    }

    /// How long a recording is, in milliseconds.
    #[must_use]
    pub fn length_ms(&self) -> u64 {
        self.model.film.span().map_or(0, |(first, last)| last.run_ms - first.run_ms)
    }

    /// Presses keys, by their names with spaces between: `3`, `down enter`.
    ///
    /// # Errors
    /// One of them is no key.
    pub fn press(&mut self, keys: &str) -> Result<(), String> {
        for key in keys.split_whitespace() {
            let event = Key::parse(key)?.event();
            self.tell(self.model.now.run_ms, Body::Key(event));
        }
        Ok(())
    }

    /// Types; a line feed is Enter.
    pub fn write(&mut self, text: &str) {
        for key in text.chars() {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            self.tell(self.model.now.run_ms, Body::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
    }

    /// Time passes outside, as it does while something is played.
    pub fn pass(&mut self, ms: u64) {
        self.tell(self.model.now.run_ms + ms, Body::Tick);
    }

    /// Facts that are kept, from the first that was ever told.
    #[must_use]
    pub fn facts(&self) -> u64 {
        self.model.film.end()
    }

    /// The screen as it is, as text.
    #[must_use]
    pub fn text(&self, size: (u16, u16)) -> String {
        dump::text(&self.screen(size))
    }

    /// Draws what a console would.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        view::draw(&self.model, frame);
    }

    /// The screen as it is, as a picture.
    #[must_use]
    pub fn svg(&self, size: (u16, u16)) -> String {
        svg::svg(&[(self.screen(size), 0)], self.model.skin.theme)
    }

    /// A moving picture of a recording, from a time of it to another one, both in milliseconds.
    #[must_use]
    pub fn film(&mut self, size: (u16, u16), from_ms: u64, to_ms: u64) -> String {
        let mut shots: Vec<(Buffer, u64)> = Vec::new();
        for at_ms in (from_ms..=to_ms).step_by(SHOT_MS as usize) {
            self.at(at_ms);
            let screen = self.screen(size);
            match shots.last_mut() {
                Some((before, shown_ms)) if *before == screen => *shown_ms += SHOT_MS,
                Some(_) | None => shots.push((screen, SHOT_MS)),
            }
        }
        if let Some((_, shown_ms)) = shots.last_mut() {
            *shown_ms += LAST_MS;
        }
        svg::svg(&shots, self.model.skin.theme)
    }

    fn screen(&self, (width, height): (u16, u16)) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        view::render(&self.model, buffer.area, &mut buffer);
        buffer
    }

    /// What is asked of a simulation has been simulated when this returns.
    fn tell(&mut self, run_ms: u64, body: Body) {
        let at = Time { run_ms, unix_ms: UNIX_MS.saturating_add(run_ms) };
        // Nobody is there who could do what is asked for.
        let _: Vec<Cmd> = update(&mut self.model, Msg { at, body });
        while let Some(stretches) = self.stretches.as_mut().filter(|_| run::wants(&self.model)) {
            let Some(stretch) = stretches.blocking_recv() else { return };
            let _: Vec<Cmd> = update(&mut self.model, Msg { at, body: Body::Stretch(Box::new(stretch)) });
        }
    }
}

/// The facts of a recording.
pub(super) fn recording(file: &Path) -> anyhow::Result<Vec<Record>> {
    let records = record::read(file).map_err(anyhow::Error::msg)?;
    if records.is_empty() {
        bail!("{}: nothing was recorded", file.display());
    }
    Ok(records)
}
