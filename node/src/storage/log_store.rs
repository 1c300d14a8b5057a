//! The log, term and vote in `log.db`.
//!
//! Laws:
//! - [`LogStore::append`] returns when everything it was given is on disk and marked; it is one transaction, whatever
//!   the number of writes;
//! - the stored log is a start and the entries after it, without a gap: a start takes away everything up to its place, in
//!   the transaction that stores it.
//!
//! A row's key is `group << 48 | index`: entries of one group lie together, grow at their end and go at their beginning.
//! A start that is cut out of the log keeps the chain of the entry it stands for, so that what follows it still fits; one
//! that a snapshot brought begins a new chain.

use raftdeck_raft::{Damage, Entry, GroupId, HardState, Index, LogStart, Term, Write, WriteSeq};
use tokio_rusqlite::{
    params,
    rusqlite::{Connection, OptionalExtension as _, Transaction},
};

use crate::mutants::{self, Mutant};

use super::{
    StorageError,
    checksum::{Chain, Raw, membership_bytes},
    log_read::{Beginning, LogRead, Owner, hard_checksum},
    mark::{Claims, Mark},
};

pub(super) const FILE: &str = "log.db";
pub(super) const FORMAT: i64 = 2;
pub(super) const INDEX_BITS: u32 = 48;

/// What was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Made when the directory was first used; another one, if it had to be begun anew.
    pub storage_id: String,
    /// Term, vote, and what was lost.
    pub hard: HardState,
    /// Where the log begins.
    pub start: LogStart,
    /// The whole log after it.
    pub entries: Vec<Entry>,
    /// This directory knows nothing of its past: its node belongs to nothing until others tell it.
    pub joins: bool,
}

/// What the file holds.
#[derive(Clone, Debug)]
struct Stored {
    beginning: Beginning,
    /// Of its end.
    claims: Claims,
}

/// The log of one group, open.
#[derive(Debug)]
pub struct LogStore {
    group: GroupId,
    mark: Mark,
    /// As of the last transaction.
    stored: Stored,
}

impl LogStore {
    /// The log as it was read.
    pub(super) fn resume(group: GroupId, mark: Mark, read: &LogRead) -> LogStore {
        let claims = Claims { hard: read.hard.unwrap_or_default(), ..read.claims() };
        LogStore { group, mark, stored: Stored { beginning: read.beginning.clone(), claims } }
    }

    /// Begins a log in a file that has tables and nothing in them: as one transaction, then marked.
    pub(super) fn begin(
        conn: &mut Connection,
        mark: Mark,
        group: GroupId,
        owner: &Owner,
        (beginning, entries, hard): (Beginning, &[Entry], HardState),
    ) -> Result<LogStore, StorageError> {
        let error = StorageError::sqlite(FILE);
        let tx = conn.transaction().map_err(&error)?;
        let Owner { identity, storage_id, joins, instead_of } = owner;
        tx.execute(
            "insert into identity (one, format, cluster_id, node, storage_id, joins, instead_of, crc)
             values (1, ?, ?, ?, ?, ?, ?, ?)",
            params![
                FORMAT,
                identity.cluster_id,
                signed(identity.node.0),
                storage_id,
                joins,
                instead_of,
                owner.checksum(FORMAT)
            ],
        )
        .map_err(&error)?;
        if beginning.start.index > Index(0) {
            write_beginning(&tx, group, &beginning)?;
        }
        let mut claims = beginning.claims();
        for entry in entries {
            claims = insert(&tx, group, claims, entry)?;
        }
        write_hard(&tx, group, hard)?;
        tx.commit().map_err(&error)?;
        let mut store = LogStore { group, mark, stored: Stored { beginning, claims: Claims { hard, ..claims } } };
        store.set_mark()?;
        Ok(store)
    }

    /// Says in the mark what is stored.
    pub(super) fn set_mark(&mut self) -> Result<(), StorageError> {
        self.mark.set(&self.stored.claims)
    }

    /// Makes writes durable, as one transaction and in their order: the number of the last one.
    ///
    /// # Errors
    /// Of the disk. After one, nothing is known about it any more: the process must end.
    pub fn append(&mut self, conn: &mut Connection, writes: &[Write]) -> Result<WriteSeq, StorageError> {
        let error = StorageError::sqlite(FILE);
        let lowest = writes.iter().map(|w| w.from).min().expect("an append of no writes");
        if lowest <= self.stored.claims.last && !mutants::on(Mutant::TruncatesBeforeMark) {
            // What stays is the same before and after. Where the log is replaced by a snapshot, that is its old start.
            let moves = writes.iter().any(|w| w.start.is_some());
            let kept = if moves {
                self.stored.beginning.claims()
            } else {
                claims_at(conn, self.group, &self.stored, lowest.prev())?
            };
            self.mark.set(&Claims { hard: self.stored.claims.hard, ..kept })?;
        }
        let tx = conn.transaction().map_err(&error)?;
        let mut now = self.stored.clone();
        for write in writes {
            apply_write(&tx, self.group, &mut now, write)?;
        }
        if mutants::on(Mutant::MarksBeforeLog) {
            self.mark.set(&now.claims)?;
        }
        tx.commit().map_err(&error)?;
        self.stored = now;
        self.set_mark()?;
        Ok(writes[writes.len() - 1].seq)
    }
}

pub(super) fn key(group: GroupId, index: Index) -> i64 {
    assert!(index.0 < 1 << INDEX_BITS && group.0 < 1 << 15, "group {group} index {index} do not fit a key");
    i64::try_from(group.0 << INDEX_BITS | index.0).expect("15 and 48 bits fit an i64")
}

