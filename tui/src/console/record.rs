//! Recordings: the facts of a session, one JSON value a line, after a line that says what the file is.
//!
//! ```json
//! {"raftdeck":"recording","version":1}
//! {"run":0,"unix":1790000000000,"member":{"id":1,"name":"n1","api":"127.0.0.1:7101"}}
//! {"run":12,"unix":1790000000012,"node":0,"status":{..}}
//! {"run":15,"unix":1790000000015,"node":0,"observed":{"seq":7,"at":1790000000014,"node":1,"kind":1,..}}
//! ```
//!
//! Only what came from outside is in it: no keys, no screen. Read again, the facts make the same worlds; so a recording is
//! a demo, a bug report and a test at once.
//!
//! Laws:
//! - what is read is made as safe as what comes over the wire: texts are cleaned, lists are bounded, time does not run back;
//! - a file that ends in the middle of a line (a machine that died) is good up to there.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use raftdeck_shared::{ids::NodeId, wire};
use raftdeck_sim::Cue;
use serde::{Deserialize, Serialize};

use super::{
    film::{Film, Record},
    jobs::{Job, PAGE_MAX, Page},
    msg::{NodeMsg, Slot, Time},
    status::Status,
    text::clean,
    theme::Tone,
    world::{Conn, Fact, World},
};

/// Largest recording that is read.
const BYTES_MAX: u64 = 512 << 20;

/// Longest line of one.
const LINE_MAX: usize = 1 << 20;

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    raftdeck: String,
    version: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    run: u64,
    unix: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<usize>,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Member { id: Option<NodeId>, name: String, api: String },
    Moved(String),
    Connecting(()),
    Snapshot(Box<Status>),
    Status(Box<Status>),
    Observed(Seen),
    Dropped(u64),
    Silent(u64),
    Heard(()),
    Retrying { at: u64, why: String },
    You(String),
    Jobs(Box<Page>),
    Job(Box<Job>),
    Noticed { tone: u8, text: String },
    Script { text: String, cue: Cue },
    Broken(String),
}

/// An observation; what is zero or empty is left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    seq: u64,
    at: u64,
    #[serde(skip_serializing_if = "is_default")]
    logical: u32,
    node: u64,
    term: u64,
    kind: i32,
    #[serde(skip_serializing_if = "is_default")]
    peer: u64,
    #[serde(skip_serializing_if = "is_default")]
    message: u64,
    #[serde(skip_serializing_if = "is_default")]
    index: u64,
    #[serde(skip_serializing_if = "is_default")]
    last: u64,
    #[serde(skip_serializing_if = "is_default")]
    role: i32,
    #[serde(skip_serializing_if = "is_default")]
    granted: bool,
    #[serde(skip_serializing_if = "is_default")]
    pre: bool,
    #[serde(skip_serializing_if = "is_default")]
    job: u64,
    #[serde(skip_serializing_if = "is_default")]
    fault: u64,
    #[serde(skip_serializing_if = "is_default")]
    cause: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Seen {
    fn of(o: &wire::Observation) -> Seen {
        Seen {
            seq: o.seq,
            at: o.at_ms,
            logical: o.logical,
            node: o.node,
            term: o.term,
            kind: o.kind,
            peer: o.peer,
            message: o.message_id,
            index: o.index,
            last: o.last_index,
            role: o.role,
            granted: o.granted,
            pre: o.pre,
            job: o.job,
            fault: o.fault,
            cause: o.cause.clone(),
        }
    }

    fn back(self) -> wire::Observation {
        wire::Observation {
            seq: self.seq,
            at_ms: self.at,
            logical: self.logical,
            node: self.node,
            term: self.term,
            kind: self.kind,
            peer: self.peer,
            message_id: self.message,
            index: self.index,
            last_index: self.last,
            role: self.role,
            granted: self.granted,
            pre: self.pre,
            job: self.job,
            fault: self.fault,
            cause: clean(&self.cause),
            ..Default::default()
        }
    }
}

/// Tones of the console's own lines, by their place.
const TONES: [Tone; 4] = [Tone::Plain, Tone::Good, Tone::Warn, Tone::Bad];

