//! The events of all nodes in causal order, and the lines they make.
//!
//! Each node stamps its observations with a hybrid clock: never behind a message it has received. So an effect never
//! sorts before its cause, whichever stream brings it first. What the console itself does is stamped the same way: after
//! everything it has been told.
//!
//! Lines are not events. In the told form the leader's commits and job changes between two headlines make one line that
//! grows, so that an election is still on the screen after a thousand jobs; and what is kept of the story is kept apart
//! from the routine, so that it is still there after a million.
//!
//! Scrolling up holds the view at a line ([`Reading::Held`]); what comes later is counted, never pushed in.

use std::collections::VecDeque;

use raftdeck_shared::{ids::NodeId, wire};

use super::{
    filter::{Fields, Filter, Takes},
    story::{Told, Weight},
    text::{clean, natural},
    theme::Tone,
};

/// How a node is called.
type Names<'a> = &'a dyn Fn(NodeId) -> String;

/// Events kept of the story and, apart from it, of the routine; of each the oldest go first.
pub(crate) const KEPT_MAX: usize = 4000;

/// Where an event stands: hybrid time, order within it, node (0: this console), order in its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) at_ms: u64,
    pub(crate) logical: u32,
    pub(crate) node: u64,
    pub(crate) seq: u64,
}

impl Stamp {
    pub(crate) fn of(o: &wire::Observation) -> Stamp {
        Stamp { at_ms: o.at_ms, logical: o.logical, node: o.node, seq: o.seq }
    }
}

#[derive(Clone, Debug)]
struct Event {
    stamp: Stamp,
    told: Told,
}

/// A line of the pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Of its first event: a line that grows stays where it is.
    pub(crate) stamp: Stamp,
    pub(crate) tone: Tone,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The newest line is at the bottom.
    #[default]
    Follow,
    /// The bottom line is the last one up to here.
    Held(Stamp),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    story: VecDeque<Event>,
    routine: VecDeque<Event>,
    /// The newest stamp seen of anybody: this console's side of the hybrid clock.
    clock: Stamp,
    own: u64,
}

impl Events {
    pub(crate) fn is_empty(&self) -> bool {
        self.story.is_empty() && self.routine.is_empty()
    }

    /// Puts an event where its stamp says: nearly always among the newest.
    pub(crate) fn insert(&mut self, stamp: Stamp, told: Told) {
        self.clock = self.clock.max(stamp);
        let kept = match told.weight {
            Weight::Headline | Weight::Echo { .. } => &mut self.story,
            Weight::Commit { .. } | Weight::Job | Weight::Detail => &mut self.routine,
        };
        let later = kept.iter().rev().take_while(|e| e.stamp > stamp).count();
        kept.insert(kept.len() - later, Event { stamp, told });
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
    }

    /// All that is kept, oldest first.
    fn all(&self) -> impl Iterator<Item = &Event> {
        let (mut story, mut routine) = (self.story.iter().peekable(), self.routine.iter().peekable());
        std::iter::from_fn(move || match (story.peek(), routine.peek()) {
            (Some(told), Some(done)) if done.stamp < told.stamp => routine.next(),
            (Some(_), _) => story.next(),
            (None, _) => routine.next(),
        })
    }

    /// Adds what this console did or noticed: after all that it had been told.
    pub(crate) fn own(&mut self, unix_ms: u64, tone: Tone, text: String) {
        self.own += 1;
        let (at_ms, logical) = if unix_ms > self.clock.at_ms {
            (unix_ms, 0)
        } else {
            (self.clock.at_ms, self.clock.logical.saturating_add(1))
        };
        let stamp = Stamp { at_ms, logical, node: 0, seq: self.own };
        self.insert(stamp, Told::own(tone, Weight::Headline, text));
    }

