//! The past: every fact the world took, and now and then the world itself, so that any moment can be had again.
//!
//! Facts are kept in the order of hybrid time, not in that in which they came: of two streams one is always a little ahead of
//! the other, and a moment of the past has to have all that had happened until then, and nothing else. Each fact has a
//! [`Moment`]: an observation that of its stamp, anything else (what a node says of itself, an act, a connection that broke)
//! the one right after all that had been told when it came. *As of T* is: the facts whose moment is not after T.
//!
//! Going to a moment is: the last still before it, and the facts from there. A film of the running cluster is bounded: the
//! last ten minutes, and at most some tens of megabytes; what is older goes in whole stretches from still to still. A film
//! that was read from a file is whole.
//!
//! Laws:
//! - the world at a position is made of the facts before it, by the function that made the live one; a fact that comes late
//!   is given to the stills that ought to have it, and as of its moment: else time would have run on there to when it came;
//! - there is always a still at or before the first record, so every position that is kept can be shown.

use std::collections::VecDeque;

use raftdeck_shared::wire::{self, ObservationKind as Kind};
use raftdeck_sim::Cue;

use super::{
    events::Stamp,
    msg::{NodeMsg, Time},
    theme::Tone,
    world::{Fact, NODES_MAX, World},
};

/// How far back the film of a running cluster goes.
pub(crate) const KEPT_MS: u64 = 600_000;

/// Bytes of facts kept of a running cluster, as estimated by [`weight`].
pub(crate) const KEPT_BYTES: usize = 24 << 20;

/// The same of a simulation, in which more happens.
const KEPT_SIMULATED_BYTES: usize = 96 << 20;

/// A still is made after so many facts: the most that one step back has to take again.
const STILL_EVERY: u64 = 8192;

/// Stills of a film from a file; a long one has them further apart.
const STILLS_MAX: u64 = 48;

/// How a record matters to somebody who goes through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    Nothing,
    /// An observation that is no line of the story.
    Seen,
    /// A line of the story.
    Event,
    /// A fault, an act of the operator, a role changed: where one wants to jump to.
    Turn,
    /// A law was broken.
    Broken,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) at: Time,
    pub(crate) fact: Fact,
}

/// A place in hybrid time; of what has the same stamp, as something that is told twice, in the order in which it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    stamp: Stamp,
    /// How many facts had come before.
    came: u64,
}

impl Moment {
    /// The end of a millisecond: whatever is stamped with it is not after this.
    pub(crate) fn end_of(at_ms: u64) -> Moment {
        let stamp = Stamp { at_ms, logical: u32::MAX, node: u64::MAX, seq: u64::MAX };
        Moment { stamp, came: u64::MAX }
    }

    /// Unix milliseconds.
    pub(crate) fn at_ms(self) -> u64 {
        self.stamp.at_ms
    }
}

/// A record in its place.
#[derive(Clone, Debug)]
struct Kept {
    moment: Moment,
    /// When the past takes it: not later than what is behind it.
    taken: Time,
    record: Record,
    mark: Mark,
}

#[derive(Clone, Debug)]
pub(crate) struct Film {
    /// Position of the oldest record.
    first: u64,
    records: VecDeque<Kept>,
    /// Worlds as they were before the record at a position; the first is at or before `first`.
    stills: VecDeque<(u64, World)>,
    bytes: usize,
    still_every: u64,
    keep: Keep,
    /// Laws known to be broken.
    broken: usize,
    /// Facts that ever came.
    came: u64,
    newest: Stamp,
    /// Since when each node is known: nothing that it tells is shown before it has a row.
    members: Vec<Stamp>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
struct Keep {
    ms: u64,
    bytes: usize,
}

impl Keep {
    const LIVE: Keep = Keep { ms: KEPT_MS, bytes: KEPT_BYTES };
    const SIMULATED: Keep = Keep { ms: u64::MAX, bytes: KEPT_SIMULATED_BYTES };
    const ALL: Keep = Keep { ms: u64::MAX, bytes: usize::MAX };
}

impl Film {
    /// Of a cluster that is watched from now on.
    pub(crate) fn of_live(world: World) -> Film {
        Film::new(world, Keep::LIVE)
    }

    /// Of a simulation that is to begin.
    pub(crate) fn of_simulation(world: World) -> Film {
        Film::new(world, Keep::SIMULATED)
    }

    fn new(world: World, keep: Keep) -> Film {
        Film {
            first: 0,
            records: VecDeque::new(),
            stills: VecDeque::from([(0, world)]),
            bytes: 0,
            still_every: STILL_EVERY,
            keep,
            broken: 0,
            came: 0,
            newest: Stamp::default(),
            members: Vec::new(),
        }
    }

