//! What a line of a scenario does to the cluster: its tone, and its letter on the timeline.

use serde::{Deserialize, Serialize};

use super::theme::Tone;

/// What a line of a scenario does to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cue {
    Comment,
    /// Time passes, somebody asks for something.
    Life,
    Kill,
    /// Something else goes wrong.
    Break,
    Mend,
    Start,
    /// What was expected is so.
    Proof,
}

impl Cue {
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Cue::Kill | Cue::Break => true,
            Cue::Comment | Cue::Life | Cue::Mend | Cue::Start | Cue::Proof => false,
        }
    }

    pub(crate) fn tone(self) -> Tone {
        match self {
            Cue::Comment => Tone::Title,
            Cue::Proof => Tone::Good,
            Cue::Life | Cue::Kill | Cue::Break | Cue::Mend | Cue::Start => Tone::You,
        }
    }

    /// Its letter on the timeline.
    pub(crate) fn mark(self) -> Option<char> {
        match self {
            Cue::Kill => Some('K'),
            Cue::Break => Some('X'),
            Cue::Mend => Some('H'),
            Cue::Start => Some('R'),
            Cue::Comment | Cue::Life | Cue::Proof => None,
        }
    }
}