    /// All lines, oldest first.
    fn lines(&self, every: bool, name: Names<'_>) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut run = Run::default();
        for event in self.all() {
            match (event.told.weight, every) {
                (Weight::Detail, false) => {}
                (Weight::Commit { .. } | Weight::Job, false) => {
                    if run.work.as_ref().is_some_and(|work| work.stamp.node != event.stamp.node) {
                        lines.extend(std::mem::take(&mut run).lines(name));
                    }
                    run.work.get_or_insert_with(|| Work::new(event)).add(event);
                }
                (Weight::Echo { peer }, false) => run.echo(event, &clean(&name(peer)), name),
                (Weight::Headline, _)
                | (Weight::Detail | Weight::Commit { .. } | Weight::Job | Weight::Echo { .. }, true) => {
                    lines.extend(std::mem::take(&mut run).lines(name));
                    let text = event.told.text(name).to_owned();
                    lines.push(Line { stamp: event.stamp, tone: event.told.tone, text });
                }
            }
        }
        lines.extend(run.lines(name));
        lines
    }

    /// The lines that a filter wants, oldest first.
    pub(crate) fn wanted(&self, every: bool, filter: Option<&Filter>, name: Names<'_>) -> Vec<Line> {
        let mut lines = self.lines(every, name);
        if let Some(filter) = filter {
            lines.retain(|line| {
                filter.wants(&line.text, |field| match field {
                    "node" => line.text.split(' ').next().map(str::to_owned),
                    _ => line
                        .text
                        .split([' ', ':', ','])
                        .find_map(|w| w.strip_prefix('T'))
                        .and_then(|term| (field == "term" && term.parse::<u64>().is_ok()).then(|| term.to_owned())),
                })
            });
        }
        lines
    }
}

/// What a filter may ask of a line.
pub(crate) const FIELDS: Fields = &[("node", Takes::Text), ("term", Takes::Number)];

impl Reading {
    /// How many of `lines` are below the bottom.
    pub(crate) fn newer(self, lines: &[Line]) -> usize {
        match self {
            Reading::Follow => 0,
            Reading::Held(at) => lines.len() - lines.partition_point(|l| l.stamp <= at),
        }
    }

    /// Moved by lines, up if negative. At the newest line it follows again.
    pub(crate) fn scrolled(self, lines: &[Line], by: isize) -> Reading {
        let Some(last) = lines.len().checked_sub(1) else { return self };
        let bottom = last.saturating_sub(self.newer(lines));
        let target = bottom.saturating_add_signed(by).min(last);
        if target == last && by > 0 { Reading::Follow } else { Reading::Held(lines[target].stamp) }
    }
}

/// What was told since the last headline and waits to become lines.
#[derive(Default)]
struct Run<'a> {
    work: Option<Work<'a>>,
    echoes: Vec<Echo>,
}

impl<'a> Run<'a> {
    /// Joins an event with those that say the same of other nodes.
    fn echo(&mut self, event: &Event, peer: &str, name: Names<'_>) {
        let text = event.told.text(name);
        let (node, said) = text.split_once(' ').unwrap_or(("", text));
        let (before, peers, after) = match said.split_once(peer) {
            Some((before, after)) => (before, vec![peer.to_owned()], after),
            None => (said, Vec::new(), ""),
        };
        match self.echoes.iter_mut().find(|e| e.peers == peers && e.before == before && e.after == after) {
            Some(echo) => {
                if !echo.nodes.iter().any(|n| n == node) {
                    echo.nodes.push(node.to_owned());
                    echo.nodes.sort_by_key(|name| natural(name));
                }
            }
            None => self.echoes.push(Echo {
                stamp: event.stamp,
                tone: event.told.tone,
                nodes: vec![node.to_owned()],
                before: before.to_owned(),
                peers,
                after: after.to_owned(),
            }),
        }
    }

