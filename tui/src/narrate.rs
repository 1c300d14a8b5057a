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
            let got = if obs.granted { "gets" } else { "is refused" };
            let pre = if obs.pre { "pre-" } else { "" };
            format!("{got} the {pre}vote of {} in {term}", peer())
        }
        ObservationKind::Appended => format!("stores {} of {term}", range(obs.index, obs.last_index)),
        ObservationKind::Truncated => format!("drops {} and all after it", obs.index),
        ObservationKind::Committed => format!("commits {} in {term}", obs.index),
        ObservationKind::Progress if obs.granted => format!("replicates to {}", peer()),
        ObservationKind::Progress => format!("looks where the log of {} agrees with its own", peer()),
        ObservationKind::Link if obs.granted => format!("opened the link to {}", peer()),
        ObservationKind::Link => format!("lost the link to {}", peer()),
        // One entry may change many jobs: then the cause names them.
        ObservationKind::Job if obs.job == 0 && !cause.is_empty() => return cause.to_owned(),
        ObservationKind::Job if obs.job == 0 => format!("applied {}", obs.index),
        ObservationKind::Job => format!("job {}", obs.job),
        ObservationKind::Fault => return fault(obs, &peer(), cause),
        ObservationKind::Membership => return membership(obs.index, cause),
        ObservationKind::Transfer => return transfer(obs.granted, &peer(), cause),
        ObservationKind::Snapshot if obs.granted => {
            return format!("takes a snapshot as of {} in place of its log and state", obs.index);
        }
        ObservationKind::Snapshot => return format!("cuts its log up to {}: the state has it", obs.index),
        ObservationKind::Damage if obs.granted => return format!("has all again that was lost, up to {}", obs.index),
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
    if let Some(asked) = cause.strip_prefix("for ").filter(|_| obs.granted) {
        return format!("{does} {candidate} in {asked}");
    }
    with_cause(format!("{does} {candidate} in {term}"), cause)
}

/// It is there, or it is over; then the cause says how it ended.
fn fault(obs: &Observation, peer: &str, cause: &str) -> String {
    let on = if obs.peer == 0 { String::new() } else { format!(" towards {peer}") };
    match cause {
        "healed" | "ran out" | "replaced" => format!("got rid of the fault{on}: {cause}"),
        _ => with_cause(format!("got a fault{on}"), cause),
    }
}

/// In force is what is not joint.
fn membership(index: u64, cause: &str) -> String {
    let said = format!("goes by the members of entry {index}");
    match cause.strip_prefix("joint") {
        Some(why) => format!("{said}, old and new together{why}"),
        None => said,
    }
}

fn transfer(granted: bool, target: &str, cause: &str) -> String {
    match (granted, cause.strip_prefix("begun"), cause.strip_prefix("failed: ")) {
        (true, _, _) => format!("has handed leadership over to {target}"),
        (false, Some(why), _) => format!("hands leadership over to {target}{why}"),
        (false, None, Some(why)) => with_cause(format!("could not hand leadership over to {target}"), why),
        (false, None, None) => with_cause(format!("hands leadership over to {target}"), cause),
    }
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
            (caused(K::Link, "connection refused", |o| o.peer = 2), "lost the link to n2: connection refused"),
            (
                caused(K::Progress, "by its answer", |o| (o.peer, o.granted) = (2, true)),
                "replicates to n2: by its answer",
            ),
            (tell(K::Progress, |o| o.peer = 2), "looks where the log of n2 agrees with its own"),
            (caused(K::Fault, "cut", |o| o.peer = 2), "got a fault towards n2: cut"),
            (caused(K::Fault, "pause", |_| {}), "got a fault: pause"),
            (caused(K::Fault, "ran out", |o| o.peer = 2), "got rid of the fault towards n2: ran out"),
            (tell(K::Link, |o| (o.peer, o.granted) = (2, true)), "opened the link to n2"),
            (caused(K::Membership, "in force", |o| o.index = 9), "goes by the members of entry 9"),
            (
                caused(K::Membership, "joint: two majorities must agree", |o| o.index = 9),
                "goes by the members of entry 9, old and new together: two majorities must agree",
            ),
            (
                caused(K::Transfer, "begun, as its own disk stands still", |o| o.peer = 3),
                "hands leadership over to n3, as its own disk stands still",
            ),
            (caused(K::Transfer, "n3 leads", |o| (o.peer, o.granted) = (3, true)), "has handed leadership over to n3"),
            (caused(K::Transfer, "failed: n1 leads", |o| o.peer = 3), "could not hand leadership over to n3: n1 leads"),
            (
                caused(K::Snapshot, "a snapshot took the place of log and state", |o| (o.index, o.granted) = (9, true)),
                "takes a snapshot as of 9 in place of its log and state",
            ),
            (tell(K::Snapshot, |o| o.index = 9), "cuts its log up to 9: the state has it"),
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
        assert_eq!(cast("for T8", true, false), "votes for n2 in T8");
        assert_eq!(cast("for T8", true, true), "would vote for n2 in T8");
        assert_eq!(cast("", true, false), "votes for n2 in T7");
        assert_eq!(cast("its log is behind", false, false), "refuses its vote to n2 in T7: its log is behind");
        assert_eq!(cast("", false, true), "would not vote for n2 in T7");
        let got = |granted, pre| tell(K::VoteReceived, |o| (o.peer, o.granted, o.pre) = (2, granted, pre));
        assert_eq!(got(true, true), "gets the pre-vote of n2 in T7");
        assert_eq!(got(false, false), "is refused the vote of n2 in T7");
    }

    #[test]
    fn what_came_over_the_wire_never_steers_the_terminal() {
        for kind in -1..30 {
            let cause = "\u{1b}[2Jcut\nby \u{202e}me\u{7}".into();
            let said = sentence(&Observation { kind, cause, ..Observation::default() }, &bare_name);
            assert!(!said.contains(['\u{1b}', '\n', '\u{202e}', '\u{7}']), "{said:?}");
        }
    }

    #[test]
    fn a_kind_of_a_newer_node_is_told_by_its_number() {
        let obs = Observation { kind: 99, cause: "new".into(), ..Observation::default() };
        assert_eq!(sentence(&obs, &bare_name), "saw something of kind 99: new");
    }
}
