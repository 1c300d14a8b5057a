//! How a line of a scenario is shown: its tone, and its letter on the timeline.

use raftdeck_sim::Cue;

use super::theme::Tone;

pub(crate) fn tone(cue: Cue) -> Tone {
    match cue {
        Cue::Comment => Tone::Title,
        Cue::Proof => Tone::Good,
        Cue::Life | Cue::Kill | Cue::Break | Cue::Mend | Cue::Start => Tone::You,
    }
}

/// Its letter on the timeline.
pub(crate) fn mark(cue: Cue) -> Option<char> {
    match cue {
        Cue::Kill => Some('K'),
        Cue::Break => Some('X'),
        Cue::Mend => Some('H'),
        Cue::Start => Some('R'),
        Cue::Comment | Cue::Life | Cue::Proof => None,
    }
}