    /// Of a recording.
    pub(crate) fn of_records(records: impl ExactSizeIterator<Item = Record>) -> (Film, World) {
        let mut world = World::default();
        let mut film = Film::new(world.clone(), Keep::ALL);
        film.still_every = STILL_EVERY.max(records.len() as u64 / STILLS_MAX);
        for record in records {
            world.take(record.at, &record.fact);
            film.push(record, &world);
        }
        (film, world)
    }

    /// Position behind the newest record.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Time of the oldest record and of the newest.
    pub(crate) fn span(&self) -> Option<(Time, Time)> {
        Some((self.records.front()?.time(), self.records.back()?.time()))
    }

    /// Adds what the world, here as it is after it, has taken; tells at which position it is now.
    pub(crate) fn push(&mut self, record: Record, after: &World) -> u64 {
        self.bytes += weight(&record.fact);
        let now_ms = record.at.run_ms;
        let found = after.checks.broken.len();
        let mark = if found > self.broken { Mark::Broken } else { mark(&record.fact) };
        self.broken = found;
        let moment = self.moment(&record);
        // Of one that was not heard for a minute all of it comes at once, and each is behind some ten thousand others.
        let place = self.records.partition_point(|kept| kept.moment <= moment);
        let position = self.first + place as u64;
        let next = self.records.get(place).map(|next| next.taken);
        let times = [Some(record.at), Some(time_of(moment, record.at)), next].into_iter().flatten();
        let taken = times.min_by_key(|time| time.run_ms).unwrap_or(record.at);
        for (at, world) in self.stills.iter_mut().rev().take_while(|(at, _)| *at > position) {
            *at += 1;
            world.take(taken, &record.fact);
        }
        self.records.insert(place, Kept { moment, taken, record, mark });
        if self.end() >= self.stills.back().map_or(0, |still| still.0) + self.still_every {
            self.stills.push_back((self.end(), after.clone()));
        }
        // Where little happens a stretch is longer than what is kept: it goes when the newest of it is old.
        let old = |film: &Film| {
            let newest = film.at(film.stills.get(1)?.0.checked_sub(1)?)?;
            Some(film.bytes > film.keep.bytes || now_ms.saturating_sub(newest.taken.run_ms) > film.keep.ms)
        };
        while old(self) == Some(true) {
            let upto = self.stills[1].0;
            self.stills.pop_front();
            while self.first < upto {
                let gone = self.records.pop_front();
                self.bytes -= gone.map_or(0, |kept| weight(&kept.record.fact));
                self.first += 1;
            }
        }
        position
    }

    /// Where a fact belongs that comes now.
    fn moment(&mut self, record: &Record) -> Moment {
        let unix_ms = record.at.unix_ms;
        let now = match self.newest {
            Stamp { at_ms, .. } if unix_ms > at_ms => Stamp { at_ms: unix_ms, ..Stamp::default() },
            Stamp { at_ms, logical, .. } => Stamp { at_ms, logical: logical.saturating_add(1), ..Stamp::default() },
        };
        let stamp = match &record.fact {
            Fact::Node(slot, NodeMsg::Observed(o)) => {
                Stamp::of(o).max(self.members.get(slot.0).copied().unwrap_or_default())
            }
            Fact::Member { .. } => {
                if self.members.len() < NODES_MAX {
                    self.members.push(now);
                }
                now
            }
            Fact::Node(_, _)
            | Fact::Moved { .. }
            | Fact::Jobs(_)
            | Fact::Job(_)
            | Fact::Own(_, _)
            | Fact::Script { .. }
            | Fact::Broken(_) => now,
        };
        self.newest = self.newest.max(stamp);
        self.came += 1;
        Moment { stamp, came: self.came }
    }

    /// The world as it was when it had taken the records before a position.
    pub(crate) fn world_at(&self, position: u64) -> World {
        let position = position.clamp(self.first, self.end());
        let still = self.stills.iter().rev().find(|(at, _)| *at <= position).unwrap_or(&self.stills[0]);
        let mut world = still.1.clone();
        self.forward(&mut world, still.0, position);
        world
    }

    /// Takes a world on from one position to a later one.
    pub(crate) fn forward(&self, world: &mut World, from: u64, to: u64) {
        for position in from.max(self.first)..to.min(self.end()) {
            let Kept { taken, record, .. } = &self.records[(position - self.first) as usize];
            world.take(*taken, &record.fact);
        }
    }

    /// The position behind all records up to a moment.
    pub(crate) fn position(&self, upto: Moment) -> u64 {
        self.first + self.records.partition_point(|kept| kept.moment <= upto) as u64
    }

