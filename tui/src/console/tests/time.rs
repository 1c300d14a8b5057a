//! The past: going there and back, recordings, and nodes that come later.

use raftdeck_shared::{ids::NodeId, wire};

use super::{
    fixture::{Desk, election, split, status},
    screens::{snapshot, text},
};
use crate::console::{
    model::Model,
    msg::{ActId, Body, Cmd, Slot},
    past,
    record::{self, Writer},
    replayed,
    theme::{Skin, Theme, UNICODE},
};

/// A cluster that commits an entry every 100 ms for five seconds, with an act at each second.
fn busy() -> Desk {
    let mut desk = Desk::whole();
    for at in 1..=50 {
        desk.run_ms = at * 100;
        desk.status(wire::NodeStatus { commit: 1841 + at, last: 1843 + at, ..status(2) });
        if at % 10 == 0 {
            desk.keys("H");
            desk.tell(Body::Done(ActId(at / 10), Ok("done".into())));
        }
    }
    desk
}

fn commit(desk: &Desk) -> u64 {
    desk.model.shown().nodes[1].word().map_or(0, |s| s.commit.0)
}

#[test]
fn the_past_stands_still_while_the_present_goes_on() {
    let mut desk = busy();
    desk.keys("p");
    assert_eq!(commit(&desk), 1891);
    desk.run_ms = 6_000;
    desk.status(wire::NodeStatus { commit: 1999, last: 1999, ..status(2) });
    assert_eq!(commit(&desk), 1891);
    desk.keys(",,,");
    assert_eq!(commit(&desk), 1888);
    desk.keys(".");
    assert_eq!(commit(&desk), 1889);
    desk.keys("L");
    assert_eq!(commit(&desk), 1999);
    assert!(desk.model.past.is_none());
}

#[test]
fn jumps_go_from_turn_to_turn_and_say_where_they_end() {
    let mut desk = busy();
    let mut seen = Vec::new();
    for _ in 0..4 {
        desk.keys("{");
        seen.push(desk.model.shown().now.run_ms);
    }
    assert_eq!(seen, [4_000, 3_000, 2_000, 1_000]);
    desk.keys("}");
    assert_eq!(desk.model.shown().now.run_ms, 2_000);
    desk.keys("{{{{");
    assert!(desk.model.toast.as_ref().is_some_and(|t| t.text.starts_with("no fault or election before")));
    assert_eq!(desk.model.shown().now.run_ms, 1_000, "it stays");
}

#[test]
fn what_is_played_moves_with_the_clock_and_arrives_at_the_present() {
    let mut desk = busy();
    desk.keys("p,,,,,,,,,,");
    assert_eq!(commit(&desk), 1881);
    desk.keys("p");
    desk.run_ms += 500;
    desk.tell(Body::Tick);
    assert_eq!(commit(&desk), 1886);
    desk.keys("+");
    desk.run_ms += 200;
    desk.tell(Body::Tick);
    assert_eq!(commit(&desk), 1890, "twice as fast");
    desk.run_ms += 5_000;
    desk.tell(Body::Tick);
    assert!(desk.model.past.is_none(), "live again");
}

#[test]
fn nothing_is_done_to_the_cluster_from_the_past() {
    for keys in ["K", "x", "H", "r", "s"] {
        let mut desk = split();
        desk.model.can_restart = true;
        desk.keys("p");
        assert_eq!(desk.keys(keys), []);
        assert!(desk.model.dialog.is_none(), "{keys}");
        assert!(desk.model.toast.as_ref().is_some_and(|t| t.text.contains("you look at the past")), "{keys}");
    }
}

#[test]
fn a_time_can_be_typed() {
    let mut desk = busy();
    desk.keys(":at 12:04:33.5");
    desk.press(crossterm::event::KeyCode::Enter);
    assert_eq!(commit(&desk), 1841 + 23, "2.3 s after the start at 12:04:31.2");
    desk.keys(":at 09:00:00");
    desk.press(crossterm::event::KeyCode::Enter);
    assert!(desk.model.toast.as_ref().is_some_and(|t| t.text.contains("is not in what is kept here")));
}

