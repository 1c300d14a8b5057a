//! Observations told in plain words.
//!
//! One observation becomes one sentence that begins with the node, says what happened in which term, and ends with the
//! cause as the node gave it. How much a sentence matters ([`Weight`]) is said here too, because it is part of the
//! telling: an election is a headline, a heartbeat's worth of appended entries is detail.

use raftdeck_shared::{ids::NodeId, wire};

use super::{text::clean, theme::Tone};

/// How a sentence is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Always, on a line of its own.
    Headline,
    /// Together with its neighbours: the leader committed up to here.
    Commit { to: u64 },
    /// Together with its neighbours: the leader saw a job change.
    Job,
    /// Together with those that say the same of other nodes: a cut of two sides is told by every link's both ends.
    Echo,
    /// Only when every observation is asked for.
    Detail,
}

/// A sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) tone: Tone,
    pub(crate) weight: Weight,
}

/// Tells one observation. Commits and jobs are told by the leader only: what the others say of them is the same again.
pub(crate) fn tell(o: &wire::Observation, by_leader: bool, name: &dyn Fn(NodeId) -> String) -> Told {
    let node = name(NodeId(o.node));
    let peer = if o.peer == 0 { "nobody".to_owned() } else { name(NodeId(o.peer)) };
    let term = format!("T{}", o.term);
    let pre = if o.pre { "would " } else { "" };
    let (what, tone, weight) = match o.kind() {
        wire::ObservationKind::Role => role(o, &node, &term),
        wire::ObservationKind::Term => (format!("{node} is in {term}"), Tone::Plain, Weight::Detail),
        wire::ObservationKind::Leader if o.peer == 0 => {
            (format!("{node} knows no leader in {term}"), Tone::Warn, Weight::Headline)
        }
        wire::ObservationKind::Leader => (format!("{node} follows {peer} in {term}"), Tone::Plain, Weight::Detail),
        wire::ObservationKind::VoteCast => {
            let (does, tone) = match (o.granted, o.pre) {
                (true, true) => ("vote for", Tone::Plain),
                (true, false) => ("votes for", Tone::Good),
                (false, true) => ("not vote for", Tone::Warn),
                (false, false) => ("refuses its vote to", Tone::Warn),
            };
            let weight = if o.pre && o.granted { Weight::Detail } else { Weight::Headline };
            // A vote is asked for a term that the voter may not be in yet; the cause of a granted one names it.
            let asked = o.granted.then(|| clean(&o.cause)).filter(|cause| cause.starts_with("for "));
            let asked = asked.unwrap_or_else(|| format!("in {term}"));
            (format!("{node} {pre}{does} {peer} {asked}"), tone, weight)
        }
        wire::ObservationKind::VoteReceived => {
            let got = if o.granted { "has the" } else { "is refused the" };
            let pre = if o.pre { "pre-" } else { "" };
            (format!("{node} {got} {pre}vote of {peer} in {term}"), Tone::Plain, Weight::Detail)
        }
        wire::ObservationKind::Appended => {
            (format!("{node} stores {} of {term}", range(o.index, o.last_index)), Tone::Plain, Weight::Detail)
        }
        wire::ObservationKind::Truncated => {
            (format!("{node} drops {} and all after it", o.index), Tone::Warn, Weight::Headline)
        }
        wire::ObservationKind::Committed => {
            let weight = if by_leader { Weight::Commit { to: o.index } } else { Weight::Detail };
            (format!("{node} commits {} in {term}", o.index), Tone::Plain, weight)
        }
        wire::ObservationKind::Progress => (format!("{node} changes how it feeds {peer}"), Tone::Plain, Weight::Detail),
        wire::ObservationKind::Link => {
            let (state, tone) = if o.granted { ("open", Tone::Good) } else { ("closed", Tone::Warn) };
            (format!("{node} link to {peer} {state}"), tone, Weight::Echo)
        }
        wire::ObservationKind::Job => {
            let weight = if by_leader { Weight::Job } else { Weight::Detail };
            // A batch has no one job: then the cause names them.
            let what = if o.job == 0 { format!("{node} {}", clean(&o.cause)) } else { format!("{node} job {}", o.job) };
            (what, Tone::Plain, weight)
        }
        wire::ObservationKind::Fault => {
            let towards = if o.peer == 0 { String::new() } else { format!(" towards {peer}") };
            (format!("{node} fault{towards}"), Tone::Bad, Weight::Echo)
        }
        wire::ObservationKind::Node => (node, Tone::Warn, Weight::Headline),
        wire::ObservationKind::Unspecified => {
            (format!("{node} saw something that this console does not know"), Tone::Dim, Weight::Detail)
        }
    };
    let cause = clean(&o.cause);
    let told = cause.is_empty() || what.ends_with(&cause);
    let text = if told { what } else { format!("{what}: {cause}") };
    Told { text, tone, weight }
}

