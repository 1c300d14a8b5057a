//! What a repetition counts.
//!
//! Laws: the rate counts what is answered within the window; a latency is of what was begun within it, whenever the answer
//! came. So the rate is exact at both ends, and a request that takes longer than the window is not left out of the latencies.

use std::{
    ops::Range,
    sync::Mutex,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

/// Longest latency that is told apart from longer ones.
const LATENCY_MAX_US: u64 = 600_000_000;

/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Counters that all clients share. They run on one thread: the lock is always free.
#[derive(Debug)]
pub(super) struct Tally {
    window: Range<Instant>,
    counts: Mutex<Counts>,
}

/// What was counted.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    /// Answered since the start, warm-up and end included.
    pub(super) answered: u64,
    /// Answered in the window.
    pub(super) in_window: u64,
    /// Calls that failed, warm-up and end included.
    pub(super) errors: u64,
    pub(super) last_error: Option<String>,
    /// In microseconds.
    pub(super) latency: Histogram<u64>,
    /// When each answer came, if that is wanted.
    pub(super) answers: Option<Vec<Instant>>,
}

impl Tally {
    pub(super) fn new(window: Range<Instant>) -> Tally {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS).expect("bounds that it takes");
        let counts = Counts { answered: 0, in_window: 0, errors: 0, last_error: None, latency, answers: None };
        Tally { window, counts: Mutex::new(counts) }
    }

    /// Also notes when each answer came.
    pub(super) fn with_answers(window: Range<Instant>) -> Tally {
        let mut tally = Tally::new(window);
        tally.counts.get_mut().expect("no holder panics").answers = Some(Vec::new());
        tally
    }

    pub(super) fn window(&self) -> &Range<Instant> {
        &self.window
    }

    /// A request that was begun then is answered now, for so many jobs.
    pub(super) fn answered(&self, begun: Instant, jobs: u64) {
        let mut counts = self.counts.lock().expect("no holder panics");
        // Within the lock: the answers are noted in the order of their times.
        let now = Instant::now();
        counts.add(&self.window, begun, now, jobs);
        if let Some(answers) = &mut counts.answers {
            answers.push(now);
        }
    }

    /// Requests that were due then and were not sent by the end: their latency is at least what they waited.
    pub(super) fn unsent(&self, due: impl Iterator<Item = Instant>) -> u64 {
        let mut counts = self.counts.lock().expect("no holder panics");
        let in_window = due.filter(|due| self.window.contains(due));
        in_window.map(|due| counts.record(self.window.end - due)).count() as u64
    }

    pub(super) fn failed(&self, why: String) {
        let mut counts = self.counts.lock().expect("no holder panics");
        counts.errors += 1;
        counts.last_error = Some(why);
    }

    /// Answers and errors so far.
    pub(super) fn so_far(&self) -> (u64, u64) {
        let counts = self.counts.lock().expect("no holder panics");
        (counts.answered, counts.errors)
    }

    /// When the last answer came.
    pub(super) fn last_answer(&self) -> Option<Instant> {
        self.counts.lock().expect("no holder panics").answers.as_ref()?.last().copied()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().expect("no holder panics").clone()
    }
}

impl Counts {
    fn add(&mut self, window: &Range<Instant>, begun: Instant, now: Instant, jobs: u64) {
        self.answered += jobs;
        if window.contains(&now) {
            self.in_window += jobs;
        }
        if window.contains(&begun) {
            self.record(now - begun);
        }
    }

    fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(us.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_answers_and_the_latency_of_beginnings_in_the_window() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let window = at(1000)..at(2000);
        let mut counts = Tally::new(window.clone()).counts();
        for (begun, now) in [(0, 500), (900, 1100), (1100, 1200), (1900, 2400), (2000, 2001)] {
            counts.add(&window, at(begun), at(now), 2);
        }
        assert_eq!((counts.answered, counts.in_window), (10, 4));
        assert_eq!(counts.latency.len(), 2, "begun at 1100 and at 1900");
        assert!(counts.latency.equivalent(counts.latency.min(), 100_000), "{}", counts.latency.min());
        assert!(counts.latency.equivalent(counts.latency.max(), 500_000), "{}", counts.latency.max());
    }

    #[test]
    fn what_was_due_and_never_sent_counts_with_the_time_it_waited() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let tally = Tally::new(at(1000)..at(2000));
        assert_eq!(tally.unsent([at(999), at(1000), at(1750), at(2000)].into_iter()), 2);
        let latency = tally.counts().latency;
        assert_eq!(latency.len(), 2);
        assert!(latency.equivalent(latency.min(), 250_000) && latency.equivalent(latency.max(), 1_000_000));
    }
}