#[test]
fn a_recording_makes_the_same_screen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.jsonl");
    let mut desk = Desk::whole();
    let mut writer = Writer::begin(&file, &desk.model.live, &desk.model.film).unwrap();
    assert!(Writer::begin(&file, &desk.model.live, &desk.model.film).is_err(), "nothing is overwritten");
    for o in election() {
        desk.observe(o);
    }
    desk.run_ms = 2_000;
    desk.keys("H");
    desk.lose(5);
    desk.run_ms = 2_500;
    desk.status(wire::NodeStatus { commit: 1843, ..status(2) });
    desk.model.toast = None;
    desk.model.pending.clear();
    writer.follow(&desk.model.film).unwrap();

    let mut model = Model::new(String::new(), Skin::new(Theme::Dark, UNICODE));
    let records = record::read(&file).unwrap();
    assert_eq!(records.len() as u64, writer.written);
    replayed(&mut model, records, 0);
    assert!(model.playing());
    past::to(&mut model, u64::MAX);
    let body = |model: &Model| text(model, 120, 34).lines().skip(1).take(31).map(str::to_owned).collect::<Vec<_>>();
    model.past.as_mut().unwrap().playing = false;
    desk.keys("p");
    assert_eq!(body(&model), body(&desk.model));
    assert!(text(&model, 120, 34).contains("REPLAY"));
}

/// Three real nodes: their leader is killed and comes back, the next one is cut off and healed (`screens/record.sh` made it).
/// What nodes said then must be understood as long as there are recordings, and be shown as it was.
#[test]
fn a_recording_of_a_real_cluster_is_shown_as_it_was() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/console/tests/three.jsonl");
    let records = record::read(std::path::Path::new(file)).unwrap();
    let mut model = Model::new(String::new(), Skin::new(Theme::Dark, UNICODE));
    replayed(&mut model, records, 0);
    past::pause(&mut model);
    let screens = [("a leader", 800), ("it was killed", 1_100), ("the next is cut off", 5_100), ("the end", u64::MAX)]
        .map(|(what, run_ms)| {
            past::to(&mut model, run_ms);
            format!("== {what}\n{}", text(&model, 120, 40))
        });
    snapshot("recording_120x40", &screens.concat());
}

#[test]
fn a_node_that_joins_gets_a_row_and_a_connection() {
    let mut desk = Desk::whole();
    let address = |node: u64, api: &str| wire::MemberAddress {
        node,
        name: format!("n{node}"),
        peer: "127.0.0.1:1".into(),
        api: api.into(),
    };
    let known = vec![address(2, "127.0.0.1:7102"), address(6, "127.0.0.1:7106")];
    let status_of = |id, known: &[wire::MemberAddress]| {
        let raw = wire::NodeStatus { known: known.to_vec(), ..status(id) };
        std::sync::Arc::new(crate::console::status::Status::from_wire(raw))
    };
    let cmds = desk.tell(Body::Node(Slot(2), crate::console::msg::NodeMsg::Status(status_of(3, &known))));
    assert_eq!(cmds, [Cmd::Reach { slot: Slot(5), api: "127.0.0.1:7106".into() }]);
    assert_eq!(desk.model.live.nodes[5].id, Some(NodeId(6)));
    let again = desk.tell(Body::Node(Slot(1), crate::console::msg::NodeMsg::Status(status_of(2, &known))));
    assert_eq!(again, []);
    // It came back on another port: only the leader is believed, and only while it is not reached.
    let moved = vec![address(6, "127.0.0.1:9999")];
    let tell = |desk: &mut Desk, id: u64| {
        desk.tell(Body::Node(Slot(id as usize - 1), crate::console::msg::NodeMsg::Status(status_of(id, &moved))))
    };
    assert_eq!(tell(&mut desk, 2), [], "it is being tried");
    desk.lose(6);
    assert_eq!(tell(&mut desk, 3), []);
    assert_eq!(tell(&mut desk, 2), [Cmd::Reach { slot: Slot(5), api: "127.0.0.1:9999".into() }]);
    // It moved again and leads: only who follows it in the newest term can know where.
    let moved = vec![address(6, "127.0.0.1:8888")];
    let mut follows = |term| {
        let raw = wire::NodeStatus { known: moved.clone(), term, leader: 6, ..status(3) };
        let word = std::sync::Arc::new(crate::console::status::Status::from_wire(raw));
        desk.tell(Body::Node(Slot(2), crate::console::msg::NodeMsg::Status(word)))
    };
    assert_eq!(follows(6), [], "others know of a later term");
    assert_eq!(follows(8), [Cmd::Reach { slot: Slot(5), api: "127.0.0.1:8888".into() }]);
}

#[test]
fn the_page_of_keys_is_that_of_the_table() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/KEYS.md");
    let head = "# Keys of the console\n\nMade from the table in `src/console/keys.rs`; `raftdeck keys > KEYS.md` prints the table below.\n\n";
    let wanted = head.to_owned() + &crate::console::keymap::Keymap::default().page();
    if std::env::var_os("RAFTDECK_WRITE_DOCS").is_some() {
        std::fs::write(page, &wanted).unwrap();
    }
    assert!(std::fs::read_to_string(page).is_ok_and(|text| text == wanted), "again with RAFTDECK_WRITE_DOCS=1");
}
