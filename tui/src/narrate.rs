//! What a node observed, as a sentence for people: the one telling that `watch`, `demo` and the console share.
//!
//! Laws: the sentence says what happened and why, in the words of Raft; the node that says it is left out, for the
//! reader to put in front (`n3 LEADS T2: 3 votes`); it is safe to print whatever the wire brought; and a kind this
//! program does not know yet is still told, by its number.

use raftdeck_shared::{
    ids::{NodeId, Term},
    wire::{Observation, ObservationKind, Role},
};

use crate::plain::plain;

/// The observation in plain words, with its cause. `name` gives the name of a node by its number.
#[must_use]
pub fn sentence(obs: &Observation, name: &dyn Fn(u64) -> String) -> String {
    let cause = plain(&obs.cause);
    let cause = cause.trim();
    let Ok(kind) = ObservationKind::try_from(obs.kind) else {
        return with_cause(format!("saw something of kind {}", obs.kind), cause);
    };
    let term = Term(obs.term);
    let peer = || if obs.peer == 0 { "nobody".to_owned() } else { name(obs.peer) };
    let said = match kind {
        ObservationKind::Unspecified => "saw something".to_owned(),
        ObservationKind::Role => became(obs.role(), term),
        ObservationKind::Term => format!("is in {term}"),
        ObservationKind::Leader if obs.peer == 0 => format!("knows no leader in {term}"),
        ObservationKind::Leader => format!("follows {} in {term}", peer()),
        ObservationKind::VoteCast => return vote_cast(obs, &peer(), term, cause),
        ObservationKind::VoteReceived => {
            let got = if obs.granted { "has" } else { "is refused" };
            let pre = if obs.pre { "pre-" } else { "" };
            format!("{got} the {pre}vote of {} in {term}", peer())
        }
        ObservationKind::Appended => format!("stores {} of {term}", range(obs.index, obs.last_index)),
        ObservationKind::Truncated => format!("drops {} and all after it", obs.index),
        ObservationKind::Committed => format!("commits {} in {term}", obs.index),
        ObservationKind::Progress if obs.granted => format!("replicates to {}", peer()),
        ObservationKind::Progress => format!("looks where the log of {} agrees with its own", peer()),
        ObservationKind::Link => format!("link to {} {}", peer(), if obs.granted { "open" } else { "closed" }),
        // One entry may change many jobs: then the cause names them.
        ObservationKind::Job if obs.job == 0 && !cause.is_empty() => return cause.to_owned(),
        ObservationKind::Job if obs.job == 0 => format!("applied {}", obs.index),
        ObservationKind::Job => format!("job {}", obs.job),
        ObservationKind::Fault if obs.peer == 0 => "fault".to_owned(),
        ObservationKind::Fault => format!("fault towards {}", peer()),
        ObservationKind::Membership => format!("has the membership of entry {}", obs.index),
        ObservationKind::Transfer => format!("hands leadership over to {}", peer()),
        ObservationKind::Snapshot if obs.granted => format!("installs a snapshot as of {}", obs.index),
        ObservationKind::Snapshot => format!("forgets its entries up to {}", obs.index),
        ObservationKind::Damage if obs.granted => format!("is whole again, up to {}", obs.index),
        ObservationKind::Damage => format!("IS DAMAGED, up to {}", obs.index),
        ObservationKind::Node if !cause.is_empty() => return cause.to_owned(),
        ObservationKind::Node => "changed".to_owned(),
    };
    with_cause(said, cause)
}

fn became(role: Role, term: Term) -> String {
    match role {
        Role::Leader => format!("LEADS {term}"),
        Role::Candidate => format!("starts an election for {term}"),
        Role::PreCandidate => format!("asks who would vote for it, still in {term}"),
        Role::Follower => format!("is a follower in {term}"),
        Role::Unspecified => format!("changed its role in {term}"),
    }
}

/// A vote is asked for a term that the voter may not be in yet; the cause of a granted one names it.
fn vote_cast(obs: &Observation, candidate: &str, term: Term, cause: &str) -> String {
    let does = match (obs.granted, obs.pre) {
        (true, true) => "would vote for",
        (true, false) => "votes for",
        (false, true) => "would not vote for",
        (false, false) => "refuses its vote to",
    };
    if obs.granted && cause.starts_with("for ") {
        return format!("{does} {candidate} {cause}");
    }
    with_cause(format!("{does} {candidate} in {term}"), cause)
}

fn with_cause(said: String, cause: &str) -> String {
    if cause.is_empty() { said } else { format!("{said}: {cause}") }
}

