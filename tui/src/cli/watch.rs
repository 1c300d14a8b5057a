//! `watch --plain`: what every node observes, a line each, as it comes.
//!
//! One task a node follows its stream and resumes where it broke off; one printer tells what arrives. Lines of one node
//! are in the node's order; between nodes the times on the lines tell. Nothing is hidden: a reader that was too slow is
//! told how much it missed, and a node that cannot be reached is a line too.

use std::{collections::BTreeMap, time::Duration};

use raftdeck_shared::wire::{self, ObservationKind, observe_event::Event as Wire};
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    failure::Failure,
    out::Out,
    status::View,
    target::{Member, Target},
    values::{clock, now_ms},
};
use crate::{
    ask,
    narrate::{bare_name, sentence},
    plain::plain,
};

/// Lines that wait for the printer; a full queue makes the nodes drop and say so.
const QUEUE: usize = 1024;

/// The pause before a node that was lost is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// All the streams of a cluster. Ends when it is dropped.
#[derive(Debug)]
pub struct Streams {
    events: mpsc::Receiver<(Member, News)>,
    names: BTreeMap<u64, String>,
    _tasks: JoinSet<()>,
}

/// What one stream brings.
#[derive(Debug)]
enum News {
    Reached(Box<wire::NodeStatus>),
    Again(u32),
    Seen(Box<wire::Observation>),
    Missed(u64),
    Lost,
}

/// One line of the narration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Unix milliseconds, by the node's clock.
    pub at_ms: u64,
    /// Who says it.
    pub node: String,
    /// Of the node's observations; 0: said by this program.
    pub seq: u64,
    /// Of the observation.
    pub term: u64,
    /// What happened, and why.
    pub text: String,
}

impl Line {
    /// A line that this program says itself.
    #[must_use]
    pub fn own(who: &str, text: String) -> Line {
        Line { at_ms: now_ms(), node: who.to_owned(), seq: 0, term: 0, text }
    }

    /// Prints it.
    ///
    /// # Errors
    /// Stdout does not take it.
    pub fn print(&self, out: Out) -> Result<(), Failure> {
        out.say(self, || format!("{} {:<4} {}", clock(self.at_ms), self.node, self.text))
    }
}

impl Streams {
    /// Follows every node of the cluster; no kinds are all kinds.
    #[must_use]
    pub fn open(target: &Target, kinds: &[ObservationKind]) -> Streams {
        let (sender, events) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        let mut names = BTreeMap::new();
        let kinds: Vec<i32> = kinds.iter().map(|kind| i32::from(*kind)).collect();
        for member in &target.members {
            if let (Some(id), Some(name)) = (member.id, &member.name) {
                names.insert(id, name.clone());
            }
            tasks.spawn(follow(member.clone(), kinds.clone(), sender.clone()));
        }
        Streams { events, names, _tasks: tasks }
    }

    /// The next line.
    pub async fn next(&mut self) -> Line {
        loop {
            // The tasks end only with this value, so there is always a next one.
            let Some((member, news)) = self.events.recv().await else {
                return std::future::pending().await;
            };
            if let Some(line) = self.tell(&member, news) {
                return line;
            }
        }
    }

    fn tell(&mut self, member: &Member, news: News) -> Option<Line> {
        let label = member.name.clone().unwrap_or_else(|| member.api.clone());
        match news {
            News::Reached(status) => {
                if member.name.is_none() {
                    self.names.insert(status.node, plain(&status.name));
                }
                None
            }
            News::Again(pid) => Some(Line::own(&label, format!("answers again, pid {pid}"))),
            News::Seen(obs) => {
                let name = |id: u64| self.names.get(&id).cloned().unwrap_or_else(|| bare_name(id));
                let text = sentence(&obs, &name);
                Some(Line { at_ms: obs.at_ms, node: name(obs.node), seq: obs.seq, term: obs.term, text })
            }
            News::Missed(count) => Some(Line::own(&label, format!("{count} observations were lost to this reader"))),
            News::Lost => Some(Line::own(&label, format!("not reachable at {}", member.api))),
        }
    }
}

/// Follows one node for as long as anybody listens.
async fn follow(member: Member, kinds: Vec<i32>, sender: mpsc::Sender<(Member, News)>) {
    let mut resume: Option<(String, u64)> = None;
    let mut lost = false;
    loop {
        let from = resume.clone();
        let request = wire::ObserveRequest {
            from_seq: from.as_ref().map(|(_, seen)| seen + 1),
            boot_id: from.map_or_else(String::new, |(boot, _)| boot),
            kinds: kinds.clone(),
        };
        if let Some(mut stream) = open(&member.api, request).await {
            while let Ok(Some(event)) = stream.message().await {
                let news = match event.event {
                    Some(Wire::Snapshot(status)) => {
                        if lost && sender.send((member.clone(), News::Again(status.pid))).await.is_err() {
                            return;
                        }
                        lost = false;
                        if resume.as_ref().is_none_or(|(boot, _)| *boot != status.boot_id) {
                            // Known from here on, even before its first observation comes.
                            let seen = if resume.is_some() { 0 } else { status.observation_seq };
                            resume = Some((status.boot_id.clone(), seen));
                        }
                        vec![News::Reached(Box::new(status))]
                    }
                    Some(Wire::Status(_) | Wire::StillHere(_)) | None => continue,
                    Some(Wire::Observations(wire::Observations { list })) => {
                        if let Some(last) = list.last() {
                            resume = Some((last.boot_id.clone(), last.seq));
                        }
                        list.into_iter().map(|seen| News::Seen(Box::new(seen))).collect()
                    }
                    Some(Wire::Dropped(count)) => vec![News::Missed(count)],
                };
                for news in news {
                    if sender.send((member.clone(), news)).await.is_err() {
                        return;
                    }
                }
            }
        }
        if !lost && sender.send((member.clone(), News::Lost)).await.is_err() {
            return;
        }
        lost = true;
        tokio::time::sleep(RETRY).await;
    }
}

async fn open(api: &str, request: wire::ObserveRequest) -> Option<tonic::Streaming<wire::ObserveEvent>> {
    let mut admin = ask::admin(api).ok()?;
    let opened = tokio::time::timeout(ask::STATUS_WITHIN, admin.observe(request)).await;
    opened.ok()?.ok().map(tonic::Response::into_inner)
}

/// `raftdeck watch`.
///
/// # Errors
/// No node answers at the start.
pub async fn run(target: &Target, out: Out) -> Result<(), Failure> {
    View::gather(target).await.reached()?;
    let mut streams = Streams::open(target, &[]);
    loop {
        streams.next().await.print(out)?;
    }
}
