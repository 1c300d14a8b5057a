//! Retries, pauses and their end, from the views of jobs and queues.

use crossterm::event::KeyCode;
use raftdeck_shared::wire;

use super::{
    fixture::{Desk, jobs, status},
    screens::text,
};
use crate::console::{
    acts::Effect,
    jobs::Page,
    model::Dialog,
    msg::{Body, Cmd},
};

fn effect(desk: &Desk) -> Effect {
    let Some(Dialog::Confirm(confirm)) = &desk.model.dialog else { panic!("no question: {:?}", desk.model.dialog) };
    confirm.act.effect(&desk.model)
}

fn yes(desk: &mut Desk) -> Vec<Cmd> {
    desk.press(KeyCode::Tab);
    desk.press(KeyCode::Enter)
}

fn toast(desk: &Desk) -> &str {
    desk.model.toast.as_ref().map_or("", |t| &t.text)
}

/// The leader has two queues, of which one may be paused.
fn queues(desk: &mut Desk, paused: bool) {
    let mail = wire::QueueStatus {
        name: "mail".into(),
        available: 12,
        scheduled: 1,
        running: 3,
        paused,
        ..Default::default()
    };
    let mut raw = status(2);
    raw.queues.push(mail);
    desk.status(raw);
}

#[test]
fn marked_jobs_are_tried_again_after_a_question() {
    let mut desk = Desk::whole();
    desk.keys("4");
    assert_eq!(desk.keys("r"), []);
    assert_eq!(toast(&desk), "there is no job to retry");
    desk.tell(Body::Jobs(Ok(std::sync::Arc::new(Page::from_wire(&jobs())))));
    desk.keys("r");
    let asked = effect(&desk);
    assert_eq!((asked.question.as_str(), asked.now.as_str()), ("Try job 312 again now?", "1 completed"));
    assert_eq!((asked.same_as.as_str(), asked.quorum_lost), ("raftdeck retry 312", false));
    desk.press(KeyCode::Esc);
    // 309 is retryable, 308 is discarded.
    desk.keys("jjj  r");
    let asked = effect(&desk);
    assert_eq!((asked.question.as_str(), asked.now.as_str()), ("Try 2 jobs again now?", "1 discarded, 1 retryable"));
    assert_eq!(asked.same_as, "raftdeck retry 308 309");
    let cmds = yes(&mut desk);
    assert!(matches!(&cmds[..], [Cmd::RetryJobs { ids, .. }] if *ids == [308, 309]), "{cmds:?}");
    assert!(desk.model.browse.jobs_marked.is_empty());
    assert_eq!(desk.model.same_as, "raftdeck retry 308 309");
    assert_eq!(desk.model.live.outages.newest().count(), 0, "nothing was broken");
}

/// A list that has become shorter has its cursor on the last row.
#[test]
fn the_job_on_which_the_cursor_is_drawn_is_meant() {
    let mut desk = Desk::whole();
    let mut page = jobs();
    desk.tell(Body::Jobs(Ok(std::sync::Arc::new(Page::from_wire(&page)))));
    desk.keys("4jjj");
    page.jobs.truncate(1);
    desk.tell(Body::Jobs(Ok(std::sync::Arc::new(Page::from_wire(&page)))));
    desk.keys("r");
    assert_eq!(effect(&desk).question, "Try job 312 again now?");
}

#[test]
fn the_queue_under_the_cursor_is_paused_and_resumed_after_a_question() {
    let mut desk = Desk::whole();
    queues(&mut desk, false);
    desk.keys("5jP");
    let asked = effect(&desk);
    assert_eq!(asked.question, "Pause queue mail? Nobody is given a job of it any more.");
    assert_eq!(asked.now, "13 jobs waiting (12 available), 3 running");
    assert_eq!(asked.after, "3 jobs running go on; what waits stays, until the queue is resumed");
    assert_eq!(asked.same_as, "raftdeck pause mail");
    let cmds = yes(&mut desk);
    assert!(matches!(&cmds[..], [Cmd::PauseQueue { queue, paused: true, .. }] if queue == "mail"), "{cmds:?}");
    assert!(!text(&desk.model, 80, 24).contains("paused"));

    queues(&mut desk, true);
    for (width, height) in [(80, 24), (120, 40)] {
        let screen = text(&desk.model, width, height);
        let line = screen.lines().find(|line| line.contains("mail")).unwrap();
        assert!(line.contains("paused"), "{line}");
        assert!(!screen.lines().any(|line| line.contains("default") && line.contains("paused")));
    }
    desk.keys("P");
    let asked = effect(&desk);
    assert_eq!(asked.question, "Resume queue mail? Its jobs are given out again.");
    assert_eq!(asked.now, "paused; 13 jobs waiting (12 available), 3 running");
    assert_eq!(asked.after, "12 jobs can be claimed; who waits for work gets them at once");
    assert_eq!(asked.same_as, "raftdeck resume mail");
    let cmds = yes(&mut desk);
    assert!(matches!(&cmds[..], [Cmd::PauseQueue { queue, paused: false, .. }] if queue == "mail"), "{cmds:?}");
    assert_eq!(desk.model.live.outages.newest().count(), 0, "nothing was broken");
}

#[test]
fn where_there_is_no_queue_none_is_paused() {
    let mut desk = Desk::whole();
    for id in 1..=5 {
        desk.status(wire::NodeStatus { queues: Vec::new(), ..status(id) });
    }
    assert_eq!(desk.keys("5P"), []);
    assert!(desk.model.dialog.is_none());
    assert_eq!(toast(&desk), "the cursor is on no queue");
}
