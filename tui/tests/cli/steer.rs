//! The verbs that steer, against nodes that answer as a test tells them to.

use raftdeck_shared::{
    client::{LEADER_HEADER, MEMBERS_HEADER},
    wire::{Member, MemberRole, MembersReply},
};
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    call_at, error,
    fake::{Fake, Script},
    ok,
};

fn member(node: u64, role: MemberRole) -> Member {
    Member {
        node,
        name: format!("n{node}"),
        role: role.into(),
        match_index: 90 + node,
        peer: "h:1".into(),
        api: "h:2".into(),
        ..Member::default()
    }
}

/// Three voters and a learner; n1 leads.
fn four(script: &mut Script) {
    let mut members: Vec<Member> = (1..=3).map(|node| member(node, MemberRole::Voter)).collect();
    members.push(member(4, MemberRole::Learner));
    members[0].storage_id = "ab23456789abcdef".into();
    members[0].heard_ms = Some(0);
    members[1].damaged = true;
    script.members = MembersReply { term: 3, leader: 1, settled: true, last: 100, members, ..MembersReply::default() };
}

/// Says that it does not lead, and who does.
fn points_at(leader: &str, members: &str) -> Status {
    let mut headers = MetadataMap::new();
    headers.insert(LEADER_HEADER, leader.parse().unwrap());
    headers.insert(MEMBERS_HEADER, members.parse().unwrap());
    Status::with_metadata(Code::FailedPrecondition, "n1 is not the leader", headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_told_by_the_leader_also_one_that_was_not_known() {
    let leader = Fake::start(four).await;
    let api = leader.api.to_string();
    let first = Fake::start(|script| script.refusal = Some(points_at(&api, "127.0.0.1:1"))).await;
    let (code, stdout, stderr) = call_at(&first, &["members", "--json"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let one = concat!(
        r#"{"leader":"n1","term":3,"settled":true,"members":[{"id":1,"name":"n1","role":"voter","leader":true,"peer":"h:1","#,
        r#""api":"h:2","storage":"ab234567","match":91,"lag":9,"heard_ms":0,"damaged":false,"snapshot":null},"#,
    );
    assert!(stdout.starts_with(one), "{stdout}");
    let (_, words, _) = call_at(&leader, &["members"]).await;
    let expected = [
        "NODE  ID  ROLE     API  PEER  STORAGE   MATCH  LAG  NOTE",
        "n1     1  voter    h:2  h:1   ab234567     91    9  leads",
        "n2     2  voter    h:2  h:1   -            92    8  not heard by the leader, damaged, being refilled",
        "n3     3  voter    h:2  h:1   -            93    7  not heard by the leader",
        "n4     4  learner  h:2  h:1   -            94    6  not heard by the leader",
        "n1 leads in term 3",
    ];
    assert_eq!(words.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_asked_for_once_and_told_as_it_ended() {
    let fake = Fake::start(four).await;
    assert_eq!(call_at(&fake, &["transfer", "n1"]).await, error(1, "n1 leads already"));
    assert_eq!(call_at(&fake, &["transfer", "n4"]).await, error(1, "n4 is a learner: only a voter can lead"));
    assert!(fake.script.lock().unwrap().asked.is_empty());
    assert_eq!(call_at(&fake, &["transfer", "2", "--json"]).await, error(1, "as told"));
    fake.script.lock().unwrap().unknown = true;
    let line = format!("the outcome is not known: {}: nobody can say", fake.api);
    assert_eq!(call_at(&fake, &["transfer", "n2"]).await, error(1, &line));
    assert_eq!(fake.script.lock().unwrap().asked, ["transfer 2", "transfer 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_removed_only_if_a_majority_stays() {
    let fake = Fake::start(four).await;
    // Only n1 answers, and n2 is damaged: without n3 one of two would be up.
    let line = "without n3 1 of 2 voters are up and 2 needed: nobody could be elected, nothing committed; --force removes \
                it all the same";
    assert_eq!(call_at(&fake, &["remove", "n3"]).await, error(1, line));
    assert!(fake.script.lock().unwrap().asked.is_empty());
    let (code, stdout, _) = call_at(&fake, &["remove", "n3", "--force", "--json"]).await;
    assert!(code == 0 && stdout.starts_with(r#"{"node":"n3","id":3,"led":false,"took_ms":"#), "{stdout}");
    // A learner is nobody's majority. What was not begun, as the members say, is asked for again.
    fake.script.lock().unwrap().unknown = true;
    assert_eq!(call_at(&fake, &["remove", "n4"]).await.0, 0);
    assert_eq!(fake.script.lock().unwrap().asked, ["remove 3", "remove 4", "remove 4"]);
    let line = "no member \"n4\": the cluster has n1, n2";
    assert_eq!(call_at(&fake, &["remove", "n4"]).await, error(1, line));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_tells_what_is_left() {
    let fake = Fake::start(four).await;
    assert_eq!(call_at(&fake, &["snapshot", "n1", "--json"]).await, ok(r#"{"node":"n1","first":41,"cut":40}"#));
    assert_eq!(call_at(&fake, &["snapshot", "n1"]).await, ok("n1: 40 entries left the log, it begins at 41"));
}
