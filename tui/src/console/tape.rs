//! The last minutes in slices of a second: which term had a leader, how many jobs ended, what was done and what went wrong. Of a
//! simulation, in which much happens in little time, the slices are a tenth of that.

use std::collections::VecDeque;

use raftdeck_shared::{
    ids::Term,
    wire::{self, ObservationKind as Kind},
};

/// Slices kept.
const KEPT: usize = 600;

/// One slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Of the run of the console, from 0.
    pub(crate) number: u64,
    /// Of the leader at the end of it; none without one.
    pub(crate) term: Option<Term>,
    /// Some part of it had no leader.
    pub(crate) gap: bool,
    /// Jobs ended, so far in all. None: nobody has said yet.
    pub(crate) ended: Option<u64>,
    /// What happened: `K` kill, `X` cut, `H` heal, `R` restart, `E` election, `!` a node lost.
    pub(crate) mark: Option<char>,
}

#[derive(Clone, Debug)]
pub(crate) struct Tape {
    slice_ms: u64,
    slices: VecDeque<Slice>,
}

impl Default for Tape {
    fn default() -> Tape {
        Tape { slice_ms: 1000, slices: VecDeque::new() }
    }
}

impl Tape {
    /// Of a simulation.
    pub(crate) fn fine() -> Tape {
        Tape { slice_ms: 100, ..Tape::default() }
    }

    /// The slice that a time of the run is in.
    pub(crate) fn number(&self, run_ms: u64) -> u64 {
        run_ms / self.slice_ms
    }

    /// Jobs ended in a slice, as they are called.
    pub(crate) fn unit(&self) -> &'static str {
        if self.slice_ms == 1000 { "jobs/s" } else { "jobs" }
    }

    /// What holds now.
    pub(crate) fn pass(&mut self, run_ms: u64, term: Option<Term>, ended: Option<u64>) {
        let slice = self.now(run_ms);
        slice.gap |= term.is_none();
        slice.term = term;
        slice.ended = slice.ended.max(ended);
    }

    /// Of several marks in one slice the first stays, but anything is more than an election.
    pub(crate) fn mark(&mut self, run_ms: u64, mark: char) {
        let slice = self.now(run_ms);
        if slice.mark.is_none_or(|there| there == 'E') {
            slice.mark = Some(mark);
        }
    }

    pub(crate) fn observed(&mut self, run_ms: u64, o: &wire::Observation) {
        match o.kind() {
            Kind::Role if matches!(o.role(), wire::Role::Candidate | wire::Role::Leader) => self.mark(run_ms, 'E'),
            Kind::Fault if o.cause == "healed" || o.cause == "ran out" => self.mark(run_ms, 'H'),
            Kind::Fault => self.mark(run_ms, 'X'),
            _ => {}
        }
    }

    /// The mark of what the operator did, by its sentence.
    pub(crate) fn of_act(text: &str) -> Option<char> {
        [("YOU kill", 'K'), ("YOU cut", 'X'), ("YOU heal", 'H'), ("YOU restart", 'R')]
            .into_iter()
            .find_map(|(said, mark)| text.starts_with(said).then_some(mark))
    }

    fn now(&mut self, run_ms: u64) -> &mut Slice {
        let number = self.number(run_ms);
        let last = self.slices.back().copied();
        if last.is_none_or(|last| last.number < number) {
            let unknown = Slice { number, term: None, gap: false, ended: None, mark: None };
            let before = last.unwrap_or(unknown);
            // Slices in which nothing came are as the one before.
            let from = (before.number + 1).max(number.saturating_sub(KEPT as u64)).min(number);
            for quiet in from..=number {
                self.slices.push_back(Slice {
                    number: quiet,
                    gap: last.is_some() && before.term.is_none(),
                    mark: None,
                    ..before
                });
            }
            while self.slices.len() > KEPT {
                self.slices.pop_front();
            }
        }
        self.slices.back_mut().expect("one was pushed")
    }

    /// A slice, with the jobs that ended in it.
    pub(crate) fn at(&self, number: u64) -> Option<(Slice, u64)> {
        let first = self.slices.front()?.number;
        let at = usize::try_from(number.checked_sub(first)?).ok()?;
        let slice = *self.slices.get(at)?;
        let before = at.checked_sub(1).and_then(|before| self.slices.get(before)?.ended);
        let ended = before.zip(slice.ended).map_or(0, |(before, ended)| ended.saturating_sub(before));
        Some((slice, ended))
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.slices.back().map(|s| s.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_seconds_are_as_the_one_before() {
        let mut tape = Tape::default();
        tape.pass(500, Some(Term(5)), Some(100));
        assert!(!tape.at(0).unwrap().0.gap, "of the time before nothing is known");
        tape.pass(900, None, Some(100));
        tape.mark(950, 'E');
        tape.mark(960, 'K');
        tape.mark(970, 'X');
        tape.pass(4_100, Some(Term(6)), Some(130));
        let slice = |second| tape.at(second).unwrap();
        assert_eq!((slice(0).0.gap, slice(0).0.mark), (true, Some('K')));
        assert!(slice(2).0.gap && slice(2).0.term.is_none());
        assert_eq!((slice(4).0.term, slice(4).1), (Some(Term(6)), 30));
        assert_eq!((tape.at(5), tape.last()), (None, Some(4)));
    }

    #[test]
    fn what_was_done_before_anybody_told_of_it_is_no_work_of_a_second() {
        let mut tape = Tape::default();
        tape.pass(500, None, None);
        tape.pass(1_500, Some(Term(5)), Some(9_120));
        tape.pass(2_500, Some(Term(5)), Some(9_125));
        assert_eq!([0, 1, 2].map(|second| tape.at(second).unwrap().1), [0, 0, 5]);
    }

    #[test]
    fn it_keeps_ten_minutes_however_long_the_silence() {
        let mut tape = Tape::default();
        tape.pass(0, None, None);
        tape.pass(u64::MAX, None, Some(u64::MAX));
        assert_eq!(tape.slices.len(), KEPT);
        tape.pass(3, Some(Term(1)), Some(0));
        assert_eq!(tape.slices.len(), KEPT, "time does not run back");
    }
}