/// SQLite stores signed numbers; ids, terms and sums are read back bit by bit the same.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// One write inside a transaction.
fn apply_write(tx: &Transaction<'_>, group: GroupId, now: &mut Stored, write: &Write) -> Result<(), StorageError> {
    if let Some(start) = &write.start {
        move_start(tx, group, now, start, write.from)?;
    }
    if write.from <= now.claims.last {
        let kept = claims_at(tx, group, now, write.from.prev())?;
        delete(tx, key(group, write.from), key(GroupId(group.0 + 1), Index(0)))?;
        now.claims = Claims { hard: now.claims.hard, ..kept };
    }
    for entry in &write.entries {
        now.claims = insert(tx, group, now.claims, entry)?;
    }
    if write.hard != now.claims.hard {
        write_hard(tx, group, write.hard)?;
        now.claims.hard = write.hard;
    }
    Ok(())
}

/// The log begins elsewhere from now on.
fn move_start(
    tx: &Transaction<'_>,
    group: GroupId,
    now: &mut Stored,
    start: &LogStart,
    from: Index,
) -> Result<(), StorageError> {
    let LogStart { index, term, .. } = *start;
    assert!(index >= now.beginning.start.index, "the start of the log would move back to {index}");
    let known = find_claims(tx, group, now, index)?.filter(|known| known.last_term == term);
    now.beginning = match known {
        Some(known) => Beginning { start: start.clone(), chain: known.chain },
        None => {
            assert_eq!(from, index.next(), "a snapshot takes the place of all that does not follow from it");
            delete(tx, key(group, index), key(GroupId(group.0 + 1), Index(0)))?;
            let beginning = Beginning::after(start.clone());
            now.claims = Claims { hard: now.claims.hard, ..beginning.claims() };
            beginning
        }
    };
    delete(tx, key(group, Index(0)), key(group, index.next()))?;
    write_beginning(tx, group, &now.beginning)
}

/// What the mark would say of a log that ends at `index`.
fn claims_at(conn: &Connection, group: GroupId, stored: &Stored, index: Index) -> Result<Claims, StorageError> {
    let missing = || StorageError::Damaged(format!("entry {index} is missing"));
    find_claims(conn, group, stored, index)?.ok_or_else(missing)
}

fn find_claims(
    conn: &Connection,
    group: GroupId,
    stored: &Stored,
    index: Index,
) -> Result<Option<Claims>, StorageError> {
    if index == stored.beginning.start.index {
        return Ok(Some(stored.beginning.claims()));
    }
    let row = conn
        .prepare_cached("select term, chain from entries where key = ?")
        .and_then(|mut s| {
            s.query_row([key(group, index)], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?))).optional()
        })
        .map_err(StorageError::sqlite(FILE))?;
    let Some((term, chain)) = row else { return Ok(None) };
    let chain = <[u8; 16]>::try_from(chain)
        .map_err(|_| StorageError::Damaged(format!("the chain of entry {index} has the wrong length")))?;
    let hard = HardState::default();
    Ok(Some(Claims { last: index, last_term: Term(term.cast_unsigned()), chain: Chain(chain), hard }))
}

fn delete(tx: &Transaction<'_>, first: i64, end: i64) -> Result<(), StorageError> {
    tx.prepare_cached("delete from entries where key >= ? and key < ?")
        .and_then(|mut s| s.execute([first, end]))
        .map(|_| ())
        .map_err(StorageError::sqlite(FILE))
}

fn insert(tx: &Transaction<'_>, group: GroupId, now: Claims, entry: &Entry) -> Result<Claims, StorageError> {
    assert_eq!(entry.index, now.last.next(), "a write leaves a gap in the stored log");
    let raw = Raw::from(entry);
    let chain = now.chain.then(&raw);
    let place = key(group, raw.index);
    tx.prepare_cached("insert into entries values (?, ?, ?, ?, ?, ?)")
        .and_then(|mut s| {
            s.execute(params![place, signed(raw.term.0), raw.kind, &*raw.payload, raw.checksum(group.0), &chain.0[..]])
        })
        .map_err(StorageError::sqlite(FILE))?;
    Ok(Claims { last: entry.index, last_term: entry.term, chain, hard: now.hard })
}

fn write_beginning(tx: &Transaction<'_>, group: GroupId, beginning: &Beginning) -> Result<(), StorageError> {
    let Beginning { start: LogStart { index, term, membership }, chain } = beginning;
    let (sum, membership) = (beginning.checksum(group), membership_bytes(membership));
    tx.prepare_cached("insert or replace into starts values (?, ?, ?, ?, ?, ?)")
        .and_then(|mut s| {
            s.execute(params![signed(group.0), signed(index.0), signed(term.0), &chain.0[..], membership, sum])
        })
        .map(|_| ())
        .map_err(StorageError::sqlite(FILE))
}

fn write_hard(tx: &Transaction<'_>, group: GroupId, hard: HardState) -> Result<(), StorageError> {
    let HardState { term, voted_for, damage } = hard;
    let vote = voted_for.map_or(0, |n| n.0);
    let Damage { until, term: damage_term } = damage.unwrap_or(Damage { until: Index(0), term: Term(0) });
    let sum = hard_checksum(group, hard).into();
    let row = [signed(group.0), signed(term.0), signed(vote), sum, signed(until.0), signed(damage_term.0)];
    tx.prepare_cached(
        "insert or replace into hard (grp, term, voted_for, crc, damage_until, damage_term) values (?, ?, ?, ?, ?, ?)",
    )
    .and_then(|mut s| s.execute(row))
    .map(|_| ())
    .map_err(StorageError::sqlite(FILE))
}
