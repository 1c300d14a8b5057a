//! One frame, in microseconds: from the model to the bytes for the terminal, with all that a console keeps there to be
//! drawn from. A usual change is what five busy nodes bring in the time of one frame.

use std::{
    io::{self, Write},
    time::Instant,
};

use raftdeck::console::Stage;
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};

use crate::{Figure, hour};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Of each kind; the median is told.
const FRAMES: u64 = 201;

/// Between two frames.
const FRAME_MS: u64 = 33;

/// Told before: all that is bounded has reached its bound.
const BEFORE_MS: u64 = 20_000;

/// A terminal that nobody looks at.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn terminal((width, height): (u16, u16)) -> Terminal<CrosstermBackend<Nowhere>> {
    let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
    Terminal::with_options(CrosstermBackend::new(Nowhere), TerminalOptions { viewport }).expect("nothing is asked")
}

fn draw_us(terminal: &mut Terminal<CrosstermBackend<Nowhere>>, stage: &Stage) -> f64 {
    let start = Instant::now();
    terminal.draw(|frame| stage.draw(frame)).expect("nothing is written");
    start.elapsed().as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn measure() -> Vec<Figure> {
    let (mut stage, mut speakers) = hour::stage(5);
    hour::tell(&mut stage, &mut speakers, 0, BEFORE_MS);
    let mut now_ms = BEFORE_MS;
    let mut figures = Vec::new();
    for size in SIZES {
        let whole = (0..FRAMES).map(|_| draw_us(&mut terminal(size), &stage)).collect();
        let mut kept = terminal(size);
        let change = (0..FRAMES).map(|_| {
            hour::tell(&mut stage, &mut speakers, now_ms, now_ms + FRAME_MS);
            now_ms += FRAME_MS;
            draw_us(&mut kept, &stage)
        });
        let name = format!("frame {}x{}", size.0, size.1);
        let change = median(change.collect());
        // At 30 frames a second, 600 us are not quite two hundredths of a core.
        figures.push(Figure {
            what: format!("{name}, everything anew"),
            value: median(whole),
            unit: "us",
            goal: 1_200.0,
        });
        figures.push(Figure { what: format!("{name}, a usual change"), value: change, unit: "us", goal: 600.0 });
    }
    figures
}