fn role(o: &wire::Observation, node: &str, term: &str) -> (String, Tone, Weight) {
    match o.role() {
        wire::Role::Leader => (format!("{node} LEADS {term}"), Tone::Good, Weight::Headline),
        wire::Role::Candidate => (format!("{node} starts an election for {term}"), Tone::Warn, Weight::Headline),
        wire::Role::PreCandidate => {
            (format!("{node} asks who would vote for it, still in {term}"), Tone::Warn, Weight::Headline)
        }
        wire::Role::Follower => (format!("{node} is a follower in {term}"), Tone::Plain, Weight::Headline),
        wire::Role::Unspecified => (format!("{node} changed its role in {term}"), Tone::Plain, Weight::Headline),
    }
}

fn range(first: u64, last: u64) -> String {
    if last > first { format!("{first}..{last}") } else { first.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(o: &wire::Observation, by_leader: bool) -> (String, Weight) {
        let told = tell(o, by_leader, &|id| id.to_string());
        (told.text, told.weight)
    }

    #[test]
    fn a_refused_vote_says_who_whom_when_and_why() {
        let vote = wire::Observation {
            node: 3,
            peer: 1,
            term: 8,
            kind: wire::ObservationKind::VoteCast.into(),
            cause: "its log ends at 1841/T7,\u{1b}[31m mine at 1843/T7".into(),
            ..Default::default()
        };
        let (text, weight) = said(&vote, false);
        assert_eq!(text, "n3 refuses its vote to n1 in T8: its log ends at 1841/T7,[31m mine at 1843/T7");
        assert_eq!(weight, Weight::Headline);
        let (text, _) = said(&wire::Observation { pre: true, cause: String::new(), ..vote }, false);
        assert_eq!(text, "n3 would not vote for n1 in T8");
    }

    #[test]
    fn commits_are_told_by_the_leader_only() {
        let commit = wire::Observation {
            node: 2,
            term: 7,
            index: 1841,
            kind: wire::ObservationKind::Committed.into(),
            ..Default::default()
        };
        assert_eq!(said(&commit, true), ("n2 commits 1841 in T7".into(), Weight::Commit { to: 1841 }));
        assert_eq!(said(&commit, false).1, Weight::Detail);
    }

    #[test]
    fn a_cause_is_said_once() {
        let base = wire::Observation { node: 2, term: 7, peer: 3, granted: true, ..Default::default() };
        let vote =
            wire::Observation { kind: wire::ObservationKind::VoteCast.into(), cause: "for T8".into(), ..base.clone() };
        assert_eq!(said(&vote, false).0, "n2 votes for n3 for T8");
        let jobs = wire::Observation {
            kind: wire::ObservationKind::Job.into(),
            cause: "job 12 completed".into(),
            ..base.clone()
        };
        assert_eq!(said(&jobs, true), ("n2 job 12 completed".into(), Weight::Job));
        let link = wire::Observation { kind: wire::ObservationKind::Link.into(), cause: "it answers".into(), ..base };
        assert_eq!(said(&link, false), ("n2 link to n3 open: it answers".into(), Weight::Echo));
    }

    #[test]
    fn every_kind_on_the_wire_is_told() {
        for kind in -1..30 {
            let o = wire::Observation { node: 1, kind, ..Default::default() };
            assert!(said(&o, false).0.starts_with("n1"));
        }
    }
}
