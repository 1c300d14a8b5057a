//! One task per node: it owns the connection and tells what comes over it.
//!
//! ```text
//! Connecting --snapshot--> Live --broken--> Retrying{at} --time--> Connecting
//! ```
//!
//! Laws:
//! - no node's trouble reaches another node's task, and none of them reaches the loop but as a message;
//! - of statuses only the newest counts: a cell per node, overwritten, so a slow screen shows late but never old news;
//! - observations go into the bounded queue or are counted as dropped; memory does not grow with a fast node;
//! - a stream that broke is resumed where it ended (`from_seq` under the same boot);
//! - a node of which nothing comes for [`SILENT_AFTER`] is told as silent, whatever its connection says: the process may
//!   stand still while its machine keeps the connection open. This is the only place that decides it.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use raftdeck_shared::{
    client::words,
    wire::{self, ObserveEvent, admin_client::AdminClient, observe_event::Event},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, Sleep, sleep, timeout},
};
use tonic::{Streaming, transport::Channel};

use super::{
    msg::{Body, Msg, NodeMsg, Slot, Time},
    status::Status,
    text::clean,
};

/// First wait before a new try; it doubles with each that fails.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);

/// Longest wait before a new try.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A node that has not said its first word by then does not answer.
const FIRST_WORD_MAX: Duration = Duration::from_secs(2);

/// Nothing was heard of a node twice when it should have said at least that it is still here: it is silent.
const SILENT_AFTER: Duration = wire::STILL_HERE_EVERY.saturating_mul(2);

/// An alarm that goes off so much too late says that it was this process that stood still.
const LATE: Duration = Duration::from_millis(100);

/// Reads the clocks, outside of the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time { run_ms: millis(self.start.elapsed()), unix_ms: millis(unix) }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A status and when it came.
type Word = (Time, Arc<Status>);

/// The newest status of each node that the loop has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    cells: Mutex<Vec<Option<Word>>>,
    changed: Notify,
}

impl Newest {
    fn put(&self, slot: Slot, at: Time, status: Arc<Status>) {
        let mut cells = self.cells.lock().expect("no holder panics");
        if cells.len() <= slot.0 {
            // A node that joined later.
            cells.resize(slot.0 + 1, None);
        }
        cells[slot.0] = Some((at, status));
        drop(cells);
        self.changed.notify_one();
    }

    fn forget(&self, slot: Slot) {
        if let Some(cell) = self.cells.lock().expect("no holder panics").get_mut(slot.0) {
            *cell = None;
        }
    }

    /// Waits until there is something to take.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes what is there.
    pub(crate) fn take(&self) -> Vec<Msg> {
        let mut cells = self.cells.lock().expect("no holder panics");
        let taken = cells.iter_mut().enumerate().filter_map(|(at, cell)| Some((Slot(at), cell.take()?)));
        taken.map(|(slot, (at, status))| Msg { at, body: Body::Node(slot, NodeMsg::Status(status)) }).collect()
    }
}

/// Where the tasks tell what they learn.
#[derive(Clone, Debug)]
pub(crate) struct Ears {
    pub(crate) queue: mpsc::Sender<Msg>,
    pub(crate) newest: Arc<Newest>,
    /// Called when a node was started: who waits for one tries again at once.
    pub(crate) retry: Arc<Notify>,
    pub(crate) clock: Clock,
}

/// Watches one node until the console ends.
pub(crate) async fn watch(slot: Slot, channel: Channel, ears: Ears) {
    let mut watch = Watch { slot, ears, resume: Resume::default(), failures: 0, lost: 0 };
    loop {
        if !watch.tell(NodeMsg::Connecting).await {
            return;
        }
        let why = watch.session(AdminClient::new(channel.clone())).await;
        watch.ears.newest.forget(slot);
        let wait = backoff(watch.failures, random());
        watch.failures = watch.failures.saturating_add(1);
        let at_run_ms = watch.ears.clock.now().run_ms + millis(wait);
        if !watch.tell(NodeMsg::Retrying { at_run_ms, why: clean(&why) }).await {
            return;
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = watch.ears.retry.notified() => watch.failures = 0,
        }
    }
}