    /// The end of a millisecond of the run, in hybrid time.
    pub(crate) fn moment_at(&self, run_ms: u64) -> Moment {
        // As far after the record before it as the run says.
        let at = self.records.partition_point(|kept| kept.time().run_ms <= run_ms);
        let Some(near) = self.records.get(at.saturating_sub(1)) else { return Moment::default() };
        let Time { run_ms: near_ms, unix_ms } = near.time();
        Moment::end_of(unix_ms.saturating_add(run_ms).saturating_sub(near_ms))
    }

    /// The next record at or after a position that is looked for, or the last one before it.
    pub(crate) fn find(&self, position: u64, back: bool, wanted: impl Fn(&Fact, Mark) -> bool) -> Option<u64> {
        let at = usize::try_from(position.clamp(self.first, self.end()) - self.first).ok()?;
        let matters = |(_, kept): &(usize, &Kept)| wanted(&kept.record.fact, kept.mark);
        let found = if back {
            self.records.iter().enumerate().take(at).rev().find(&matters)
        } else {
            self.records.iter().enumerate().skip(at).find(&matters)
        };
        found.map(|(at, _)| self.first + at as u64)
    }

    /// The record at a position, if it is kept.
    fn at(&self, position: u64) -> Option<&Kept> {
        self.records.get(usize::try_from(position.checked_sub(self.first)?).ok()?)
    }

    /// Where in hybrid time a record is.
    pub(crate) fn moment_of(&self, position: u64) -> Option<Moment> {
        self.at(position).map(|kept| kept.moment)
    }

    /// When that is.
    pub(crate) fn time(&self, position: u64) -> Option<Time> {
        self.at(position).map(Kept::time)
    }

    /// Facts that ever came.
    pub(crate) fn came(&self) -> u64 {
        self.came
    }

    /// The facts that came after so many others, in the order in which they came.
    pub(crate) fn since(&self, came: u64) -> Vec<&Record> {
        let mut wanted = usize::try_from(self.came - came).unwrap_or(usize::MAX).min(self.records.len());
        let mut found: Vec<&Kept> = Vec::new();
        for kept in self.records.iter().rev() {
            if wanted == 0 {
                break;
            }
            if kept.moment.came > came {
                wanted -= 1;
                found.push(kept);
            }
        }
        found.sort_unstable_by_key(|kept| kept.moment.came);
        found.into_iter().map(|kept| &kept.record).collect()
    }

