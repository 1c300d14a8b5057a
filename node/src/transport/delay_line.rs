//! Messages that a fault of the link holds up.
//!
//! Laws:
//! - what waits here is bounded in number and in bytes: what does not fit is lost, as in every full queue of the transport;
//! - messages leave in the order in which they came, whatever their delays: as on a stream. Only what chance holds back is
//!   overtaken.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::faults::Fate;

/// Messages that wait.
const MESSAGES_MAX: usize = 4096;

/// Their bytes.
const BYTES_MAX: usize = 32 << 20;

#[derive(Debug)]
struct Waiting<T> {
    message: T,
    bytes: usize,
    /// Which fault holds it up, and since when; nothing for the second of two copies.
    held: Option<(u64, Instant)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct DelayLine<T> {
    /// By the time at which they leave; the number keeps the order of equals.
    waiting: BTreeMap<(Instant, u64), Waiting<T>>,
    bytes: usize,
    last_number: u64,
    /// When the last one leaves that nothing may overtake.
    last_due: Option<Instant>,
}

/// What left, and what is to be counted of it.
#[derive(Debug)]
pub(super) struct Due<T> {
    pub(super) messages: Vec<T>,
    /// How long a message was held up, and by which fault; of those that were.
    pub(super) delays: Vec<(u64, Duration)>,
}

impl<T: Clone> DelayLine<T> {
    pub(super) fn new() -> DelayLine<T> {
        DelayLine { waiting: BTreeMap::new(), bytes: 0, last_number: 0, last_due: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a message of so many bytes with the fate that a fault has given it. False if there is no room for it: it is lost.
    #[must_use]
    pub(super) fn push(&mut self, now: Instant, (message, bytes): (T, usize), fault: u64, fate: Fate) -> bool {
        let Fate::Passes { delay, held_back, doubled } = fate else { return true };
        let mut due = self.last_due.map_or(now + delay, |last| last.max(now + delay));
        if held_back.is_zero() {
            self.last_due = Some(due);
        }
        due += held_back;
        let copies = 1 + usize::from(doubled);
        if self.waiting.len() + copies > MESSAGES_MAX || self.bytes + copies * bytes > BYTES_MAX {
            return false;
        }
        if doubled {
            self.insert(due, Waiting { message: message.clone(), bytes, held: None });
        }
        self.insert(due, Waiting { message, bytes, held: Some((fault, now)) });
        true
    }

    fn insert(&mut self, due: Instant, waiting: Waiting<T>) {
        self.last_number += 1;
        self.bytes += waiting.bytes;
        self.waiting.insert((due, self.last_number), waiting);
    }

    /// The fault is over: all that waits may leave now.
    pub(super) fn open(&mut self, now: Instant) {
        let due = self.waiting.keys().next().map_or(now, |(first, _)| now.min(*first));
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        self.waiting = waiting.map(|((_, number), waiting)| ((due, number), waiting)).collect();
        self.last_due = None;
    }

    /// Waits until something may leave; for ever, if nothing is here.
    pub(super) async fn due(&self) {
        match self.waiting.keys().next() {
            Some((due, _)) => sleep_until(*due).await,
            None => std::future::pending().await,
        }
    }

    /// What may leave now, as far as it fits a frame.
    pub(super) fn take_due(&mut self, now: Instant, messages_max: usize, bytes_full: usize) -> Due<T> {
        let mut due = Due { messages: Vec::new(), delays: Vec::new() };
        let mut bytes = 0;
        while due.messages.len() < messages_max && bytes < bytes_full {
            let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now) else { break };
            let ((at, _), waiting) = first.remove_entry();
            bytes += waiting.bytes;
            self.bytes -= waiting.bytes;
            due.messages.push(waiting.message);
            due.delays.extend(waiting.held.filter(|(_, since)| at > *since).map(|(fault, since)| (fault, now - since)));
        }
        due
    }

    /// All that waits is lost: of each message, which fault held it up.
    pub(super) fn lose_all(&mut self) -> impl Iterator<Item = u64> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting).into_values().filter_map(|waiting| Some(waiting.held?.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn passes(delay_ms: u32, held_back_ms: u32) -> Fate {
        Fate::Passes { delay: MS * delay_ms, held_back: MS * held_back_ms, doubled: false }
    }

    /// What leaves until so many milliseconds after the start.
    fn left(line: &mut DelayLine<u32>, start: Instant, after_ms: u32) -> Vec<u32> {
        line.take_due(start + MS * after_ms, usize::MAX, usize::MAX).messages
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_leaves_when_its_time_has_come() {
        let (mut line, start) = (DelayLine::new(), Instant::now());
        assert!(line.push(start, (1, 10), 7, passes(50, 0)));
        line.due().await;
        assert_eq!(start.elapsed(), 50 * MS);
        let due = line.take_due(Instant::now(), 1, 1);
        assert_eq!((due.messages, due.delays, line.bytes), (vec![1], vec![(7, 50 * MS)], 0));
        assert!(line.is_empty());
    }

    #[test]
    fn a_shorter_delay_overtakes_nothing_and_what_is_held_back_is_overtaken() {
        let (mut line, start) = (DelayLine::new(), Instant::now());
        for (message, fate) in [(1, passes(50, 0)), (2, passes(10, 0)), (3, passes(10, 5)), (4, passes(10, 0))] {
            assert!(line.push(start, (message, 1), 7, fate));
        }
        assert_eq!(left(&mut line, start, 49), [0; 0]);
        assert_eq!(left(&mut line, start, 50), [1, 2, 4]);
        assert_eq!(left(&mut line, start, 54), [0; 0]);
        assert_eq!(left(&mut line, start, 55), [3]);
    }

    #[test]
    fn a_doubled_message_leaves_twice_and_a_lost_one_never() {
        let (mut line, start) = (DelayLine::new(), Instant::now());
        assert!(line.push(start, (1, 1), 7, Fate::Passes { delay: MS, held_back: Duration::ZERO, doubled: true }));
        assert!(line.push(start, (2, 1), 7, Fate::Lost));
        let due = line.take_due(start + MS, usize::MAX, usize::MAX);
        assert_eq!((due.messages, due.delays), (vec![1, 1], vec![(7, MS)]), "its delay is counted once");
        assert!(line.is_empty());
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let (mut line, start) = (DelayLine::new(), Instant::now());
        let taken = (0..2 * MESSAGES_MAX).filter(|_| line.push(start, (0, 1), 7, passes(10_000, 0))).count();
        assert_eq!(taken, MESSAGES_MAX);
        assert_eq!(line.lose_all().count(), MESSAGES_MAX);
        let big = BYTES_MAX / 4;
        let taken = (0..10).filter(|_| line.push(start, (0, big), 7, passes(10_000, 0))).count();
        assert_eq!((taken, line.bytes), (4, BYTES_MAX));
        left(&mut line, start, 10_000);
        assert_eq!(line.bytes, 0);
    }

    #[test]
    fn a_frame_takes_no_more_than_fits_it() {
        let (mut line, start) = (DelayLine::new(), Instant::now());
        (0..5).for_each(|n| assert!(line.push(start, (n, 10), 7, passes(0, 0))));
        assert_eq!(line.take_due(start, 2, usize::MAX).messages, [0, 1]);
        assert_eq!(line.take_due(start, 5, 15).messages, [2, 3]);
        assert_eq!(line.take_due(start, 5, 15).messages, [4]);
    }

    #[test]
    fn when_the_fault_is_over_all_leave_in_their_order() {
        let (mut line, start) = (DelayLine::new(), Instant::now());
        for (message, fate) in [(1, passes(50, 9)), (2, passes(50, 0)), (3, passes(90, 0))] {
            assert!(line.push(start, (message, 1), 7, fate));
        }
        line.open(start + MS);
        assert_eq!(left(&mut line, start, 1), [1, 2, 3]);
        assert!(line.push(start + MS, (4, 1), 8, passes(1, 0)));
        assert_eq!(left(&mut line, start, 2), [4]);
    }
}
