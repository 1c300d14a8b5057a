//! How many jobs end in a second, measured from what the nodes say.
//!
//! The count of ended jobs is replicated state: whoever tells it, the highest is the newest. Between two statuses it
//! stands as it was told, so a cluster that falls silent falls to nothing within [`WINDOW_MS`].

use std::collections::VecDeque;

/// Over how long the pace is measured.
const WINDOW_MS: u64 = 5_000;

/// A shorter time than this says nothing yet.
const SHORTEST_MS: u64 = 1_000;

/// Counts of ended jobs, each with the time since the console's start when it was first told. Never empty after the
/// first one; at most one is older than the window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    told: VecDeque<(u64, u64)>,
    /// When a count was last told, a new one or not: one alone is no pace.
    last_told_ms: u64,
}

impl Pace {
    pub(crate) fn add(&mut self, run_ms: u64, ended: u64) {
        self.last_told_ms = run_ms;
        if self.told.back().is_none_or(|(_, before)| ended > *before) {
            self.told.push_back((run_ms, ended));
        }
        let old = run_ms.saturating_sub(WINDOW_MS);
        while self.told.get(1).is_some_and(|(at, _)| *at <= old) {
            self.told.pop_front();
        }
    }

    /// Jobs a second, rounded. Nothing until two counts have been told, and enough has been seen.
    pub(crate) fn jobs_per_s(&self, run_ms: u64) -> Option<u64> {
        let from_ms = run_ms.saturating_sub(WINDOW_MS);
        let (first_ms, _) = *self.told.front()?;
        let (_, now) = *self.told.back()?;
        let (_, before) = *self.told.iter().rev().find(|(at, _)| *at <= from_ms).or(self.told.front())?;
        let over_ms = run_ms.saturating_sub(first_ms.max(from_ms));
        (over_ms >= SHORTEST_MS && self.last_told_ms > first_ms)
            .then(|| now.saturating_sub(before).saturating_mul(1000).saturating_add(over_ms / 2) / over_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let mut pace = Pace::default();
        assert_eq!(pace.jobs_per_s(9_000), None);
        for at in 0..=100 {
            pace.add(at * 100, 9_000 + at * 2);
        }
        assert_eq!(pace.jobs_per_s(10_000), Some(20));
        assert!(pace.told.len() <= 52);
        pace.add(10_100, 9_190);
        assert_eq!(pace.jobs_per_s(12_500), Some(10), "an older word takes nothing back, and time goes on");
        assert_eq!(pace.jobs_per_s(15_000), Some(0));
        pace.add(80_000, 9_250);
        assert_eq!(pace.jobs_per_s(80_000), Some(10), "what was not told since stood as it was");
    }

    #[test]
    fn a_short_time_says_nothing() {
        let mut pace = Pace::default();
        pace.add(100, 5);
        assert_eq!(pace.jobs_per_s(9_000), None, "one count is no pace");
        pace.add(1_000, 9);
        assert_eq!(pace.jobs_per_s(1_000), None);
        assert_eq!(pace.jobs_per_s(2_100), Some(2));
    }
}
