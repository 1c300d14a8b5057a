//! What ends a verb from outside, for verbs that have something to clear away.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// Listened for before anything is started that would have to be ended.
#[derive(Debug)]
pub struct Signals {
    verb: &'static str,
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn listen(verb: &'static str) -> Result<Signals, Failure> {
        let listen = |kind| signal(kind).map_err(|e| Failure::Refused(format!("{verb}: {e}")));
        Ok(Signals {
            verb,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Goes on with the work until one comes.
    ///
    /// # Errors
    /// Of the work, or that one came.
    pub async fn or<T, E: Into<Failure>>(&mut self, work: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
        let why = tokio::select! {
            done = work => return done.map_err(Into::into),
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "terminated",
            _ = self.hangup.recv() => "the terminal was closed",
        };
        Err(Failure::Refused(format!("{}: {why}", self.verb)))
    }
}