impl Line {
    fn of(at: Time, fact: &Fact) -> Line {
        let (node, what) = match fact {
            Fact::Member { id, name, api } => (None, What::Member { id: *id, name: name.clone(), api: api.clone() }),
            Fact::Moved { slot, api } => (Some(slot.0), What::Moved(api.clone())),
            Fact::Jobs(page) => (None, What::Jobs(Box::new(Page::clone(page)))),
            Fact::Job(job) => (None, What::Job(Box::new(Job::clone(job)))),
            Fact::Script { text, cue } => (None, What::Script { text: text.clone(), cue: *cue }),
            Fact::Broken(evidence) => (None, What::Broken(evidence.clone())),
            Fact::Own(Tone::You, text) => (None, What::You(text.clone())),
            Fact::Own(tone, text) => {
                let tone = TONES.iter().position(|t| t == tone).unwrap_or_default() as u8;
                (None, What::Noticed { tone, text: text.clone() })
            }
            Fact::Node(slot, news) => {
                let what = match news {
                    NodeMsg::Connecting => What::Connecting(()),
                    NodeMsg::Snapshot(status) => What::Snapshot(Box::new(Status::clone(status))),
                    NodeMsg::Status(status) => What::Status(Box::new(Status::clone(status))),
                    NodeMsg::Observed(o) => What::Observed(Seen::of(o)),
                    NodeMsg::Dropped(count) => What::Dropped(*count),
                    NodeMsg::Silent { since_run_ms } => What::Silent(*since_run_ms),
                    NodeMsg::Heard => What::Heard(()),
                    NodeMsg::Retrying { at_run_ms, why } => What::Retrying { at: *at_run_ms, why: why.clone() },
                };
                (Some(slot.0), what)
            }
        };
        Line { run: at.run_ms, unix: at.unix_ms, node, what }
    }

    fn back(self) -> Result<Record, String> {
        let of_node = |news| match self.node {
            Some(slot) => Ok(Fact::Node(Slot(slot), news)),
            None => Err("it does not say of which node".to_owned()),
        };
        let fact = match self.what {
            What::Member { id, name, api } => Fact::Member { id, name: clean(&name), api: clean(&api) },
            What::Moved(api) => {
                let slot = Slot(self.node.ok_or("it does not say of which node")?);
                Fact::Moved { slot, api: clean(&api) }
            }
            What::You(text) => Fact::Own(Tone::You, clean(&text)),
            What::Script { text, cue } => Fact::Script { text: clean(&text), cue },
            What::Broken(evidence) => Fact::Broken(clean(&evidence)),
            What::Noticed { tone, text } => {
                Fact::Own(TONES.get(usize::from(tone)).copied().unwrap_or(Tone::Plain), clean(&text))
            }
            What::Jobs(mut page) => {
                page.jobs.truncate(PAGE_MAX as usize);
                page.jobs = page.jobs.into_iter().map(Job::cleaned).collect();
                Fact::Jobs(Arc::from(page))
            }
            What::Job(job) => Fact::Job(Arc::new(job.cleaned())),
            What::Connecting(()) => of_node(NodeMsg::Connecting)?,
            What::Snapshot(status) => of_node(NodeMsg::Snapshot(Arc::new(status.cleaned())))?,
            What::Status(status) => of_node(NodeMsg::Status(Arc::new(status.cleaned())))?,
            What::Observed(seen) => of_node(NodeMsg::Observed(Arc::new(seen.back())))?,
            What::Dropped(count) => of_node(NodeMsg::Dropped(count))?,
            What::Silent(since_run_ms) => of_node(NodeMsg::Silent { since_run_ms })?,
            What::Heard(()) => of_node(NodeMsg::Heard)?,
            What::Retrying { at, why } => of_node(NodeMsg::Retrying { at_run_ms: at, why: clean(&why) })?,
        };
        Ok(Record { at: Time { run_ms: self.run, unix_ms: self.unix }, fact })
    }
}

/// Writes a recording while the film grows.
#[derive(Debug)]
pub(crate) struct Writer {
    out: BufWriter<File>,
    pub(crate) path: PathBuf,
    /// Facts of the film that are in the file, or came before it.
    came: u64,
    pub(crate) written: u64,
}