    /// Unix time of the day, as milliseconds since midnight, to the newest time of the run that shows it.
    pub(crate) fn run_ms_of_day(&self, of_day_ms: u64) -> Option<u64> {
        const DAY_MS: u64 = 86_400_000;
        let (first, last) = self.span()?;
        let back = (last.unix_ms % DAY_MS + DAY_MS - of_day_ms % DAY_MS) % DAY_MS;
        let at = last.run_ms.checked_sub(back)?;
        (at >= first.run_ms).then_some(at)
    }
}

impl Kept {
    fn time(&self) -> Time {
        time_of(self.moment, self.record.at)
    }
}

/// A place in hybrid time as a time of the run and of the day, for what came at this time.
fn time_of(moment: Moment, Time { run_ms, unix_ms }: Time) -> Time {
    let at_ms = moment.at_ms();
    Time { run_ms: run_ms.saturating_add(at_ms).saturating_sub(unix_ms), unix_ms: at_ms }
}

/// What a fact costs in memory, near enough.
fn weight(fact: &Fact) -> usize {
    let all = size_of::<Kept>();
    all + match fact {
        Fact::Node(_, NodeMsg::Snapshot(status) | NodeMsg::Status(status)) => {
            let known: usize = status.known.iter().map(|k| size_of_val(k) + k.name.len() + k.api.len()).sum();
            size_of_val(&**status)
                + 48 * status.peers.len()
                + 8 * status.voters.len()
                + 80 * status.queues.len()
                + known
                + 160
        }
        Fact::Node(_, NodeMsg::Observed(o)) => size_of_val(&**o) + o.cause.len() + o.boot_id.len() + 16,
        Fact::Node(
            _,
            NodeMsg::Connecting
            | NodeMsg::Silent { .. }
            | NodeMsg::Heard
            | NodeMsg::Retrying { .. }
            | NodeMsg::Dropped(_),
        ) => 40,
        Fact::Member { name, api, .. } => name.len() + api.len(),
        Fact::Moved { api, .. } => api.len(),
        Fact::Own(_, text) | Fact::Broken(text) | Fact::Script { text, .. } => text.len(),
        Fact::Jobs(page) => 400 * page.jobs.len(),
        Fact::Job(job) => 1_000 + 120 * job.history.len(),
    }
}

fn mark(fact: &Fact) -> Mark {
    match fact {
        Fact::Own(Tone::You, _) => Mark::Turn,
        Fact::Script { cue, .. } => match cue {
            Cue::Kill | Cue::Break | Cue::Mend | Cue::Start => Mark::Turn,
            Cue::Comment | Cue::Life | Cue::Proof => Mark::Event,
        },
        Fact::Broken(_) => Mark::Broken,
        Fact::Own(_, _) => Mark::Event,
        Fact::Node(_, NodeMsg::Observed(o)) => mark_of(o),
        Fact::Node(_, NodeMsg::Dropped(_)) => Mark::Event,
        Fact::Member { .. } | Fact::Moved { .. } | Fact::Jobs(_) | Fact::Job(_) | Fact::Node(_, _) => Mark::Nothing,
    }
}

fn mark_of(o: &wire::Observation) -> Mark {
    match o.kind() {
        Kind::Fault | Kind::Damage => Mark::Turn,
        Kind::Role if o.role() != wire::Role::Follower => Mark::Turn,
        Kind::Role | Kind::VoteCast | Kind::Truncated | Kind::Link | Kind::Node | Kind::Membership | Kind::Transfer => {
            Mark::Event
        }
        Kind::Unspecified
        | Kind::Term
        | Kind::Leader
        | Kind::VoteReceived
        | Kind::Appended
        | Kind::Committed
        | Kind::Progress
        | Kind::Job
        | Kind::Snapshot => Mark::Seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(run_ms: u64, tone: Tone) -> Record {
        Record { at: Time { run_ms, unix_ms: 86_400_000 * 9 + run_ms }, fact: Fact::Own(tone, format!("at {run_ms}")) }
    }

    fn texts(world: &World) -> Vec<String> {
        world.wanted(true, None).into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn any_moment_is_the_world_that_was_live_there() {
        let mut world = World::default();
        let mut film = Film { still_every: 4, ..Film::of_live(world.clone()) };
        let mut lived = vec![texts(&world)];
        for at in 0..23 {
            let record = record(at * 10, Tone::Plain);
            world.take(record.at, &record.fact);
            film.push(record, &world);
            lived.push(texts(&world));
        }
        for (position, then) in lived.iter().enumerate() {
            assert_eq!(texts(&film.world_at(position as u64)), *then, "{position}");
        }
        let position = |run_ms| film.position(film.moment_at(run_ms));
        assert_eq!((position(45), position(0), position(9_999)), (5, 1, 23));
        assert_eq!(film.run_ms_of_day(100), Some(100));
        assert_eq!(film.run_ms_of_day(100_000), None);
    }

    #[test]
    fn what_is_old_goes_and_what_is_left_can_still_be_shown() {
        let mut world = World::default();
        let mut film = Film { still_every: 4, ..Film::of_live(world.clone()) };
        for at in 0..100 {
            let record = record(at * KEPT_MS / 50, Tone::Plain);
            world.take(record.at, &record.fact);
            film.push(record, &world);
        }
        assert!((46..56).contains(&film.records.len()), "{}", film.records.len());
        assert_eq!(texts(&film.world_at(0)).len() as u64, film.first, "the oldest there is");
        assert_eq!(texts(&film.world_at(100)), texts(&world));
    }

    #[test]
    fn where_little_happens_as_much_is_kept() {
        let mut world = World::default();
        // A stretch is of twenty minutes.
        let mut film = Film { still_every: 100, ..Film::of_live(world.clone()) };
        for at in 0..1_000 {
            let record = record(at * KEPT_MS / 50, Tone::Plain);
            world.take(record.at, &record.fact);
            film.push(record, &world);
            let (first, last) = film.span().expect("something is kept");
            assert!(first.run_ms == 0 || last.run_ms - first.run_ms >= KEPT_MS, "{first:?} {last:?}");
        }
        assert!(film.records.len() < 200, "{}", film.records.len());
    }

    #[test]
    fn turns_are_found_both_ways() {
        let tones = [Tone::Plain, Tone::You, Tone::Plain, Tone::Plain, Tone::You];
        let (film, _) = Film::of_records(
            tones.iter().enumerate().map(|(at, t)| record(at as u64, *t)).collect::<Vec<_>>().into_iter(),
        );
        let turn = |_: &Fact, mark: Mark| mark >= Mark::Turn;
        assert_eq!(film.find(0, false, turn), Some(1));
        assert_eq!(film.find(2, false, turn), Some(4));
        assert_eq!(film.find(5, false, turn), None);
        assert_eq!(film.find(4, true, turn), Some(1));
        assert_eq!(film.find(4, true, |_, mark| mark >= Mark::Event), Some(3));
    }
}