/// What the last stream said, to go on from there.
#[derive(Debug, Default)]
struct Resume {
    boot_id: String,
    from_seq: Option<u64>,
}

/// When something was last heard on a stream. The alarm is not set anew with each event, which come by the thousand: when it
/// goes off it is seen what has come since.
struct Quiet {
    heard: Instant,
    told: bool,
}

impl Quiet {
    /// Something came; whether it had been told that nothing does.
    fn heard(&mut self, now: Instant) -> bool {
        self.heard = now;
        std::mem::take(&mut self.told)
    }

    /// The alarm that was set for this time goes off: when it is to go off again. None if it is silent.
    fn rings(&mut self, now: Instant, due: Instant) -> Option<Instant> {
        let silent_at = self.heard + SILENT_AFTER;
        if now < silent_at {
            return Some(silent_at);
        }
        // What came meanwhile may not have been read yet.
        if now > due + LATE {
            return Some(now + SILENT_AFTER / 2);
        }
        self.told = true;
        None
    }
}

struct Watch {
    slot: Slot,
    ears: Ears,
    resume: Resume,
    failures: u32,
    lost: u64,
}

impl Watch {
    /// One stream, from opening to its end; why it ended.
    async fn session(&mut self, mut client: AdminClient<Channel>) -> String {
        let request = wire::ObserveRequest {
            from_seq: self.resume.from_seq,
            boot_id: self.resume.boot_id.clone(),
            kinds: Vec::new(),
        };
        let opening = async {
            let mut stream = client.observe(request).await?.into_inner();
            let first = stream.message().await?;
            Ok::<_, tonic::Status>((stream, first))
        };
        let (mut stream, first) = match timeout(FIRST_WORD_MAX, opening).await {
            Err(_) => return format!("no answer within {} ms", FIRST_WORD_MAX.as_millis()),
            Ok(Err(status)) => return words(&status),
            Ok(Ok(opened)) => opened,
        };
        let mut next = first;
        let mut quiet = Quiet { heard: Instant::now(), told: false };
        let mut alarm = pin!(sleep(SILENT_AFTER));
        loop {
            let Some(ObserveEvent { event }) = next else { return "the node ended the stream".into() };
            // None: a newer node says something that this console has no word for.
            if let Some(event) = event {
                self.event(event).await;
            }
            next = match self.wait(&mut stream, &mut quiet, alarm.as_mut()).await {
                Ok(next) => next,
                Err(status) => return ended(&status),
            };
            if quiet.heard(Instant::now()) {
                self.tell(NodeMsg::Heard).await;
                alarm.as_mut().reset(quiet.heard + SILENT_AFTER);
            }
        }
    }

    /// Waits for an event, and tells if none comes for too long.
    async fn wait(
        &self,
        stream: &mut Streaming<ObserveEvent>,
        quiet: &mut Quiet,
        mut alarm: Pin<&mut Sleep>,
    ) -> Result<Option<ObserveEvent>, tonic::Status> {
        loop {
            tokio::select! {
                biased;
                next = stream.message() => return next,
                () = alarm.as_mut(), if !quiet.told => match quiet.rings(Instant::now(), alarm.deadline()) {
                    Some(again) => alarm.as_mut().reset(again),
                    None => {
                        let silent_ms = millis(quiet.heard.elapsed());
                        let since_run_ms = self.ears.clock.now().run_ms.saturating_sub(silent_ms);
                        self.tell(NodeMsg::Silent { since_run_ms }).await;
                    }
                },
            }
        }
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Snapshot(raw) => {
                self.failures = 0;
                if self.resume.boot_id != raw.boot_id {
                    let first_ever = self.resume.boot_id.is_empty();
                    self.resume.from_seq = Some(if first_ever { raw.observation_seq.saturating_add(1) } else { 1 });
                    self.resume.boot_id.clone_from(&raw.boot_id);
                }
                self.tell(NodeMsg::Snapshot(Arc::new(Status::from_wire(raw)))).await;
            }
            Event::Status(raw) => {
                let status = Arc::new(Status::from_wire(raw));
                self.ears.newest.put(self.slot, self.ears.clock.now(), status);
                self.report_lost();
            }
            Event::Observations(wire::Observations { list }) => {
                for mut observation in list {
                    // The stream says it; in a long history it would be the larger half.
                    observation.boot_id = String::new();
                    self.resume.from_seq = Some(observation.seq.saturating_add(1));
                    self.report_lost();
                    if !self.try_tell(NodeMsg::Observed(Arc::new(observation))) {
                        self.lost += 1;
                    }
                }
            }
            Event::Dropped(count) => {
                self.lost = self.lost.saturating_add(count);
                self.report_lost();
            }
            Event::StillHere(_) => {}
        }
    }

    fn report_lost(&mut self) {
        if self.lost > 0 && self.try_tell(NodeMsg::Dropped(self.lost)) {
            self.lost = 0;
        }
    }

    /// For what must arrive: waits for room. False when the console has ended.
    async fn tell(&self, news: NodeMsg) -> bool {
        self.ears.queue.send(self.msg(news)).await.is_ok()
    }

    /// For what may be lost, if it is counted.
    fn try_tell(&self, news: NodeMsg) -> bool {
        self.ears.queue.try_send(self.msg(news)).is_ok()
    }

    fn msg(&self, news: NodeMsg) -> Msg {
        Msg { at: self.ears.clock.now(), body: Body::Node(self.slot, news) }
    }
}