impl Writer {
    /// Begins with what is known now: the members, and the last word of each.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub(crate) fn begin(path: &Path, world: &World, film: &Film) -> io::Result<Writer> {
        let mut out = BufWriter::new(File::create_new(path)?);
        let head = Head { raftdeck: "recording".into(), version: VERSION };
        serde_json::to_writer(&mut out, &head)?;
        out.write_all(b"\n")?;
        let mut writer = Writer { out, path: path.to_owned(), came: film.came(), written: 0 };
        for node in &world.nodes {
            let (name, api) = (node.name.clone(), node.api.clone());
            writer.line(world.now, &Fact::Member { id: node.id, name, api })?;
        }
        for (slot, node) in world.slots() {
            if let Some((status, _)) = &node.status {
                writer.line(world.now, &Fact::Node(slot, NodeMsg::Snapshot(Arc::clone(status))))?;
            }
            if let Conn::Retrying { at_run_ms, why } = &node.conn {
                let news = NodeMsg::Retrying { at_run_ms: *at_run_ms, why: why.clone() };
                writer.line(world.now, &Fact::Node(slot, news))?;
            }
        }
        Ok(writer)
    }

    fn line(&mut self, at: Time, fact: &Fact) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, &Line::of(at, fact))?;
        self.written += 1;
        self.out.write_all(b"\n")
    }

    /// Writes what the film has more than before.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub(crate) fn follow(&mut self, film: &Film) -> io::Result<()> {
        for record in film.since(self.came) {
            self.line(record.at, &record.fact)?;
        }
        self.came = film.came();
        self.out.flush()
    }
}

/// Reads a recording.
///
/// # Errors
/// It cannot be read or is none; the words name the line.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, String> {
    let name = path.display();
    let file = File::open(path).map_err(|e| format!("{name}: {e}"))?;
    let bytes = file.metadata().map_err(|e| format!("{name}: {e}"))?.len();
    if bytes > BYTES_MAX {
        return Err(format!("{name}: {bytes} bytes; a recording of more than {BYTES_MAX} is not read"));
    }
    parse(BufReader::new(file)).map_err(|(line, why)| format!("{name}:{line}: {why}"))
}

fn parse(mut input: impl io::BufRead) -> Result<Vec<Record>, (usize, String)> {
    let mut text = String::new();
    let mut records: Vec<Record> = Vec::new();
    for number in 1.. {
        text.clear();
        let read = input.read_line(&mut text).map_err(|e| (number, e.to_string()))?;
        if text.len() > LINE_MAX {
            return Err((number, format!("a line of more than {LINE_MAX} bytes")));
        }
        if number == 1 {
            let head: Head =
                serde_json::from_str(&text).map_err(|_| (1, "this is no recording of raftdeck".to_owned()))?;
            if head.raftdeck != "recording" || head.version != VERSION {
                return Err((1, format!("version {} is not known here, only {VERSION}", head.version)));
            }
            continue;
        }
        if read == 0 {
            break;
        }
        let line: Result<Line, _> = serde_json::from_str(&text);
        match line.map_err(|e| e.to_string()).and_then(Line::back) {
            Ok(mut record) => {
                if let Some(before) = records.last() {
                    record.at.run_ms = record.at.run_ms.max(before.at.run_ms);
                }
                records.push(record);
            }
            // The machine died while it was written.
            Err(_) if !text.ends_with('\n') => break,
            Err(why) => return Err((number, why)),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<usize, (usize, String)> {
        parse(text.as_bytes()).map(|records| records.len())
    }

    #[test]
    fn a_broken_end_is_forgiven_and_a_broken_middle_is_named() {
        let head = "{\"raftdeck\":\"recording\",\"version\":1}\n";
        let line = "{\"run\":1,\"unix\":2,\"you\":\"YOU kill n1\"}\n";
        assert_eq!(parsed(&format!("{head}{line}{line}{{\"run\":3,\"un")), Ok(2));
        let (at, _) = parsed(&format!("{head}{line}{{\"run\":3\n{line}")).unwrap_err();
        assert_eq!(at, 3);
        assert_eq!(parsed("[]\n").unwrap_err(), (1, "this is no recording of raftdeck".into()));
        assert!(parsed("{\"raftdeck\":\"recording\",\"version\":9}\n").unwrap_err().1.contains("version 9"));
        assert!(parsed("").is_err());
    }

    #[test]
    fn what_is_read_cannot_steer_the_terminal() {
        let text = "{\"raftdeck\":\"recording\",\"version\":1}\n{\"run\":1,\"unix\":2,\"you\":\"a\\u001b[2Jb\"}\n";
        let records = parse(text.as_bytes()).unwrap();
        assert!(matches!(&records[0].fact, Fact::Own(Tone::You, text) if text == "a[2Jb"));
    }
}