    fn lines(self, name: Names<'_>) -> Vec<Line> {
        let mut echoes: Vec<Echo> = Vec::new();
        for echo in self.echoes {
            match echoes
                .iter_mut()
                .find(|e| (&e.nodes, &e.before, &e.after) == (&echo.nodes, &echo.before, &echo.after))
            {
                Some(same) => {
                    same.peers.extend(echo.peers);
                    same.peers.sort_by_key(|name| natural(name));
                }
                None => echoes.push(echo),
            }
        }
        let mut lines: Vec<Line> =
            echoes.into_iter().map(Echo::line).chain(self.work.map(|work| work.line(name))).collect();
        lines.sort_by_key(|line| line.stamp);
        lines
    }
}

/// The same said by several nodes of a peer, or by the same nodes of several peers.
struct Echo {
    stamp: Stamp,
    tone: Tone,
    nodes: Vec<String>,
    before: String,
    peers: Vec<String>,
    after: String,
}

impl Echo {
    fn line(self) -> Line {
        let text = format!("{} {}{}{}", self.nodes.join(" "), self.before, self.peers.join(" "), self.after);
        Line { stamp: self.stamp, tone: self.tone, text }
    }
}

/// Commits and job changes of one leader.
struct Work<'a> {
    stamp: Stamp,
    commits: Option<(u64, u64)>,
    jobs: u64,
    last_job: Option<&'a Told>,
    last: &'a Told,
    events: u64,
}

