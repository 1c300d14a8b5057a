//! What a line of a scenario does to the cluster: its tone, and its letter on the timeline.

use serde::{Deserialize, Serialize};

use super::theme::Tone;

/// What a line of a scenario does to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deed {
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

impl Deed {
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Deed::Kill | Deed::Break => true,
            Deed::Comment | Deed::Life | Deed::Mend | Deed::Start | Deed::Proof => false,
        }
    }

    pub(crate) fn tone(self) -> Tone {
        match self {
            Deed::Comment => Tone::Title,
            Deed::Proof => Tone::Good,
            Deed::Life | Deed::Kill | Deed::Break | Deed::Mend | Deed::Start => Tone::You,
        }
    }

    /// Its letter on the timeline.
    pub(crate) fn mark(self) -> Option<char> {
        match self {
            Deed::Kill => Some('K'),
            Deed::Break => Some('X'),
            Deed::Mend => Some('H'),
            Deed::Start => Some('R'),
            Deed::Comment | Deed::Life | Deed::Proof => None,
        }
    }
}
