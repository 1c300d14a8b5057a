//! What a node observed, as a sentence for people.
//!
//! Laws: the sentence says what happened and why, in the words of Raft; it is one line whatever the wire brought
//! (control characters never reach a terminal); and a kind this program does not know yet is still told, by its number.

use raftdeck_shared::{
    ids::{Index, NodeId, Term},
    wire::{Observation, ObservationKind, Role},
};

/// The observation in plain words, with its cause. `name` gives the name of a node by its number.
#[must_use]
pub fn sentence(obs: &Observation, name: &dyn Fn(u64) -> String) -> String {
    let Ok(kind) = ObservationKind::try_from(obs.kind) else {
        return with_cause(format!("observation of kind {}", obs.kind), &obs.cause);
    };
    let term = Term(obs.term);
    let vote = if obs.pre { "pre-vote" } else { "vote" };
    let said = match kind {
        ObservationKind::Unspecified => "something happened".to_owned(),
        ObservationKind::Role => format!("is now {} in {term}", role(obs.role)),
        ObservationKind::Term => format!("moved to {term}"),
        ObservationKind::Leader if obs.peer == 0 => format!("knows no leader in {term}"),
        ObservationKind::Leader => format!("follows {} as leader of {term}", name(obs.peer)),
        ObservationKind::VoteCast if obs.granted => format!("gave its {vote} to {}", name(obs.peer)),
        ObservationKind::VoteCast => format!("refused its {vote} to {}", name(obs.peer)),
        ObservationKind::VoteReceived if obs.granted => format!("got the {vote} of {} in {term}", name(obs.peer)),
        ObservationKind::VoteReceived => format!("was refused the {vote} of {} in {term}", name(obs.peer)),
        ObservationKind::Appended => format!("appended {} of {term}", entries(obs.index, obs.last_index)),
        ObservationKind::Truncated => format!("dropped its log from entry {} on", Index(obs.index)),
        ObservationKind::Committed => format!("committed up to entry {}", Index(obs.index)),
        ObservationKind::Progress if obs.granted => format!("replicates to {}", name(obs.peer)),
        ObservationKind::Progress => format!("looks where the log of {} agrees with its own", name(obs.peer)),
        ObservationKind::Link if obs.granted => format!("opened its link to {}", name(obs.peer)),
        ObservationKind::Link => format!("lost its link to {}", name(obs.peer)),
        // One entry may change many jobs: then the cause names them.
        ObservationKind::Job if obs.job == 0 => format!("applied entry {}", Index(obs.index)),
        ObservationKind::Job => format!("job {} changed", obs.job),
        ObservationKind::Fault => format!("fault {}{}", obs.fault, towards(obs.peer, name)),
        ObservationKind::Node => "node".to_owned(),
    };
    with_cause(said, &obs.cause)
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

/// Text of others, safe to print: one line without control characters.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !hostile(*c)).collect()
}

/// Steers a terminal, or turns the direction of the text after it.
fn hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn with_cause(said: String, cause: &str) -> String {
    let cause = plain(cause);
    let cause = cause.trim();
    plain(&if cause.is_empty() { said } else { format!("{said}: {cause}") })
}

fn entries(first: u64, last: u64) -> String {
    if last > first {
        format!("entries {} to {}", Index(first), Index(last))
    } else {
        format!("entry {}", Index(first))
    }
}

fn towards(peer: u64, name: &dyn Fn(u64) -> String) -> String {
    if peer == 0 { String::new() } else { format!(" on the link to {}", name(peer)) }
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

    #[test]
    fn each_kind_has_its_sentence_with_the_cause() {
        for (said, expected) in [
            (
                tell(ObservationKind::Role, |o| {
                    o.role = Role::Leader.into();
                    o.cause = "3 of 5 votes".into();
                }),
                "is now leader in T7: 3 of 5 votes",
            ),
            (tell(ObservationKind::Term, |_| {}), "moved to T7"),
            (tell(ObservationKind::Leader, |_| {}), "knows no leader in T7"),
            (tell(ObservationKind::Leader, |o| o.peer = 3), "follows n3 as leader of T7"),
            (
                tell(ObservationKind::VoteCast, |o| {
                    o.peer = 2;
                    o.cause = "its log is behind".into();
                }),
                "refused its vote to n2: its log is behind",
            ),
            (
                tell(ObservationKind::VoteReceived, |o| {
                    o.peer = 2;
                    o.pre = true;
                    o.granted = true;
                }),
                "got the pre-vote of n2 in T7",
            ),
            (
                tell(ObservationKind::Appended, |o| {
                    o.index = 4;
                    o.last_index = 9;
                }),
                "appended entries 4 to 9 of T7",
            ),
            (
                tell(ObservationKind::Appended, |o| {
                    o.index = 4;
                    o.last_index = 4;
                }),
                "appended entry 4 of T7",
            ),
            (tell(ObservationKind::Truncated, |o| o.index = 4), "dropped its log from entry 4 on"),
            (tell(ObservationKind::Committed, |o| o.index = 4), "committed up to entry 4"),
            (
                tell(ObservationKind::Job, |o| {
                    o.job = 12;
                    o.cause = "completed".into();
                }),
                "job 12 changed: completed",
            ),
            (
                tell(ObservationKind::Job, |o| {
                    o.index = 9;
                    o.cause = "job 12 claimed by n1".into();
                }),
                "applied entry 9: job 12 claimed by n1",
            ),
            (
                tell(ObservationKind::Link, |o| {
                    o.peer = 2;
                    o.cause = "connection refused".into();
                }),
                "lost its link to n2: connection refused",
            ),
            (
                tell(ObservationKind::Progress, |o| {
                    o.peer = 2;
                    o.granted = true;
                    o.cause = "by its answer".into();
                }),
                "replicates to n2: by its answer",
            ),
            (tell(ObservationKind::Node, |o| o.cause = "started".into()), "node: started"),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn what_came_over_the_wire_never_steers_the_terminal() {
        let said = tell(ObservationKind::Fault, |o| {
            o.fault = 1;
            o.peer = 2;
            o.cause = "\u{1b}[2Jcut\nby \u{202e}me\u{7}".into();
        });
        assert_eq!(said, "fault 1 on the link to n2: [2Jcut by me");
    }

    #[test]
    fn a_kind_of_a_newer_node_is_told_by_its_number() {
        let obs = Observation { kind: 99, cause: "new".into(), ..Observation::default() };
        assert_eq!(sentence(&obs, &bare_name), "observation of kind 99: new");
    }
}
