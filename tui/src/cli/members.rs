//! `members`: who belongs to the cluster, as its leader says; and what the verbs that change that share.
//!
//! `status` asks every node for its own view; this asks the one that decides, and its answer is linearizable: after a change
//! was told as done, it is in it.

use std::time::{Duration, Instant};

use raftdeck_shared::wire::{self, MemberRole};
use serde::Serialize;

use super::{
    failure::Failure,
    out::{Narrow, Out, table_within},
    target::{CALL_WITHIN, Target},
};
use crate::{
    plain::plain,
    steer::{Steer, SteerError},
};

/// Letters of a storage id that tell directories apart.
const STORAGE_SHORT: usize = 8;

/// The pause between two looks at the members.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Serialize)]
struct Told {
    leader: Option<String>,
    term: u64,
    settled: bool,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: u64,
    name: String,
    role: &'static str,
    leader: bool,
    peer: String,
    api: String,
    storage: Option<String>,
    #[serde(rename = "match")]
    matched: u64,
    lag: u64,
    heard_ms: Option<u64>,
    damaged: bool,
    snapshot: Option<Snapshot>,
}

#[derive(Debug, Serialize)]
struct Snapshot {
    stored: u64,
    bytes: u64,
}

/// What a member is, in a word.
#[must_use]
pub fn role(member: &wire::Member) -> &'static str {
    match member.role() {
        MemberRole::Unspecified => "unknown",
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
        MemberRole::Outgoing => "outgoing",
    }
}

/// A member's name, made safe.
#[must_use]
pub fn name(member: &wire::Member) -> String {
    plain(&member.name)
}

/// Asks the leader of this cluster.
#[must_use]
pub fn steer(target: &Target) -> Steer {
    Steer::new(target.addresses(), CALL_WITHIN)
}

/// The member of this name, or of this number.
///
/// # Errors
/// There is none.
pub fn find<'a>(members: &'a wire::MembersReply, wanted: &str) -> Result<&'a wire::Member, String> {
    let number: Option<u64> = wanted.parse().ok();
    let members = &members.members;
    let named = members.iter().find(|m| name(m) == wanted);
    named.or_else(|| members.iter().find(|m| number == Some(m.node))).ok_or_else(|| {
        let known: Vec<String> = members.iter().map(name).collect();
        format!("no member {wanted:?}: the cluster has {}", known.join(", "))
    })
}

/// Begins a change. Asks again if nobody can say whether it was begun and the members say that it was not: asked twice, a
/// change is still begun once.
///
/// # Errors
/// It is refused, no leader was found, or its outcome stays unknown.
pub async fn begin(
    steer: &mut Steer,
    within: Duration,
    is_begun: impl Fn(&wire::MembersReply) -> bool,
    ask: impl AsyncFn(&mut Steer) -> Result<wire::ChangeReply, SteerError>,
) -> Result<(), SteerError> {
    let deadline = Instant::now() + within;
    loop {
        let unknown = match ask(steer).await {
            Ok(_) => return Ok(()),
            Err(error @ SteerError::Unknown(_)) => error,
            Err(error @ (SteerError::Refused(_) | SteerError::NotDone(_))) => return Err(error),
        };
        match steer.members().await {
            Ok(members) if is_begun(&members) => return Ok(()),
            Ok(_) | Err(_) if Instant::now() > deadline => return Err(unknown),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Looks at the members until they are as wished: until `lacking` says nothing any more.
///
/// # Errors
/// What is still lacking when the time is over, an error of `lacking`, or no leader was found in all that time.
pub async fn until(
    steer: &mut Steer,
    within: Duration,
    mut lacking: impl FnMut(&wire::MembersReply) -> Result<Option<String>, Failure>,
) -> Result<wire::MembersReply, Failure> {
    let deadline = Instant::now() + within;
    let mut last = None;
    loop {
        let why = match steer.members().await {
            Ok(members) => match lacking(&members)? {
                None => return Ok(members),
                Some(lacking) => {
                    last = Some(lacking.clone());
                    lacking
                }
            },
            Err(SteerError::Refused(why)) => return Err(Failure::Refused(why)),
            // Between two leaders nobody can say; what was seen last says more than that.
            Err(error @ (SteerError::NotDone(_) | SteerError::Unknown(_))) => {
                last.clone().unwrap_or_else(|| error.to_string())
            }
        };
        if Instant::now() > deadline {
            return Err(Failure::Refused(why));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// `raftdeck members`.
///
/// # Errors
/// No leader answers.
pub async fn run(target: &Target, out: Out) -> Result<(), Failure> {
    let reply = steer(target).members().await?;
    let told = Told::of(&reply);
    out.say(&told, || told.words(out.columns))
}

/// Addresses go first: `status` has them too.
const NARROW: Narrow<9> = Narrow {
    heads: ["NODE", "ID", "ROLE", "API", "PEER", "STORAGE", "MATCH", "LAG", "NOTE"],
    goes: &[4, 3, 5, 6, 1],
    verb: "members",
};

impl Told {
    fn of(reply: &wire::MembersReply) -> Told {
        let member = |m: &wire::Member| Member {
            id: m.node,
            name: name(m),
            role: role(m),
            leader: m.node == reply.leader,
            peer: plain(&m.peer),
            api: plain(&m.api),
            storage: (!m.storage_id.is_empty()).then(|| m.storage_id.chars().take(STORAGE_SHORT).collect()),
            matched: m.match_index,
            lag: reply.last.saturating_sub(m.match_index),
            heard_ms: m.heard_ms,
            damaged: m.damaged,
            snapshot: m.snapshot.map(|s| Snapshot { stored: s.stored, bytes: s.bytes }),
        };
        let members: Vec<Member> = reply.members.iter().map(member).collect();
        let leader = members.iter().find(|m| m.leader).map(|m| m.name.clone());
        Told { leader, term: reply.term, settled: reply.settled, members }
    }

    fn words(&self, columns: Option<usize>) -> String {
        let row = |m: &Member| {
            let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
            let heard = m.heard_ms.is_some();
            let mut notes = Vec::new();
            notes.extend(m.leader.then(|| "leads".to_owned()));
            notes.extend((!heard).then(|| "not heard by the leader".to_owned()));
            notes.extend(m.damaged.then(|| "damaged, being refilled".to_owned()));
            notes.extend(m.snapshot.as_ref().map(|s| format!("gets a snapshot: {} of {} bytes", s.stored, s.bytes)));
            [
                m.name.clone(),
                m.id.to_string(),
                m.role.to_owned(),
                dash(&m.api),
                dash(&m.peer),
                dash(m.storage.as_deref().unwrap_or_default()),
                m.matched.to_string(),
                m.lag.to_string(),
                notes.join(", "),
            ]
        };
        let rows: Vec<[String; 9]> = self.members.iter().map(row).collect();
        let change = if self.settled { "" } else { "; a change is under way" };
        let leader = self.leader.as_deref().unwrap_or("a node that is leaving");
        format!("{}\n{leader} leads in term {}{change}", table_within(columns, NARROW.heads, &NARROW, &rows), self.term)
    }
}