fn range(first: u64, last: u64) -> String {
    if last > first { format!("{first}..{last}") } else { first.to_string() }
}

/// The word for a role as it comes over the wire.
#[must_use]
pub fn role(role: i32) -> &'static str {
    match Role::try_from(role) {
        Ok(Role::Follower) => "follower",
        Ok(Role::PreCandidate) => "pre-candidate",
        Ok(Role::Candidate) => "candidate",
        Ok(Role::Leader) => "leader",
        Ok(Role::Unspecified) | Err(_) => "unknown",
    }
}

/// The name of a node nobody has named.
#[must_use]
pub fn bare_name(id: u64) -> String {
    NodeId(id).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(kind: ObservationKind, change: impl FnOnce(&mut Observation)) -> String {
        let mut obs = Observation { kind: kind.into(), node: 1, term: 7, ..Observation::default() };
        change(&mut obs);
        sentence(&obs, &bare_name)
    }

    fn caused(kind: ObservationKind, cause: &str, change: impl FnOnce(&mut Observation)) -> String {
        tell(kind, |o| {
            o.cause = cause.into();
            change(o);
        })
    }

    #[test]
    fn each_kind_has_its_sentence_with_the_cause() {
        use ObservationKind as K;
        for (said, expected) in [
            (caused(K::Role, "3 votes", |o| o.role = Role::Leader.into()), "LEADS T7: 3 votes"),
            (
                caused(K::Role, "heard no leader for 430 ms", |o| o.role = Role::PreCandidate.into()),
                "asks who would vote for it, still in T7: heard no leader for 430 ms",
            ),
            (tell(K::Term, |_| {}), "is in T7"),
            (tell(K::Leader, |_| {}), "knows no leader in T7"),
            (tell(K::Leader, |o| o.peer = 3), "follows n3 in T7"),
            (tell(K::Appended, |o| (o.index, o.last_index) = (4, 9)), "stores 4..9 of T7"),
            (tell(K::Appended, |o| (o.index, o.last_index) = (4, 4)), "stores 4 of T7"),
            (tell(K::Truncated, |o| o.index = 4), "drops 4 and all after it"),
            (tell(K::Committed, |o| o.index = 4), "commits 4 in T7"),
            (caused(K::Job, "completed", |o| o.job = 12), "job 12: completed"),
            (caused(K::Job, "job 12 claimed by n1", |o| o.index = 9), "job 12 claimed by n1"),
            (caused(K::Link, "connection refused", |o| o.peer = 2), "link to n2 closed: connection refused"),
            (
                caused(K::Progress, "by its answer", |o| (o.peer, o.granted) = (2, true)),
                "replicates to n2: by its answer",
            ),
            (tell(K::Progress, |o| o.peer = 2), "looks where the log of n2 agrees with its own"),
            (caused(K::Fault, "set: cut", |o| o.peer = 2), "fault towards n2: set: cut"),
            (caused(K::Node, "started", |_| {}), "started"),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_vote_says_for_whom_for_which_term_and_why_not() {
        use ObservationKind as K;
        let cast =
            |cause: &str, granted, pre| caused(K::VoteCast, cause, |o| (o.peer, o.granted, o.pre) = (2, granted, pre));
        assert_eq!(cast("for T8", true, false), "votes for n2 for T8");
        assert_eq!(cast("for T8", true, true), "would vote for n2 for T8");
        assert_eq!(cast("", true, false), "votes for n2 in T7");
        assert_eq!(cast("its log is behind", false, false), "refuses its vote to n2 in T7: its log is behind");
        assert_eq!(cast("", false, true), "would not vote for n2 in T7");
        let got = |granted, pre| tell(K::VoteReceived, |o| (o.peer, o.granted, o.pre) = (2, granted, pre));
        assert_eq!(got(true, true), "has the pre-vote of n2 in T7");
        assert_eq!(got(false, false), "is refused the vote of n2 in T7");
    }

    #[test]
    fn what_came_over_the_wire_never_steers_the_terminal() {
        for kind in -1..30 {
            let cause = "\u{1b}[2Jcut\nby \u{202e}me\u{7}".into();
            let said = sentence(&Observation { kind, cause, ..Observation::default() }, &bare_name);
            assert!(said.ends_with("[2Jcut by me"), "{said:?}");
        }
    }

    #[test]
    fn a_kind_of_a_newer_node_is_told_by_its_number() {
        let obs = Observation { kind: 99, cause: "new".into(), ..Observation::default() };
        assert_eq!(sentence(&obs, &bare_name), "saw something of kind 99: new");
    }
}
