//! Reading a whole log, as far as it can be trusted.
//!
//! Whatever is wrong with the file, what comes out is a beginning of the log of which every row has its checksum and every
//! link of the chain was followed; what stood in the way of more is said in words. Whether that is enough is for
//! [`super::opening`] to say, which has the mark.

use std::borrow::Cow;

use raftdeck_raft::{Damage, Entry, GroupId, HardState, Index, LogStart, NodeId, Term};
use tokio_rusqlite::rusqlite::{Connection, OptionalExtension as _, Row};

use crate::mutants::{self, Mutant};

use super::{
    Identity, StorageError,
    checksum::{Chain, Raw, membership_bytes, membership_from},
    log_store::{FILE, FORMAT, INDEX_BITS, key, signed},
    mark::Claims,
    prepare,
};

/// Tables as version 0.1.0 made them; what came later is added by [`migrate`].
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
    create table if not exists starts (
        grp integer primary key, idx integer not null, term integer not null, chain blob not null,
        membership blob not null, crc integer not null
    ) strict;
";

/// Columns that format 2 added.
const ADDED: &str = "
    alter table hard add column damage_until integer not null default 0;
    alter table hard add column damage_term integer not null default 0;
    alter table identity add column joins integer not null default 0;
    alter table identity add column instead_of text not null default '';
    alter table identity add column crc integer not null default 0;
    update identity set format = 2;
";

/// Whose log this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) identity: Identity,
    pub(super) storage_id: String,
    /// It was begun by a node that knows nothing of its past: what it belongs to, others must tell it.
    pub(super) joins: bool,
    /// The directory in whose place it was begun; empty if there was none.
    pub(super) instead_of: String,
}

impl Owner {
    pub(super) fn checksum(&self, format: i64) -> u32 {
        let Owner { identity: Identity { cluster_id, node }, storage_id, joins, instead_of } = self;
        crc32fast::hash(format!("{format} {cluster_id} {node} {storage_id} {joins} {instead_of}").as_bytes())
    }
}

/// Where a stored log begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) start: LogStart,
    pub(super) chain: Chain,
}

impl Beginning {
    /// A log after a snapshot.
    pub(super) fn after(start: LogStart) -> Beginning {
        let chain = if start.index == Index(0) { Chain::default() } else { Chain::begun(start.index, start.term) };
        Beginning { start, chain }
    }

    pub(super) fn checksum(&self, group: GroupId) -> u32 {
        let Beginning { start: LogStart { index, term, membership }, chain } = self;
        let numbers = [group.0, index.0, term.0].map(u64::to_le_bytes).concat();
        crc32fast::hash(&[&numbers[..], &chain.0, &membership_bytes(membership)].concat())
    }

    /// What a mark says of a log that ends where it begins.
    pub(super) fn claims(&self) -> Claims {
        let LogStart { index, term, .. } = self.start;
        Claims { last: index, last_term: term, chain: self.chain, hard: HardState::default() }
    }
}

/// What could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogRead {
    pub(super) owner: Option<Owner>,
    /// None: there is none yet, or it cannot be read.
    pub(super) hard: Option<HardState>,
    pub(super) beginning: Beginning,
    pub(super) entries: Vec<Entry>,
    /// The chain at each of them.
    pub(super) chains: Vec<Chain>,
    /// Why it is not all, or why the file must not be written to.
    pub(super) trouble: Option<String>,
}

impl LogRead {
    /// Nothing was ever written here.
    pub(super) fn is_untouched(&self) -> bool {
        let empty = self.entries.is_empty() && self.beginning.start.index == Index(0);
        self.trouble.is_none() && empty && self.hard.unwrap_or_default() == HardState::default()
    }

    /// Where it ends.
    pub(super) fn claims(&self) -> Claims {
        match (self.entries.last(), self.chains.last()) {
            (Some(entry), Some(chain)) => {
                Claims { last: entry.index, last_term: entry.term, chain: *chain, hard: HardState::default() }
            }
            (Some(_), None) | (None, _) => self.beginning.claims(),
        }
    }

    /// The term of an entry; none if it is not here.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        let start = &self.beginning.start;
        if index == start.index { Some(start.term) } else { self.place(index).map(|i| self.entries[i].term) }
    }

    /// Whether everything that the mark says was acknowledged is here, or was in a snapshot.
    pub(super) fn holds(&self, mark: &Claims) -> bool {
        let said = (mark.last_term, mark.chain);
        let start = &self.beginning;
        mutants::on(Mutant::IgnoresMark)
            || mark.last < start.start.index
            || (mark.last == start.start.index && (start.start.term, start.chain) == said)
            || self.place(mark.last).is_some_and(|i| (self.entries[i].term, self.chains[i]) == said)
    }

    fn place(&self, index: Index) -> Option<usize> {
        let place = usize::try_from(index.0.checked_sub(self.beginning.start.index.0 + 1)?).ok()?;
        (place < self.entries.len()).then_some(place)
    }

    fn trouble(&mut self, error: StorageError) -> Result<(), StorageError> {
        if !error.is_damage() {
            return Err(error);
        }
        self.trouble.get_or_insert(error.to_string());
        Ok(())
    }
}

