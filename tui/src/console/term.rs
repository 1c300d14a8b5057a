//! The terminal: taken on start, given back on every way out.
//!
//! Laws:
//! - [`leave`] may be called at any time, any number of times, from any thread: the guard, the panic hook and the signal
//!   path all call it, and the first one does the work;
//! - the terminal is never asked anything: an answer that does not come (tmux, a slow link) would hang the start;
//! - a frame is one write, between the marks of a synchronized update, so that no half of it is ever seen.

use std::{
    io::{self, Write},
    panic,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crossterm::{
    clipboard::CopyToClipboard,
    cursor, event, execute, queue,
    style::Colored,
    terminal::{
        BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
        enable_raw_mode,
    },
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend, layout::Rect};
use rustix::process::{Signal, getpid, kill_process};

use super::simulation;

/// Terminals drop a longer one: 100,000 bytes of base64.
const COPY_BYTES_MAX: usize = 74_994;

static ENTERED: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Collects a frame; only [`FrameWriter::send`] writes. The backend keeps one handle to it and the screen the other.
#[derive(Clone, Debug, Default)]
struct FrameWriter {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Write for FrameWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().expect("no holder panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FrameWriter {
    fn send(&self) -> io::Result<()> {
        let mut bytes = self.bytes.lock().expect("no holder panics");
        let mut out = io::stdout().lock();
        let sent = out.write_all(&bytes).and_then(|()| out.flush());
        bytes.clear();
        sent
    }
}

/// The screen while this console has it. Dropped, it is given back.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<FrameWriter>>,
    frame: FrameWriter,
    mouse: bool,
}

impl Screen {
    pub(crate) fn enter() -> io::Result<Screen> {
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                // What breaks in a simulation is caught there, and shown.
                if thread::current().name() != Some(simulation::THREAD) {
                    leave();
                    before(info);
                }
            }));
        });
        // NO_COLOR is honoured by the theme; the library's way of doing it would take bold and reverse away as well.
        Colored::set_ansi_color_disabled(false);
        take()?;
        let frame = FrameWriter::default();
        let terminal = Terminal::new(CrosstermBackend::new(frame.clone()));
        terminal.map(|terminal| Screen { terminal, frame, mouse: false }).inspect_err(|_| leave())
    }

    /// Draws a frame.
    ///
    /// # Errors
    /// The terminal is gone; or another thread panicked, and its hook has given the terminal back: the message is on the
    /// screen, and nothing may be drawn over it.
    pub(crate) fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if !ENTERED.load(Ordering::SeqCst) {
            return Err(io::Error::other("a part of the console panicked"));
        }
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        let drawn = self.terminal.draw(view).map(|_| ());
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        drawn.and(self.frame.send())
    }

    /// The size of the terminal.
    pub(crate) fn size(&self) -> io::Result<Rect> {
        let size = self.terminal.size()?;
        Ok(Rect::new(0, 0, size.width, size.height))
    }

    /// Hands a text to the terminal's clipboard (OSC 52), cut where terminals stop to listen.
    pub(crate) fn copy(&self, text: &str) -> io::Result<()> {
        let cut: String = text
            .chars()
            .scan(0, |bytes, c| {
                *bytes += c.len_utf8();
                (*bytes <= COPY_BYTES_MAX).then_some(c)
            })
            .collect();
        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(cut))
    }

    /// Takes the mouse, or gives it back to the terminal, which selects text with it.
    pub(crate) fn mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        if on {
            execute!(io::stdout(), event::EnableMouseCapture)
        } else {
            execute!(io::stdout(), event::DisableMouseCapture)
        }
    }

    /// Makes the next frame paint every cell, whatever is on the screen now.
    pub(crate) fn repaint(&mut self) -> io::Result<()> {
        self.terminal.resize(self.size()?)
    }

    /// Stops the process as Ctrl-Z does elsewhere. It may take a moment until the stop is felt: come back by
    /// [`Screen::resume`] when the process has been told to go on.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        leave();
        kill_process(getpid(), Signal::TSTP)?;
        Ok(())
    }

    /// Takes the terminal again after a stop.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        ENTERED.store(false, Ordering::SeqCst);
        take()?;
        if self.mouse {
            self.mouse(true)?;
        }
        self.repaint()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    ENTERED.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, event::EnableBracketedPaste, cursor::Hide).inspect_err(|_| leave())
}

/// Gives the terminal back. What cannot be written any more cannot be helped: the way out goes on.
pub(crate) fn leave() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        let _ = execute!(
            io::stdout(),
            EndSynchronizedUpdate,
            event::DisableBracketedPaste,
            event::DisableMouseCapture,
            event::DisableFocusChange,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _ = disable_raw_mode();
    }
}
