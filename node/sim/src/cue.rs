//! What a line of a scenario, or a fault of a seed, does to the cluster: for whoever looks on, who tells lines apart by it.

use serde::{Deserialize, Serialize};

/// What a line does to the cluster. Its names stand in recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cue {
    /// Nothing: it is a comment.
    Comment,
    /// Time passes, somebody asks for something.
    Life,
    /// A node ends.
    Kill,
    /// Something else goes wrong.
    Break,
    /// Something is as it should be again.
    Mend,
    /// A node starts.
    Start,
    /// What was expected is so.
    Proof,
}

impl Cue {
    /// Whether something goes wrong by it.
    #[must_use]
    pub fn is_fault(self) -> bool {
        match self {
            Cue::Kill | Cue::Break => true,
            Cue::Comment | Cue::Life | Cue::Mend | Cue::Start | Cue::Proof => false,
        }
    }
}