/// Reads the log, and makes its tables if there are none.
///
/// # Errors
/// The file is in use, or another node's, or the machine under it fails. Damage is no error.
pub(super) fn read_log(conn: &mut Connection, group: GroupId, wanted: &Identity) -> Result<LogRead, StorageError> {
    let mut read = LogRead::default();
    if let Err(error) = read_all(conn, group, wanted, &mut read) {
        read.trouble(error)?;
    }
    Ok(read)
}

fn read_all(conn: &mut Connection, group: GroupId, wanted: &Identity, read: &mut LogRead) -> Result<(), StorageError> {
    prepare(conn, FILE, if mutants::on(Mutant::SyncsRarely) { "NORMAL" } else { "FULL" })?;
    if let Err(error) = read_owner(conn, wanted, read) {
        read.trouble(error)?;
    }
    match read_hard(conn, group) {
        Ok(hard) => read.hard = hard,
        Err(error) => read.trouble(error)?,
    }
    read.beginning = read_beginning(conn, group)?.unwrap_or_default();
    read_entries(conn, group, read)?;
    // What was read is whole; so must be the pages that were not, before anything is written among them.
    let check: String =
        conn.query_row("pragma quick_check(1)", [], |r| r.get(0)).map_err(StorageError::sqlite(FILE))?;
    if check == "ok" { Ok(()) } else { Err(StorageError::Damaged(format!("{FILE}: {check}"))) }
}

/// The owner, if there is one; makes or completes the tables, of a directory that is ours.
fn read_owner(conn: &mut Connection, wanted: &Identity, read: &mut LogRead) -> Result<(), StorageError> {
    let error = StorageError::sqlite(FILE);
    let has_tables =
        conn.query_row("select count(*) from sqlite_master where name = 'identity'", [], |r| r.get::<_, i64>(0));
    let format = if has_tables.map_err(&error)? == 0 {
        None
    } else {
        conn.query_row("select format from identity", [], |r| r.get::<_, i64>(0)).optional().map_err(&error)?
    };
    let columns: i64 =
        conn.query_row("select count(*) from pragma_table_info('identity')", [], |r| r.get(0)).map_err(&error)?;
    if columns < 8 {
        if format.is_some_and(|format| format != 1) {
            return Err(StorageError::Damaged(format!("{FILE}: its format is {format:?}, its tables are of format 1")));
        }
        // Whose it is comes before anything is written to it.
        if format.is_some() {
            let select = "select cluster_id, node, storage_id, 0, '' from identity";
            let owner = conn.query_row(select, [], owner_row).map_err(&error)?;
            is_ours(&owner, wanted)?;
        }
        migrate(conn)?;
    }
    let select = "select cluster_id, node, storage_id, joins, instead_of, format, crc from identity";
    let row = conn.query_row(select, [], |r| Ok((owner_row(r)?, r.get::<_, i64>(5)?, r.get::<_, i64>(6)?)));
    let Some((owner, format, crc)) = row.optional().map_err(&error)? else { return Ok(()) };
    // The way the sum is made stays the same in every later format, so that a newer one is told from a rotten one.
    if format > FORMAT && crc == i64::from(owner.checksum(format)) {
        return Err(StorageError::Format { file: FILE, found: format, newest: FORMAT });
    }
    if format != FORMAT || crc != i64::from(owner.checksum(format)) {
        return Err(StorageError::Damaged(format!("{FILE}: its owner's row does not match its checksum")));
    }
    is_ours(&owner, wanted)?;
    read.owner = Some(owner);
    Ok(())
}

fn owner_row(row: &Row<'_>) -> tokio_rusqlite::rusqlite::Result<Owner> {
    let identity = Identity { cluster_id: row.get(0)?, node: NodeId(row.get::<_, i64>(1)?.cast_unsigned()) };
    Ok(Owner { identity, storage_id: row.get(2)?, joins: row.get::<_, i64>(3)? != 0, instead_of: row.get(4)? })
}

fn is_ours(owner: &Owner, wanted: &Identity) -> Result<(), StorageError> {
    if owner.identity == *wanted {
        return Ok(());
    }
    Err(StorageError::OtherNode { found: owner.identity.clone(), wanted: wanted.clone() })
}

