//! What the console makes of an observation: the sentence that `watch` prints too, and how much it matters.
//!
//! The words are those of [`narrate`]; here come the node in front, the tone, and the [`Weight`]: an election is a
//! headline, a heartbeat's worth of appended entries is detail. Of thousands in a second few are ever read: so the weight
//! is found at once, and the words are made when they are read for the first time.

use std::sync::{Arc, OnceLock};

use raftdeck_shared::{ids::NodeId, wire};

use super::{text::clean, theme::Tone};
use crate::narrate;

/// How a sentence is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Always, on a line of its own.
    Headline,
    /// Together with its neighbours: the leader committed up to here.
    Commit { to: u64 },
    /// Together with its neighbours: the leader saw a job change.
    Job,
    /// Together with those that say the same of other nodes and peers: a cut of two sides is told by every link's both
    /// ends. The name of the peer is in the text.
    Echo { peer: NodeId },
    /// Only when every observation is asked for.
    Detail,
}

/// A sentence. Copies share their words.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) tone: Tone,
    pub(crate) weight: Weight,
    words: Arc<Words>,
}

#[derive(Debug)]
enum Words {
    Own(String),
    Of(Arc<wire::Observation>, OnceLock<String>),
}

impl Told {
    /// In words of this console's own.
    pub(crate) fn own(tone: Tone, weight: Weight, text: String) -> Told {
        Told { tone, weight, words: Arc::new(Words::Own(text)) }
    }

    /// An observation, and whether it is the leader's.
    pub(crate) fn of(o: &Arc<wire::Observation>, by_leader: bool) -> Told {
        let (tone, weight) = weigh(o, by_leader);
        Told { tone, weight, words: Arc::new(Words::Of(Arc::clone(o), OnceLock::new())) }
    }

    /// Nodes have the names by which they go when it is read for the first time.
    pub(crate) fn text(&self, name: &dyn Fn(NodeId) -> String) -> &str {
        match &*self.words {
            Words::Own(text) => text,
            Words::Of(o, text) => text.get_or_init(|| words(o, name)),
        }
    }
}

/// Commits and jobs are told by the leader only: what the others say of them is the same again.
fn weigh(o: &wire::Observation, by_leader: bool) -> (Tone, Weight) {
    use wire::ObservationKind as Kind;
    let echo = || Weight::Echo { peer: NodeId(o.peer) };
    match o.kind() {
        Kind::Role => role(o.role()),
        Kind::Leader if o.peer == 0 => (Tone::Warn, Weight::Headline),
        // Many grant a pre-vote, and it binds nobody.
        Kind::VoteCast if o.granted && o.pre => (Tone::Plain, Weight::Detail),
        Kind::VoteCast => (if o.granted { Tone::Good } else { Tone::Warn }, Weight::Headline),
        Kind::Truncated | Kind::Node | Kind::Membership | Kind::Transfer => (Tone::Warn, Weight::Headline),
        Kind::Damage => (if o.granted { Tone::Good } else { Tone::Bad }, Weight::Headline),
        Kind::Snapshot if o.granted => (Tone::Good, Weight::Headline),
        Kind::Link => (if o.granted { Tone::Good } else { Tone::Warn }, echo()),
        Kind::Fault => (Tone::Bad, echo()),
        Kind::Committed if by_leader => (Tone::Plain, Weight::Commit { to: o.index }),
        Kind::Job if by_leader => (Tone::Plain, Weight::Job),
        Kind::Term
        | Kind::Leader
        | Kind::VoteReceived
        | Kind::Appended
        | Kind::Committed
        | Kind::Progress
        | Kind::Snapshot
        | Kind::Job => (Tone::Plain, Weight::Detail),
        Kind::Unspecified => (Tone::Dim, Weight::Detail),
    }
}

/// One observation, as a sentence that begins with its node.
pub(crate) fn words(o: &wire::Observation, name: &dyn Fn(NodeId) -> String) -> String {
    let said = narrate::sentence(o, &|id| name(NodeId(id)));
    clean(&format!("{} {said}", name(NodeId(o.node))))
}

fn role(role: wire::Role) -> (Tone, Weight) {
    let tone = match role {
        wire::Role::Leader => Tone::Good,
        wire::Role::Candidate | wire::Role::PreCandidate => Tone::Warn,
        wire::Role::Follower | wire::Role::Unspecified => Tone::Plain,
    };
    (tone, Weight::Headline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: wire::ObservationKind, by_leader: bool, change: impl FnOnce(&mut wire::Observation)) -> Told {
        let mut o = wire::Observation { node: 2, term: 7, kind: kind.into(), ..Default::default() };
        change(&mut o);
        Told::of(&Arc::new(o), by_leader)
    }

    fn name(id: NodeId) -> String {
        id.to_string()
    }

    #[test]
    fn a_sentence_begins_with_its_node() {
        for kind in -1..30 {
            let o = wire::Observation { node: 1, kind, ..Default::default() };
            assert!(words(&o, &name).starts_with("n1 "));
        }
    }

    #[test]
    fn commits_and_jobs_are_told_by_the_leader_only() {
        use wire::ObservationKind as K;
        let commit = |by_leader| told(K::Committed, by_leader, |o| o.index = 1841);
        assert_eq!(commit(true).text(&name), "n2 commits 1841 in T7");
        assert_eq!(commit(true).weight, Weight::Commit { to: 1841 });
        assert_eq!(commit(false).weight, Weight::Detail);
        assert_eq!(told(K::Job, true, |_| {}).weight, Weight::Job);
        assert_eq!(told(K::Job, false, |_| {}).weight, Weight::Detail);
    }

    #[test]
    fn a_refusal_is_a_headline_and_a_promise_is_not() {
        use wire::ObservationKind as K;
        for (granted, pre, weight) in [
            (true, true, Weight::Detail),
            (false, true, Weight::Headline),
            (true, false, Weight::Headline),
            (false, false, Weight::Headline),
        ] {
            assert_eq!(told(K::VoteCast, false, |o| (o.granted, o.pre) = (granted, pre)).weight, weight);
        }
    }

    #[test]
    fn what_takes_no_cell_is_not_kept() {
        let node = told(wire::ObservationKind::Node, false, |o| o.cause = "star\u{200b}ted\u{1b}[31m".into());
        assert_eq!(node.text(&name), "n2 started[31m");
    }
}
