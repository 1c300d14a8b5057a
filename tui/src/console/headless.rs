//! The console on a simulation, without a terminal: for tests, and for measuring what a screen of many nodes costs.
//!
//! It is the same model, moved by the same keys, and drawn by the same views; only the loop is missing. Time stands still
//! but for what [`Headless::pass`] lets pass, so what is on a screen depends on nothing but the keys.

use anyhow::Context as _;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};
use tokio::sync::mpsc;

use super::{
    begun, dump,
    model::Model,
    msg::{Body, Msg, Time},
    run, simulated,
    simulation::{Simulation, Stretch},
    theme::{Skin, Theme, UNICODE},
    update::update,
    view,
};

/// See the module.
pub struct Headless {
    pub(crate) model: Model,
    stretches: mpsc::Receiver<Stretch>,
    run_ms: u64,
}

impl Headless {
    /// Looks at the beginning of a simulation. Not to be called inside of an async runtime: it waits.
    ///
    /// # Errors
    /// The system gives no thread, or the simulation did not begin.
    pub fn open(simulation: Simulation) -> anyhow::Result<Headless> {
        let mut stretches = simulation.start().context("cannot simulate")?;
        let mut model = Model::new(String::new(), Skin::new(Theme::Dark, UNICODE));
        simulated(&mut model, simulation);
        begun(&mut model, stretches.blocking_recv().context("the simulation did not begin")?);
        Ok(Headless { model, stretches, run_ms: 0 })
    }

    /// Types; a line feed is Enter. What is asked for has been simulated when this returns.
    pub fn keys(&mut self, keys: &str) {
        for key in keys.chars() {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            self.tell(Body::Key(KeyEvent::new(code, KeyModifiers::NONE)));
            self.settle();
        }
    }

    /// Time passes outside of the simulation, as it does while it is played.
    pub fn pass(&mut self, ms: u64) {
        self.run_ms += ms;
        self.tell(Body::Tick);
        self.settle();
    }

    /// Facts that are kept, from the first that was ever told.
    #[must_use]
    pub fn facts(&self) -> u64 {
        self.model.film.end()
    }

    /// The screen as text.
    #[must_use]
    pub fn screen(&self, width: u16, height: u16) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        view::render(&self.model, buffer.area, &mut buffer);
        dump::text(&buffer)
    }

    fn settle(&mut self) {
        while run::wants(&self.model) {
            let Some(stretch) = self.stretches.blocking_recv() else { return };
            self.tell(Body::Stretch(Box::new(stretch)));
        }
    }

    fn tell(&mut self, body: Body) {
        let at = Time { run_ms: self.run_ms, unix_ms: self.run_ms };
        update(&mut self.model, Msg { at, body });
    }
}