/// Why an open stream ended, in words for people: how the layers below name it says nothing to them.
fn ended(status: &tonic::Status) -> String {
    let said = words(status);
    if said.contains("keep-alive") {
        "it no longer answers".into()
    } else if said.contains("protocol error") || said.contains("transport error") {
        "the connection broke".into()
    } else {
        said
    }
}

/// The wait after so many failures: doubling, capped, and up to a fifth more or less so that the tries of several
/// consoles do not fall together.
fn backoff(failures: u32, random: u64) -> Duration {
    let base = BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_MAX);
    base.mul_f64(0.8 + 0.4 * (random % 1000) as f64 / 1000.0)
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_word_of_the_present_stream_counts() {
        let newest = Newest::default();
        let word = |commit| Arc::new(Status::from_wire(wire::NodeStatus { commit, ..Default::default() }));
        (1..=9).for_each(|commit| newest.put(Slot(0), Time::default(), word(commit)));
        newest.put(Slot(1), Time::default(), word(5));
        newest.forget(Slot(1));
        let taken = newest.take();
        let [Msg { body: Body::Node(Slot(0), NodeMsg::Status(status)), .. }] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!(status.commit.0, 9);
        assert!(newest.take().is_empty());
    }

    #[test]
    fn a_node_is_silent_when_it_twice_did_not_say_that_it_is_still_here() {
        assert!(SILENT_AFTER < Duration::from_secs(1), "it is seen within a second");
        let start = Instant::now();
        let at = |quarters: u32| start + SILENT_AFTER * quarters / 4;
        let mut quiet = Quiet { heard: start, told: false };
        assert!(!quiet.heard(at(2)), "nothing was told of it");
        assert_eq!(quiet.rings(at(4), at(4)), Some(at(6)), "something came meanwhile");
        assert_eq!((quiet.rings(at(6), at(6)), quiet.told), (None, true));
        assert!(quiet.heard(at(7)) && !quiet.heard(at(8)), "that it is back is told once");
        // This process was stopped: what came meanwhile is still to be read.
        let again = quiet.rings(at(40), at(12)).expect("it gets its chance");
        assert_eq!((quiet.rings(again, again), quiet.told), (None, true));
    }

    #[test]
    fn a_broken_stream_is_named_in_plain_words() {
        let said = |text: &str| ended(&tonic::Status::unknown(text));
        assert_eq!(said("h2 protocol error: error reading a body from connection"), "the connection broke");
        assert_eq!(said("too many streams"), "too many streams");
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let nominal = |failures| backoff(failures, 500).as_millis();
        assert_eq!([0, 1, 2, 3, 4, 5, 60].map(nominal), [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(backoff(0, 0).as_millis(), 200);
        assert!(backoff(99, 999) < Duration::from_secs(6));
    }
}
