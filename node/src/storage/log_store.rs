//! The log, term and vote in `log.db`.
//!
//! Laws:
//! - [`LogStore::append`] returns when everything it was given is on disk and marked; it is one transaction, whatever
//!   the number of writes;
//! - what [`LogStore::open`] returns has every checksum verified, every link of the chain, and reaches the mark; else it
//!   is `Damaged`, and the caller must not vote or acknowledge.
//!
//! A row's key is `group << 48 | index`: entries of one group lie together and only ever grow at their end.

use bytes::Bytes;
use raftdeck_raft::{Entry, EntryKind, GroupId, HardState, Index, NodeId, Term, Write, WriteSeq};
use tokio_rusqlite::{
    params,
    rusqlite::{self, Connection, OptionalExtension as _, Transaction},
};

use crate::mutants::{self, Mutant};

use super::{
    Identity, MarkFile, StorageError,
    checksum::{Chain, checksum, kind_number, payload},
    mark::{Claims, Mark, Reading},
    prepare,
};

const FILE: &str = "log.db";
const FORMAT: i64 = 1;
const INDEX_BITS: u32 = 48;

const SCHEMA: &str = "
    create table if not exists identity (
        one integer primary key check (one = 1), format integer not null, cluster_id text not null,
        node integer not null, storage_id text not null
    ) strict;
    create table if not exists hard (
        grp integer primary key, term integer not null, voted_for integer not null, crc integer not null
    ) strict;
    create table if not exists entries (
        key integer primary key, term integer not null, kind integer not null, payload blob not null,
        crc integer not null, chain blob not null
    ) strict;
";

/// What was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Made when the directory was first used, and never again.
    pub storage_id: String,
    /// Term and vote.
    pub hard: HardState,
    /// The whole log.
    pub entries: Vec<Entry>,
}

/// The log of one group, open.
#[derive(Debug)]
pub struct LogStore {
    group: GroupId,
    mark: Mark,
    /// As of the last transaction.
    stored: Claims,
}

impl LogStore {
    /// Opens the log; starts one if `may_be_new`.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub fn open(
        conn: &mut Connection,
        mark: Box<dyn MarkFile>,
        group: GroupId,
        identity: &Identity,
        may_be_new: bool,
    ) -> Result<(LogStore, Found), StorageError> {
        let error = StorageError::sqlite(FILE);
        prepare(conn, FILE, if mutants::on(Mutant::SyncsRarely) { "NORMAL" } else { "FULL" })?;
        conn.execute_batch(SCHEMA).map_err(&error)?;
        let storage_id = identify(conn, identity)?;
        let (mut mark, reading) = Mark::open(mark, group.0)?;
        let hard = read_hard(conn, group)?;
        let (entries, chains) = read_entries(conn, group)?;
        let claims = match reading {
            Reading::Says(claims) => claims,
            // New, or ended while it was being made.
            Reading::Absent | Reading::Unreadable
                if may_be_new && entries.is_empty() && hard == HardState::default() =>
            {
                mark.set(&Claims::default())?;
                Claims::default()
            }
            Reading::Absent => return Err(StorageError::Damaged("the mark is gone".into())),
            Reading::Unreadable => return Err(StorageError::Damaged("neither slot of the mark can be read".into())),
        };
        if !mutants::on(Mutant::IgnoresMark) {
            check_against_mark(&claims, hard, &entries, &chains)?;
        }
        let last = entries.last();
        let stored = Claims {
            last: last.map_or(Index(0), |e| e.index),
            last_term: last.map_or(Term(0), |e| e.term),
            chain: chains.last().copied().unwrap_or_default(),
            hard,
        };
        Ok((LogStore { group, mark, stored }, Found { storage_id, hard, entries }))
    }

    /// Makes writes durable, as one transaction and in their order: the number of the last one.
    ///
    /// # Errors
    /// Of the disk. After one, nothing is known about it any more: the process must end.
    pub fn append(&mut self, conn: &mut Connection, writes: &[Write]) -> Result<WriteSeq, StorageError> {
        let error = StorageError::sqlite(FILE);
        let lowest = writes.iter().map(|w| w.from).min().expect("an append of no writes");
        if lowest <= self.stored.last && !mutants::on(Mutant::TruncatesBeforeMark) {
            let kept = chain_at(conn, self.group, lowest.prev())?;
            self.mark.set(&Claims { hard: self.stored.hard, ..kept })?;
        }
        let tx = conn.transaction().map_err(&error)?;
        let mut now = self.stored;
        for write in writes {
            now = apply_write(&tx, self.group, now, write)?;
        }
        if mutants::on(Mutant::MarksBeforeLog) {
            self.mark.set(&now)?;
        }
        tx.commit().map_err(&error)?;
        self.stored = now;
        self.mark.set(&now)?;
        Ok(writes[writes.len() - 1].seq)
    }
}

