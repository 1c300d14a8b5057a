//! `logs`: what the nodes said, merged by time.
//!
//! A line of a log starts with its time (RFC 3339, UTC), so lines are merged by comparing these words; a line without
//! one (a trace of several lines) belongs to the line before it and stays there. Nodes of one machine share a clock, so
//! the order is the order of events as near as the clock can tell.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use raftdeck_shared::cluster::NodeEntry;
use serde::Serialize;

use super::{
    args::{Logs, Place},
    failure::Failure,
    out::Out,
    target,
};
use crate::plain::plain;

/// At most this much of the end of each log is read.
const TAIL_BYTES: u64 = 4 << 20;

/// The pause between two looks at growing logs.
const LOOK: Duration = Duration::from_millis(100);

/// The colours of n1, n2, .., in turn; readable on dark and light.
const COLORS: [&str; 6] = ["36", "33", "35", "32", "34", "31"];

/// The log of one node, read further and further.
struct Tail {
    node: String,
    path: PathBuf,
    read_bytes: u64,
    /// The start of a line whose end is not written yet.
    partial: Vec<u8>,
    /// Of the last line that had one.
    time: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    node: String,
    line: String,
    #[serde(skip)]
    time: String,
}

impl Tail {
    fn new(node: &NodeEntry, path: PathBuf) -> Tail {
        Tail { node: node.name.clone(), path, read_bytes: 0, partial: Vec::new(), time: String::new() }
    }

    /// The lines that were completed since the last call. A log that does not exist yet has none; one that became
    /// shorter was begun anew.
    fn more(&mut self) -> io::Result<Vec<Line>> {
        let mut file = match File::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        if length < self.read_bytes {
            self.read_bytes = 0;
            self.partial.clear();
        }
        let skipped = length.saturating_sub(self.read_bytes) > TAIL_BYTES;
        if skipped {
            self.read_bytes = length - TAIL_BYTES;
            self.partial.clear();
        }
        file.seek(SeekFrom::Start(self.read_bytes))?;
        let got = file.take(TAIL_BYTES).read_to_end(&mut self.partial)?;
        self.read_bytes += got as u64;
        let end = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.partial.drain(..end).collect();
        let text = String::from_utf8_lossy(&whole);
        Ok(text.lines().skip(usize::from(skipped)).map(|line| self.line(line)).collect())
    }

    fn line(&mut self, line: &str) -> Line {
        if let Some(time) = line.split_whitespace().next().filter(|word| is_time(word)) {
            time.clone_into(&mut self.time);
        }
        Line { node: self.node.clone(), line: plain(line), time: self.time.clone() }
    }
}

/// Whether a word starts like `2026-01-31T12:00:00`.
fn is_time(word: &str) -> bool {
    let shape = |(place, byte): (usize, u8)| match place {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    };
    word.len() >= 19 && word.bytes().take(19).enumerate().all(shape)
}

/// Sorts lines of several logs by time; those of one log keep their order.
fn merge(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort_by(|a, b| a.time.cmp(&b.time));
    lines
}

/// `raftdeck logs`.
///
/// # Errors
/// The folder holds no cluster, or no such node.
pub async fn run(place: &Place, args: &Logs, out: Out) -> Result<(), Failure> {
    let folder = target::folder(place, "logs")?;
    let nodes = match &args.node {
        Some(name) => vec![folder.node(name)?],
        None => folder.file().nodes.iter().collect(),
    };
    let mut tails: Vec<Tail> = nodes.into_iter().map(|node| Tail::new(node, folder.log(node))).collect();
    let width = tails.iter().map(|tail| tail.node.len()).max().unwrap_or(0);
    let color_of = |name: &str| {
        let place = folder.file().nodes.iter().position(|node| node.name == name).unwrap_or(0);
        COLORS[place % COLORS.len()]
    };
    let print = |line: &Line| {
        out.say(line, || {
            let node = format!("{:width$}", line.node);
            let text = line.line.as_str();
            if out.color {
                format!("\x1b[{}m{node}\x1b[0m | {text}", color_of(&line.node))
            } else {
                format!("{node} | {text}")
            }
        })
    };
    let lines = merge(read_all(&mut tails)?);
    for line in &lines[lines.len().saturating_sub(args.lines)..] {
        print(line)?;
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK).await;
        for line in merge(read_all(&mut tails)?) {
            print(&line)?;
        }
    }
}

fn read_all(tails: &mut [Tail]) -> Result<Vec<Line>, Failure> {
    let mut all = Vec::new();
    for tail in tails {
        let lines = tail.more().map_err(|e| format!("cannot read {}: {e}", tail.path.display()))?;
        all.extend(lines);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    fn tail(node: &str, path: PathBuf) -> Tail {
        Tail { node: node.into(), path, read_bytes: 0, partial: Vec::new(), time: String::new() }
    }

    #[test]
    fn lines_are_merged_by_time_and_stay_with_the_line_they_belong_to() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        fs::write(&one, "2026-01-01T00:00:01Z a\n  more of a\n2026-01-01T00:00:03Z c\n").unwrap();
        fs::write(&two, "2026-01-01T00:00:02Z b\x1b[31m\n2026-01-01T00:00:04Z unfini").unwrap();
        let mut tails = [tail("n1", one), tail("n2", two)];
        let merged = merge(read_all(&mut tails).unwrap());
        let texts: Vec<&str> = merged.iter().map(|line| line.line.as_str()).collect();
        let expected =
            ["2026-01-01T00:00:01Z a", "  more of a", "2026-01-01T00:00:02Z b[31m", "2026-01-01T00:00:03Z c"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_log_is_read_on_where_it_ended_and_anew_when_it_became_shorter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut tail = tail("n1", path.clone());
        let texts = |tail: &mut Tail| tail.more().unwrap().into_iter().map(|line| line.line).collect::<Vec<_>>();
        assert!(texts(&mut tail).is_empty());
        let mut log = File::create(&path).unwrap();
        log.write_all(b"one\ntw").unwrap();
        assert_eq!(texts(&mut tail), ["one"]);
        log.write_all(b"o\n").unwrap();
        assert_eq!(texts(&mut tail), ["two"]);
        fs::write(&path, "x\n").unwrap();
        assert_eq!(texts(&mut tail), ["x"]);
    }
}
