//! What is drawn while nothing happens, and what of a node that says nothing.

use std::sync::Arc;

use crossterm::event::KeyCode;
use raftdeck_shared::wire;

use super::{
    fixture::{Desk, UNIX_MS, status},
    screens::text,
};
use crate::console::{
    deck,
    model::Pane,
    msg::{Body, NodeMsg, Slot},
    status::Status,
};

fn row(desk: &Desk, name: &str) -> String {
    let screen = text(&desk.model, 120, 40);
    screen.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned()
}

#[test]
fn an_idle_cluster_is_drawn_once_and_says_as_of_when() {
    let mut desk = Desk::whole();
    let first = text(&desk.model, 120, 40);
    assert!(first.lines().next().is_some_and(|line| line.ends_with("LIVE as of 12:04:31")), "{first}");
    for second in 1..=60 {
        desk.run_ms = second * 1_000;
        for id in 1..=5 {
            let heard_ms = if id == 2 { 0 } else { 10 + (second + id) % 40 };
            let raw = wire::NodeStatus { at_ms: UNIX_MS + second * 1_000, heard_ms, observation_seq: 7, ..status(id) };
            let body = Body::Node(Slot(id as usize - 1), NodeMsg::Status(Arc::new(Status::from_wire(raw))));
            assert!(!deck::is_seen(&desk.model, &body), "nothing happened at n{id}");
            desk.tell(body);
        }
        assert_eq!(desk.model.ages(), None, "and nothing ages");
    }
    assert!(text(&desk.model, 120, 40).contains("LIVE as of 12:05:31"), "what a key asks for is as of now");
    let mut slow = status(1);
    slow.peers[0].heard_ms = Some(1_400);
    let body = Body::Node(Slot(0), NodeMsg::Status(Arc::new(Status::from_wire(slow))));
    assert!(deck::is_seen(&desk.model, &body), "a link that has become slow is news");
}

#[test]
fn a_node_that_stands_still_is_not_drawn_as_live() {
    let mut desk = Desk::whole();
    desk.run_ms = 5_000;
    desk.node(4, NodeMsg::Silent { since_run_ms: 4_200 });
    assert!(
        row(&desk, " n4 ").contains("silent ?") && row(&desk, " n4 ").contains("800ms ago"),
        "{}",
        row(&desk, " n4 ")
    );
    assert!(row(&desk, "raftdeck demo-5").contains("LIVE 4/5"));
    assert_eq!(desk.model.ages().map(|every| every.as_millis()), Some(1_000), "its age is drawn, by the second");
    desk.run_ms = 8_400;
    desk.tell(Body::Tick);
    assert!(row(&desk, " n4 ").contains("4.2s ago"), "{}", row(&desk, " n4 "));
    // The present is shown as it was then, too.
    desk.keys("p");
    assert!(row(&desk, " n4 ").contains("silent ?"));
    desk.keys("L");
    desk.node(4, NodeMsg::Heard);
    assert!(row(&desk, " n4 ").contains("follower") && row(&desk, " n4 ").contains("live"), "{}", row(&desk, " n4 "));
    assert_eq!(desk.model.live.outages.newest().count(), 0, "that it said nothing for a moment is no outage");
    desk.node(4, NodeMsg::Silent { since_run_ms: 8_400 });
    desk.status(status(4));
    assert!(row(&desk, " n4 ").contains("live"), "a word is a sign of life");
    desk.node(4, NodeMsg::Silent { since_run_ms: 8_400 });
    desk.lose(4);
    let told = desk.model.live.wanted(false, None).into_iter().map(|line| line.text).collect::<Vec<_>>();
    assert_eq!(told, ["console: lost n4: connection refused"]);
}

#[test]
fn links_are_whole_columns_and_those_without_room_are_counted() {
    let mut desk = Desk::new(50);
    for id in 1..=50 {
        desk.snapshot(wire::NodeStatus { voters: (1..=50).collect(), ..status(id) });
    }
    desk.model.focus = Pane::Links;
    for (width, cursor) in [(80, 0), (80, 49), (120, 24), (200, 3)] {
        desk.model.cursor = cursor;
        let screen = text(&desk.model, width, 40);
        let lines: Vec<&str> = screen.lines().collect();
        let at = lines.iter().position(|line| line.contains("Links")).expect("the pane is there");
        let left = |line: &str| line.chars().skip(1).take_while(|c| *c != '│').collect::<String>();
        let head = left(lines[at + 1]);
        let names: Vec<u64> = head.split_whitespace().map(|name| name[1..].parse().unwrap()).collect();
        assert!(names.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{head}");
        assert!(names.contains(&(cursor as u64 + 1)), "{head}");
        assert!(screen.contains(&format!("{} of 50 columns not shown", 50 - names.len())), "{screen}");
        let of_cursor = left(lines[at + 2..].iter().find(|line| line.contains(&format!("n{} ", cursor + 1))).unwrap());
        assert_eq!(of_cursor.split_whitespace().count(), names.len() + 1, "{of_cursor}");
    }
}

#[test]
fn the_size_that_a_small_terminal_is_asked_for_is_enough() {
    let desk = Desk::whole();
    let small = text(&desk.model, 59, 16);
    assert!(small.contains("too small: 60x16 needed, now 59x16"), "{small}");
    assert!(text(&desk.model, 60, 15).contains("too small") && !text(&desk.model, 60, 16).contains("too small"));
}

#[test]
fn the_first_count_of_jobs_is_no_rate() {
    let mut desk = Desk::new(1);
    desk.node(1, NodeMsg::Connecting);
    desk.run_ms = 400;
    desk.snapshot(status(1));
    desk.run_ms = 1_900;
    desk.tell(Body::Tick);
    desk.press(KeyCode::Tab);
    assert!(!text(&desk.model, 120, 40).contains("job/s │"), "{}", text(&desk.model, 120, 40));
    desk.run_ms = 2_000;
    desk.status(status(1));
    assert!(text(&desk.model, 120, 40).contains(" 0 job/s "), "{}", text(&desk.model, 120, 40));
}