fn key(group: GroupId, index: Index) -> i64 {
    assert!(index.0 < 1 << INDEX_BITS && group.0 < 1 << 15, "group {group} index {index} do not fit a key");
    i64::try_from(group.0 << INDEX_BITS | index.0).expect("15 and 48 bits fit an i64")
}

/// SQLite stores signed numbers; ids, terms and sums are read back bit by bit the same.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The storage id of this directory, if it is ours or new.
fn identify(conn: &Connection, wanted: &Identity) -> Result<String, StorageError> {
    let error = StorageError::sqlite(FILE);
    let row = conn
        .query_row("select cluster_id, node, storage_id, format from identity", [], |r| {
            let found = Identity { cluster_id: r.get(0)?, node: NodeId(r.get::<_, i64>(1)?.cast_unsigned()) };
            Ok((found, r.get::<_, String>(2)?, r.get::<_, i64>(3)?))
        })
        .optional()
        .map_err(&error)?;
    match row {
        Some((_, _, format)) if format != FORMAT => {
            Err(StorageError::Damaged(format!("{FILE} has format {format}, this program reads format {FORMAT}")))
        }
        Some((found, storage_id, _)) if found == *wanted => Ok(storage_id),
        Some((found, _, _)) => Err(StorageError::OtherNode { found, wanted: wanted.clone() }),
        None => {
            let storage_id = uuid::Uuid::new_v4().simple().to_string();
            conn.execute(
                "insert into identity values (1, ?, ?, ?, ?)",
                params![FORMAT, wanted.cluster_id, signed(wanted.node.0), storage_id],
            )
            .map_err(&error)?;
            Ok(storage_id)
        }
    }
}

fn hard_checksum(group: GroupId, hard: HardState) -> u32 {
    let numbers = [group.0, hard.term.0, hard.voted_for.map_or(0, |n| n.0)];
    crc32fast::hash(&numbers.map(u64::to_le_bytes).concat())
}

fn read_hard(conn: &Connection, group: GroupId) -> Result<HardState, StorageError> {
    let row = conn
        .query_row("select term, voted_for, crc from hard where grp = ?", [signed(group.0)], |r| {
            let vote = r.get::<_, i64>(1)?.cast_unsigned();
            let voted_for = (vote != 0).then_some(NodeId(vote));
            let term = Term(r.get::<_, i64>(0)?.cast_unsigned());
            Ok((HardState { term, voted_for, damage: None }, r.get::<_, i64>(2)?))
        })
        .optional()
        .map_err(StorageError::sqlite(FILE))?;
    match row {
        None => Ok(HardState::default()),
        Some((hard, crc)) if crc == i64::from(hard_checksum(group, hard)) => Ok(hard),
        Some(_) => Err(StorageError::Damaged("the stored term and vote do not match their checksum".into())),
    }
}

/// All entries of a group and the chain at each of them.
fn read_entries(conn: &Connection, group: GroupId) -> Result<(Vec<Entry>, Vec<Chain>), StorageError> {
    let error = StorageError::sqlite(FILE);
    let mut statement = conn
        .prepare("select key, term, kind, payload, crc, chain from entries where key > ? and key < ? order by key")
        .map_err(&error)?;
    let bounds = [key(group, Index(0)), key(GroupId(group.0 + 1), Index(0))];
    let mut rows = statement.query(bounds).map_err(&error)?;
    let (mut entries, mut chains) = (Vec::new(), Vec::new());
    let (mut expected, mut chain) = (Index(1), Chain::default());
    while let Some(row) = rows.next().map_err(&error)? {
        let (entry, crc, stored_chain) = read_row(row).map_err(&error)?;
        if entry.index != expected {
            return Err(StorageError::Damaged(format!("entry {expected} is missing")));
        }
        if crc != i64::from(checksum(group.0, &entry)) {
            return Err(StorageError::Damaged(format!("entry {expected} does not match its checksum")));
        }
        chain = chain.then(&entry);
        if chain.0 != stored_chain[..] && !mutants::on(Mutant::SkipsChain) {
            return Err(StorageError::Damaged(format!("entry {expected} does not follow from the one before it")));
        }
        expected = expected.next();
        entries.push(entry);
        chains.push(chain);
    }
    Ok((entries, chains))
}

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Entry, i64, Vec<u8>)> {
    let index = Index(row.get::<_, i64>(0)?.cast_unsigned() & ((1 << INDEX_BITS) - 1));
    let term = Term(row.get::<_, i64>(1)?.cast_unsigned());
    let kind = match row.get::<_, i64>(2)? {
        1 => EntryKind::Noop,
        3 => EntryKind::Membership(postcard::from_bytes(&row.get::<_, Vec<u8>>(3)?).unwrap_or_default()),
        // Any other number fails the checksum, which covers the kind.
        _ => EntryKind::Command(Bytes::from(row.get::<_, Vec<u8>>(3)?)),
    };
    Ok((Entry { index, term, kind }, row.get(4)?, row.get(5)?))
}