impl<'a> Work<'a> {
    fn new(first: &'a Event) -> Work<'a> {
        Work { stamp: first.stamp, commits: None, jobs: 0, last_job: None, last: &first.told, events: 0 }
    }

    fn add(&mut self, event: &'a Event) {
        self.events += 1;
        self.last = &event.told;
        match event.told.weight {
            Weight::Commit { to } => self.commits = Some((self.commits.map_or(to, |(from, _)| from), to)),
            Weight::Job => {
                self.jobs += 1;
                self.last_job = Some(&event.told);
            }
            Weight::Headline | Weight::Echo { .. } | Weight::Detail => {}
        }
    }

    fn line(self, name: Names<'_>) -> Line {
        let last = self.last.text(name);
        let text = if self.events == 1 {
            last.to_owned()
        } else {
            let node = last.split(' ').next().unwrap_or_default();
            let job = self.last_job.and_then(|told| told.text(name).split_once(' ')).map_or("", |(_, job)| job);
            let mut parts = Vec::new();
            match self.commits {
                Some((from, to)) if from == to => parts.push(format!("commits {to}")),
                Some((from, to)) => parts.push(format!("commits {from}..{to}")),
                None => {}
            }
            match self.jobs {
                0 => {}
                1 => parts.push(job.to_owned()),
                n => parts.push(format!("{n} job changes, last: {job}")),
            }
            format!("{node} {}", parts.join("; "))
        };
        Line { stamp: self.stamp, tone: Tone::Plain, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(at_ms: u64, logical: u32, node: u64) -> Stamp {
        Stamp { at_ms, logical, node, seq: at_ms }
    }

    fn told(text: &str, weight: Weight) -> Told {
        Told::own(Tone::Plain, weight, text.into())
    }

    fn echo(peer: u64) -> Weight {
        Weight::Echo { peer: NodeId(peer) }
    }

    fn lines(events: &Events, every: bool) -> Vec<Line> {
        events.lines(every, &|id| id.to_string())
    }

    fn texts(events: &Events) -> Vec<String> {
        lines(events, false).into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn an_effect_stays_behind_its_cause_whoever_reports_first() {
        let mut events = Events::default();
        events.insert(stamp(10, 1, 2), told("n2 votes", Weight::Headline));
        events.insert(stamp(10, 0, 5), told("n5 asks", Weight::Headline));
        events.own(3, Tone::You, "YOU cut n5".into());
        events.insert(stamp(9, 7, 1), told("n1 is silent", Weight::Headline));
        assert_eq!(texts(&events), ["n1 is silent", "n5 asks", "n2 votes", "YOU cut n5"]);
    }

    #[test]
    fn routine_makes_one_line_between_headlines() {
        let mut events = Events::default();
        events.insert(stamp(1, 0, 2), told("n2 LEADS T7", Weight::Headline));
        for i in 0..500 {
            events.insert(stamp(2 + i, 0, 2), told(&format!("n2 commits {}", 100 + i), Weight::Commit { to: 100 + i }));
            events.insert(stamp(2 + i, 1, 2), told(&format!("n2 job {i}: completed"), Weight::Job));
            events.insert(stamp(2 + i, 2, 3), told("n3 stores", Weight::Detail));
        }
        assert_eq!(texts(&events), ["n2 LEADS T7", "n2 commits 100..599; 500 job changes, last: job 499: completed"]);
        assert_eq!(lines(&events, true).len(), 1501);
    }

    #[test]
    fn the_same_of_several_nodes_is_said_once() {
        let mut events = Events::default();
        for (at, node) in [3, 1, 2].into_iter().enumerate() {
            events.insert(stamp(at as u64, 0, node), told(&format!("n{node} link to n5: closed"), echo(5)));
            events.insert(stamp(at as u64, 1, 2), told("n2 commits 9", Weight::Commit { to: 9 }));
        }
        assert_eq!(texts(&events), ["n1 n2 n3 link to n5: closed", "n2 commits 9"]);
        let held = Reading::Follow.scrolled(&lines(&events, false), -1);
        events.insert(stamp(8, 0, 4), told("n4 link to n5: closed", echo(5)));
        assert_eq!(held.newer(&lines(&events, false)), 1, "a held line may grow, but does not move");
        events.own(9, Tone::You, "YOU heal".into());
        events.insert(stamp(10, 0, 1), told("n1 link to n5: closed", echo(5)));
        assert_eq!(texts(&events).len(), 4, "a headline stands between");
    }

    #[test]
    fn a_cut_of_two_sides_makes_two_lines() {
        let mut events = Events::default();
        for (at, (node, peer)) in [(3, 5), (1, 3), (3, 1), (5, 3), (3, 2), (2, 3)].into_iter().enumerate() {
            let text = format!("n{node} fault towards n{peer}: cut");
            events.insert(stamp(at as u64, 0, node), told(&text, echo(peer)));
        }
        assert_eq!(texts(&events), ["n3 fault towards n1 n2 n5: cut", "n1 n2 n5 fault towards n3: cut"]);
    }

    #[test]
    fn routine_does_not_push_the_story_out() {
        let mut events = Events::default();
        events.insert(stamp(1, 0, 2), told("n2 LEADS T7", Weight::Headline));
        for at in 0..(2 * KEPT_MAX as u64) {
            events.insert(stamp(2 + at, 0, 3), told("n3 stores", Weight::Detail));
        }
        assert_eq!(texts(&events), ["n2 LEADS T7"]);
        assert_eq!(lines(&events, true).len(), 1 + KEPT_MAX);
    }

    #[test]
    fn a_held_view_stays_and_counts_what_comes() {
        let mut events = Events::default();
        for at in 0..10 {
            events.insert(stamp(at, 0, 1), told(&format!("e{at}"), Weight::Headline));
        }
        let held = Reading::Follow.scrolled(&lines(&events, false), -3);
        assert_eq!(held, Reading::Held(stamp(6, 0, 1)));
        for at in 10..14 {
            events.insert(stamp(at, 0, 1), told("later", Weight::Headline));
        }
        assert_eq!(held.newer(&lines(&events, false)), 7);
        assert_eq!(held.scrolled(&lines(&events, false), 100), Reading::Follow);
    }

    #[test]
    fn the_oldest_go_first() {
        let mut events = Events::default();
        for at in 0..(KEPT_MAX as u64 + 5) {
            events.insert(stamp(at, 0, 1), told("e", Weight::Headline));
        }
        assert_eq!(lines(&events, false).len(), KEPT_MAX);
        assert_eq!(lines(&events, false)[0].stamp.at_ms, 5);
    }
}
