//! Whose turn it is to send: at once (closed loop), or by a schedule (open loop).
//!
//! By the schedule request `n` is due at `start + n / rate`, whatever became of those before it. A client that comes late
//! takes the oldest request that is due and counts its latency from then: so a stall shows in every request that it held
//! up, not only in those that were under way. (Timers of the runtime are a millisecond coarse, so a thread of its own keeps
//! the schedule and wakes clients.)

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// Given out until they are stopped.
#[derive(Debug)]
pub(super) struct Turns {
    stopped: AtomicBool,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    schedule: Schedule,
    due: Semaphore,
    taken: AtomicU64,
}

/// When each request is due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Instant,
    rate: u32,
}

impl Turns {
    /// From now on, as many a second as `rate` says, or as the clients like.
    pub(super) fn start(rate: Option<u32>) -> Arc<Turns> {
        let open = rate.map(|rate| Open {
            schedule: Schedule { start: Instant::now(), rate },
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
        });
        let turns = Arc::new(Turns { stopped: AtomicBool::new(false), open });
        if turns.open.is_some() {
            let kept = Arc::downgrade(&turns);
            // It ends with the last reference, at the latest when the next request would be due.
            thread::spawn(move || {
                let mut given = 0;
                while let Some(next) = kept.upgrade().and_then(|turns| turns.give(&mut given)) {
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        turns
    }

    /// Lets clients have what is due, and says when the next is.
    fn give(&self, given: &mut u64) -> Option<Instant> {
        let open = self.open.as_ref().filter(|_| !self.stopped.load(Ordering::Relaxed))?;
        let due = open.schedule.due_by(Instant::now());
        open.due.add_permits(usize::try_from(due - *given).unwrap_or(0));
        *given = due;
        Some(open.schedule.at(due))
    }

    /// The time from which the latency of the next request counts; nothing when it is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let Some(open) = &self.open else { return Some(Instant::now()) };
        open.due.acquire().await.ok()?.forget();
        Some(open.schedule.at(open.taken.fetch_add(1, Ordering::Relaxed)))
    }

    /// No more requests.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(open) = &self.open {
            open.due.close();
        }
    }

    /// What was due by then and was not taken.
    pub(super) fn left_at(&self, end: Instant) -> impl Iterator<Item = Instant> {
        self.open.iter().flat_map(move |open| {
            let taken = open.taken.load(Ordering::Relaxed);
            (taken..open.schedule.due_by(end)).map(|n| open.schedule.at(n))
        })
    }
}

impl Schedule {
    fn at(&self, n: u64) -> Instant {
        let (whole, part) = (n / u64::from(self.rate), n % u64::from(self.rate));
        self.start + Duration::from_secs(whole) + Duration::from_nanos(part * 1_000_000_000 / u64::from(self.rate))
    }

    /// How many are due by then: the first is due at the start.
    fn due_by(&self, now: Instant) -> u64 {
        let Some(elapsed) = now.checked_duration_since(self.start) else { return 0 };
        let mut due = u64::try_from(elapsed.as_nanos() * u128::from(self.rate) / 1_000_000_000).unwrap_or(u64::MAX - 1);
        // Both sides round down: the next may be due within the same nanosecond.
        while self.at(due) <= now {
            due += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_does_not_drift() {
        let start = Instant::now();
        for rate in [1, 3, 7, 1000, 999_999, 1_000_000] {
            let schedule = Schedule { start, rate };
            assert_eq!(schedule.at(0), start);
            assert_eq!(schedule.at(u64::from(rate) * 3600), start + Duration::from_secs(3600));
            for n in [0, 1, 2, 6, 7, 1_000_003] {
                assert_eq!(schedule.due_by(schedule.at(n)), n + 1, "{n} at {rate}/s");
                assert_eq!(schedule.due_by(schedule.at(n + 1) - Duration::from_nanos(1)), n + 1, "{n} at {rate}/s");
            }
        }
    }

    #[tokio::test]
    async fn a_late_client_counts_from_when_it_was_due() {
        let turns = Turns::start(Some(1000));
        let first = turns.next().await.unwrap();
        for n in 1..50 {
            assert_eq!(turns.next().await.unwrap(), first + Duration::from_millis(n));
        }
        assert!(first.elapsed() >= Duration::from_millis(49), "no request goes before it is due");
        turns.stop();
        assert_eq!(turns.next().await, None);
        let left: Vec<_> = turns.left_at(first + Duration::from_millis(52)).map(|due| due - first).collect();
        assert_eq!(left, [50, 51, 52].map(Duration::from_millis));
    }

    #[tokio::test]
    async fn a_closed_loop_is_always_due_until_it_is_stopped() {
        let turns = Turns::start(None);
        let before = Instant::now();
        assert!(turns.next().await.unwrap() >= before);
        assert_eq!(turns.left_at(before + Duration::from_secs(9)).count(), 0);
        turns.stop();
        assert_eq!(turns.next().await, None);
    }
}