/// Makes the tables, or those of format 1 into those of format 2.
fn migrate(conn: &mut Connection) -> Result<(), StorageError> {
    let error = StorageError::sqlite(FILE);
    let tx = conn.transaction().map_err(&error)?;
    tx.execute_batch(SCHEMA).and_then(|()| tx.execute_batch(ADDED)).map_err(&error)?;
    let select = "select cluster_id, node, storage_id, joins, instead_of from identity";
    if let Some(owner) = tx.query_row(select, [], owner_row).optional().map_err(&error)? {
        tx.execute("update identity set crc = ?", [owner.checksum(FORMAT)]).map_err(&error)?;
    }
    tx.commit().map_err(&error)
}

/// The sum of term, vote and damage; without damage, as version 0.1.0 made it.
pub(super) fn hard_checksum(group: GroupId, hard: HardState) -> u32 {
    let mut numbers = vec![group.0, hard.term.0, hard.voted_for.map_or(0, |n| n.0)];
    if let Some(Damage { until, term }) = hard.damage {
        numbers.extend([until.0, term.0]);
    }
    crc32fast::hash(&numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>())
}

fn read_hard(conn: &Connection, group: GroupId) -> Result<Option<HardState>, StorageError> {
    let select = "select term, voted_for, damage_until, damage_term, crc from hard where grp = ?";
    let row = conn.query_row(select, [signed(group.0)], |r| {
        let number = |column| r.get::<_, i64>(column).map(i64::cast_unsigned);
        let (vote, until) = (number(1)?, Index(number(2)?));
        let damage = (until > Index(0)).then_some(Damage { until, term: Term(number(3)?) });
        let voted_for = (vote != 0).then_some(NodeId(vote));
        Ok((HardState { term: Term(number(0)?), voted_for, damage }, r.get::<_, i64>(4)?))
    });
    match row.optional().map_err(StorageError::sqlite(FILE))? {
        None => Ok(None),
        Some((hard, crc)) if crc == i64::from(hard_checksum(group, hard)) => Ok(Some(hard)),
        Some(_) => Err(StorageError::Damaged("the stored term and vote do not match their checksum".into())),
    }
}

fn read_beginning(conn: &Connection, group: GroupId) -> Result<Option<Beginning>, StorageError> {
    let damaged = || StorageError::Damaged("the stored start of the log does not match its checksum".into());
    let select = "select idx, term, chain, membership, crc from starts where grp = ?";
    let row = conn.query_row(select, [signed(group.0)], |r| {
        let number = |column| r.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok((Index(number(0)?), Term(number(1)?), r.get::<_, Vec<u8>>(2)?, r.get::<_, Vec<u8>>(3)?, r.get::<_, i64>(4)?))
    });
    let Some((index, term, chain, membership, crc)) = row.optional().map_err(StorageError::sqlite(FILE))? else {
        return Ok(None);
    };
    let chain = Chain(chain.try_into().map_err(|_| damaged())?);
    let membership = membership_from(&membership).ok_or_else(damaged)?;
    let beginning = Beginning { start: LogStart { index, term, membership }, chain };
    if crc == i64::from(beginning.checksum(group)) { Ok(Some(beginning)) } else { Err(damaged()) }
}

/// All entries after the start and the chain at each of them, up to the first that is not what was written.
fn read_entries(conn: &Connection, group: GroupId, read: &mut LogRead) -> Result<(), StorageError> {
    let error = StorageError::sqlite(FILE);
    let mut statement = conn
        .prepare("select key, term, kind, payload, crc, chain from entries where key > ? and key < ? order by key")
        .map_err(&error)?;
    let bounds = [key(group, read.beginning.start.index), key(GroupId(group.0 + 1), Index(0))];
    let mut rows = statement.query(bounds).map_err(&error)?;
    let (mut expected, mut chain) = (read.beginning.start.index.next(), read.beginning.chain);
    while let Some(row) = rows.next().map_err(&error)? {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned).map_err(&error);
        let index = Index(number(0)? & ((1 << INDEX_BITS) - 1));
        let payload = Cow::Owned(row.get::<_, Vec<u8>>(3).map_err(&error)?);
        let raw = Raw { index, term: Term(number(1)?), kind: row.get(2).map_err(&error)?, payload };
        if index != expected {
            return Err(StorageError::Damaged(format!("entry {expected} is missing")));
        }
        if row.get::<_, i64>(4).map_err(&error)? != i64::from(raw.checksum(group.0)) {
            return Err(StorageError::Damaged(format!("entry {expected} does not match its checksum")));
        }
        chain = chain.then(&raw);
        let fits = chain.0 == row.get::<_, Vec<u8>>(5).map_err(&error)?[..];
        if !fits && !mutants::on(Mutant::SkipsChain) {
            return Err(StorageError::Damaged(format!("entry {expected} does not follow from the one before it")));
        }
        let unknown = || StorageError::Damaged(format!("entry {expected} is of a kind that cannot be read"));
        read.entries.push(raw.decode().ok_or_else(unknown)?);
        read.chains.push(chain);
        expected = expected.next();
    }
    Ok(())
}
