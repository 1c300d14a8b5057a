//! What becomes of messages on a link with a fault.
//!
//! The chance is the fault's own: a small generator that begins with it, so that nothing else in the process draws from it.

use std::time::Duration;

use raftdeck_shared::{faults::WHOLE_PPM, wire::LinkFault};

/// A message that is reordered is held back for at most so long.
pub(super) const HELD_BACK_MAX: Duration = Duration::from_millis(20);

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is lost.
    Lost,
    /// It arrives.
    Passes {
        /// So much later; none overtakes another by it.
        delay: Duration,
        /// So much later again: those behind it overtake it.
        held_back: Duration,
        /// Twice.
        doubled: bool,
    },
}

impl Fate {
    /// As if there were no fault.
    pub(crate) const UNHARMED: Fate = Fate::Passes { delay: Duration::ZERO, held_back: Duration::ZERO, doubled: false };
}

/// SplitMix64 (Steele, Lea, Flood 2014): chance enough for a fault.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn hits(&mut self, ppm: u32) -> bool {
        self.draw() % u64::from(WHOLE_PPM) < u64::from(ppm)
    }

    fn up_to(&mut self, max: Duration) -> Duration {
        let max = u64::try_from(max.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.draw() % (max + 1))
    }

    /// Draws what becomes of a message.
    pub(super) fn fate(&mut self, link: &LinkFault) -> Fate {
        if self.hits(link.loss_ppm) {
            return Fate::Lost;
        }
        let delay = Duration::from_millis(link.delay_ms.into());
        let jitter = Duration::from_millis(link.jitter_ms.into());
        let held_back = if self.hits(link.reorder_ppm) {
            Duration::from_micros(1) + self.up_to(HELD_BACK_MAX)
        } else {
            Duration::ZERO
        };
        Fate::Passes { delay: delay + self.up_to(jitter), held_back, doubled: self.hits(link.duplicate_ppm) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(link: &LinkFault) -> Vec<Fate> {
        let mut chance = Chance::new(7);
        (0..10_000).map(|_| chance.fate(link)).collect()
    }

    #[test]
    fn parts_are_kept_and_their_ends_are_certain() {
        let all = |loss_ppm| fates(&LinkFault { loss_ppm, delay_ms: 1, ..Default::default() });
        let lost = |loss_ppm| all(loss_ppm).iter().filter(|fate| **fate == Fate::Lost).count();
        assert_eq!((lost(0), lost(WHOLE_PPM)), (0, 10_000));
        assert!((900..1100).contains(&lost(100_000)), "{} of 10000 are lost", lost(100_000));
    }

    #[test]
    fn times_stay_within_their_bounds() {
        let link = LinkFault {
            delay_ms: 50,
            jitter_ms: 10,
            duplicate_ppm: 500_000,
            reorder_ppm: 500_000,
            ..Default::default()
        };
        let (mut doubles, mut held, mut least, mut most) = (0, 0, Duration::MAX, Duration::ZERO);
        for fate in fates(&link) {
            let Fate::Passes { delay, held_back, doubled } = fate else { panic!("nothing is lost here") };
            (least, most) = (least.min(delay), most.max(delay));
            assert!(held_back <= HELD_BACK_MAX + Duration::from_micros(1));
            doubles += u32::from(doubled);
            held += u32::from(held_back > Duration::ZERO);
        }
        let ms = Duration::from_millis;
        assert!(least >= ms(50) && least < ms(51) && most <= ms(60) && most > ms(59), "{least:?} to {most:?}");
        assert!((4_700..5_300).contains(&doubles) && (4_700..5_300).contains(&held), "{doubles} {held}");
    }
}