fn check_against_mark(
    claims: &Claims,
    hard: HardState,
    entries: &[Entry],
    chains: &[Chain],
) -> Result<(), StorageError> {
    if hard.term < claims.hard.term {
        let message = format!("the log knows term {}, but {} was promised", hard.term, claims.hard.term);
        return Err(StorageError::Damaged(message));
    }
    if hard.term == claims.hard.term && claims.hard.voted_for.is_some() && hard.voted_for != claims.hard.voted_for {
        return Err(StorageError::Damaged(format!("the vote of {} was forgotten", hard.term)));
    }
    let Some(place) = usize::try_from(claims.last.0).ok().and_then(|i| i.checked_sub(1)) else { return Ok(()) };
    match (entries.get(place), chains.get(place)) {
        (Some(entry), Some(chain)) if entry.term == claims.last_term && *chain == claims.chain => Ok(()),
        (Some(_), _) => {
            Err(StorageError::Damaged(format!("entry {} is not the one that was acknowledged", claims.last)))
        }
        (None, _) => Err(StorageError::Damaged(format!(
            "the log ends at {}, but entries up to {} were acknowledged",
            entries.len(),
            claims.last
        ))),
    }
}

/// What the mark would say of a log that ends at `index`.
fn chain_at(conn: &Connection, group: GroupId, index: Index) -> Result<Claims, StorageError> {
    if index == Index(0) {
        return Ok(Claims::default());
    }
    let (term, chain): (i64, Vec<u8>) = conn
        .query_row("select term, chain from entries where key = ?", [key(group, index)], |r| Ok((r.get(0)?, r.get(1)?)))
        .map_err(StorageError::sqlite(FILE))?;
    let chain = <[u8; 16]>::try_from(chain)
        .map_err(|_| StorageError::Damaged(format!("the chain of entry {index} has the wrong length")))?;
    Ok(Claims { last: index, last_term: Term(term.cast_unsigned()), chain: Chain(chain), ..Claims::default() })
}

/// One write inside a transaction; returns what the log then holds.
fn apply_write(tx: &Transaction<'_>, group: GroupId, stored: Claims, write: &Write) -> Result<Claims, StorageError> {
    let error = StorageError::sqlite(FILE);
    let mut now = stored;
    if write.from <= stored.last {
        now = chain_at(tx, group, write.from.prev())?;
        tx.prepare_cached("delete from entries where key >= ? and key < ?")
            .and_then(|mut s| s.execute([key(group, write.from), key(GroupId(group.0 + 1), Index(0))]))
            .map_err(&error)?;
    }
    assert!(write.from >= now.last.next() || write.entries.is_empty(), "a write leaves a gap in the stored log");
    let mut insert = tx.prepare_cached("insert into entries values (?, ?, ?, ?, ?, ?)").map_err(&error)?;
    for entry in &write.entries {
        assert_eq!(entry.index, now.last.next(), "a write leaves a gap in the stored log");
        let chain = now.chain.then(entry);
        insert
            .execute(params![
                key(group, entry.index),
                signed(entry.term.0),
                kind_number(&entry.kind),
                &*payload(&entry.kind),
                checksum(group.0, entry),
                &chain.0[..],
            ])
            .map_err(&error)?;
        now = Claims { last: entry.index, last_term: entry.term, chain, hard: now.hard };
    }
    if write.hard != stored.hard {
        let HardState { term, voted_for, damage: _ } = write.hard;
        tx.prepare_cached("insert or replace into hard values (?, ?, ?, ?)")
            .and_then(|mut s| {
                let vote = voted_for.map_or(0, |n| n.0);
                s.execute(params![signed(group.0), signed(term.0), signed(vote), hard_checksum(group, write.hard)])
            })
            .map_err(&error)?;
    }
    now.hard = write.hard;
    Ok(now)
}
