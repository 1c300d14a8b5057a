use super::*;

const LIMIT: Window = Window { batches: 2, bytes: 100 };

#[test]
fn a_probe_waits_for_its_answer_and_the_window_for_room() {
    let mut p = Progress::new(Index(5), 0);
    assert!(p.may_send(Index(5), LIMIT), "a probe may be empty");
    p.sent(Index(5), 0, 1);
    assert!(!p.may_send(Index(9), LIMIT));
    assert!(p.acknowledged(Index(5)));
    assert!(!p.may_send(Index(5), LIMIT), "nothing to send");
    p.sent(Index(6), 10, 2);
    p.sent(Index(7), 10, 3);
    assert!(!p.may_send(Index(9), LIMIT), "two batches are in flight");
    assert!(!p.acknowledged(Index(6)));
    assert!(p.may_send(Index(9), LIMIT));
    p.sent(Index(8), 95, 4);
    assert_eq!((p.matched(), p.next(), p.unanswered_since()), (Index(6), Index(9), Some(3)));
}

/// canonical/raft and CCF had it: a refusal that comes late must not lower what the follower is known to have.
#[test]
fn a_late_refusal_changes_nothing() {
    let mut p = Progress::new(Index(9), 0);
    p.sent(Index(9), 0, 1);
    assert!(p.refused(Index(9), Index(4)));
    assert_eq!(p.next(), Index(5));
    assert!(!p.refused(Index(9), Index(2)), "the same refusal, delivered twice");
    p.acknowledged(Index(7));
    assert!(!p.refused(Index(4), Index(1)), "below what is matched");
    assert_eq!((p.matched(), p.next()), (Index(7), Index(8)));
}

/// A follower that says itself that it lost its log is believed, and filled again from where it stands.
#[test]
fn a_damaged_follower_goes_back_below_what_it_had() {
    let mut p = Progress::new(Index(9), 0);
    p.sent(Index(9), 0, 1);
    p.acknowledged(Index(9));
    p.probe_again();
    p.sent(Index(9), 0, 2);
    assert!(!p.refused(Index(9), Index(3)), "it had that on disk");
    p.set_damaged(true);
    assert!(p.refused(Index(9), Index(3)));
    assert_eq!((p.matched(), p.next()), (Index(3), Index(4)));
}

/// A learner is ready when a round took less than an election timeout, and not when it only ever runs behind.
#[test]
fn a_learner_is_measured_in_rounds() {
    let mut p = Progress::new(Index(0), 0);
    p.measure(Index(100), Index(90), 0, 30);
    p.acknowledged(Index(100));
    p.measure(Index(200), Index(190), 40, 30);
    assert!(!p.is_caught_up(), "the round took 40 ticks");
    p.acknowledged(Index(200));
    p.measure(Index(210), Index(201), 60, 30);
    assert!(!p.is_caught_up(), "201 is committed");
    p.acknowledged(Index(210));
    p.measure(Index(210), Index(210), 61, 30);
    assert!(p.is_caught_up());
}

/// A link that needs 400 ticks for a chunk, where an answer may take 30: it is sent again until it is known how slow the
/// link is, and then once.
#[test]
fn a_slow_chunk_is_sent_once_when_it_is_known_how_long_one_takes() {
    let mut p = Progress::new(Index(9), 0);
    p.offered(0);
    p.wanted(0, 1);
    let (mut now, mut sent) = (1, Vec::new());
    for chunk in 1..=4 {
        let mut times = 1;
        for _ in 0..400 {
            now += 1;
            if p.is_overdue(now, 30) {
                p.probe_again();
                p.offered(now);
                p.wanted(chunk - 1, now);
                times += 1;
            }
        }
        p.wanted(chunk, now);
        sent.push(times);
    }
    assert_eq!(sent, [4, 2, 1, 1]);
    // The link is fast again, and one is lost.
    p.wanted(5, now + 2);
    assert!(!p.is_overdue(now + 2 + 29, 30));
    assert!(p.is_overdue(now + 2 + 30, 30));
}

/// What was lost says nothing about how long a chunk takes.
#[test]
fn a_chunk_that_was_sent_twice_measures_nothing() {
    let mut p = Progress::new(Index(9), 0);
    p.offered(0);
    p.wanted(0, 1);
    p.probe_again();
    p.offered(5_000);
    p.wanted(0, 5_001);
    p.wanted(1, 5_002);
    assert!(p.is_overdue(5_002 + 30, 30), "as long as anything may take");
    assert!(!p.is_overdue(5_002 + 30 + 29, 30), "and then twice as long");
}

#[test]
fn another_directory_begins_from_nothing() {
    let mut p = Progress::new(Index(5), 0);
    p.heard(StorageId(1), Index(5), 1);
    p.sent(Index(5), 0, 1);
    p.acknowledged(Index(5));
    p.heard(StorageId(2), Index(9), 2);
    assert_eq!((p.matched(), p.next(), p.sending()), (Index(0), Index(10), Sending::Probing));
}

#[test]
fn a_refusal_always_moves_the_probe_back() {
    let mut p = Progress::new(Index(9), 0);
    p.sent(Index(9), 0, 1);
    assert!(p.refused(Index(9), Index(9)), "a hint that would not move is not believed");
    assert_eq!(p.next(), Index(9));
}
