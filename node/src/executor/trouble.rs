//! Patience with a cluster that does not answer: pauses that grow, and one line in the log instead of a thousand.

use std::time::Duration;

use raftdeck_shared::client::ClientError;
use tokio::time::sleep;
use tonic::Code;
use tracing::{info, warn};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Errors in a row while doing one thing. Logged when the kind of error changes, and when it is over.
pub(super) struct Trouble {
    doing: &'static str,
    pause: Duration,
    kind: Option<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unreachable,
    Refused(Code),
    Unknown,
}

impl Trouble {
    pub(super) fn while_(doing: &'static str) -> Trouble {
        Trouble { doing, pause: PAUSE_MIN, kind: None }
    }

    /// Takes note of an error, and waits before the next try.
    pub(super) async fn pause(&mut self, error: &ClientError) {
        let kind = match error {
            ClientError::Unreachable(_) => Kind::Unreachable,
            ClientError::Refused { code, message: _ } => Kind::Refused(*code),
            ClientError::Unknown(_) => Kind::Unknown,
        };
        if self.kind.replace(kind) != Some(kind) {
            warn!("{}: {error}", self.doing);
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Takes note of a success.
    pub(super) fn over(&mut self) {
        if self.kind.take().is_some() {
            info!("{}: works again", self.doing);
        }
        self.pause = PAUSE_MIN;
    }
}
