//! The job tables in `state.db`, written behind.
//!
//! Memory decides; these tables remember. One transaction takes all changes since the last one together with the log
//! index they are as of, so the tables are always those of some moment. What is in them needs no log any more, and what
//! is not yet in them is in the log.
//!
//! Records are blobs with a checksum; beside those of finished jobs, which live here alone, are only the columns that a list
//! is filtered by. Live jobs have a table of their own: nobody looks for one of them here, but a start reads them all.
//!
//! The tables also know where a log that leads on from them begins: the term of the entry that they are as of, and the
//! membership there. So they are a snapshot at every moment, and can stand for a log that was lost. The log is cut below
//! what is in them, so a write is on disk when it returns.

use std::sync::Arc;

use raftdeck_jobs::{
    Changes, Job, JobId, JobState, KeyEntry, Machine, Meta, Name, QueueCounts, Recent, Restored, SessionEntry,
    SessionId,
};
use raftdeck_raft::{Index, LogStart, Membership, Term};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio_rusqlite::{
    params,
    rusqlite::{self, Connection, OptionalExtension as _, Row, types::Value},
};
use tracing::warn;

use crate::mutants::{self, Mutant};

use super::{Files, StorageError, directory::put_aside, prepare};

const FILE: &str = "state.db";

const SCHEMA: &str = "
    create table if not exists meta (
        one integer primary key check (one = 1), storage_id text not null, applied integer not null, record blob not null
    ) strict;
    create table if not exists live (id integer primary key, record blob not null, crc integer not null) strict;
    create table if not exists finished (
        id integer primary key, state integer not null, queue text not null, handler text not null,
        record blob not null, crc integer not null
    ) strict;
    create index if not exists finished_badly on finished (state, id) where state > 5;
    create table if not exists queues (name text primary key, record blob not null) strict, without rowid;
    create table if not exists keys (name text primary key, record blob not null) strict, without rowid;
    create table if not exists sessions (id integer primary key, record blob not null) strict;
    create table if not exists paused (name text primary key) strict, without rowid;
    create table if not exists recent (finish_seq integer primary key, record blob not null) strict;
    create table if not exists position (one integer primary key check (one = 1), record blob not null) strict;
";

/// Where version 0.1.0 had all jobs.
const MOVE_JOBS: &str = "
    begin immediate;
    insert into live select id, record, crc from jobs where state < 5;
    insert into finished select id, state, queue, handler, record, crc from jobs where state >= 5;
    drop table jobs;
    commit;
";

/// Most finished jobs are: the others have an index.
const COMPLETED: i64 = 5;

fn state_number(state: JobState) -> i64 {
    match state {
        JobState::Scheduled => 1,
        JobState::Available => 2,
        JobState::Running => 3,
        JobState::Retryable => 4,
        JobState::Completed => COMPLETED,
        JobState::Cancelled => 6,
        JobState::Discarded => 7,
    }
}

/// Which jobs a list wants. Empty means all.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// In one of these states.
    pub states: Vec<JobState>,
    /// In this queue.
    pub queue: String,
    /// For this handler.
    pub handler: String,
    /// With a smaller id.
    pub before: Option<JobId>,
}

impl JobFilter {
    /// Whether a job in memory is wanted.
    #[must_use]
    pub fn takes(&self, job: &Job) -> bool {
        (self.states.is_empty() || self.states.contains(&job.state))
            && (self.queue.is_empty() || self.queue == job.queue)
            && (self.handler.is_empty() || self.handler == job.handler)
            && self.before.is_none_or(|before| job.id < before)
    }
}

/// The tables, open. Stateless: everything is in the file.
#[derive(Clone, Debug)]
pub struct StateStore {
    storage_id: Arc<str>,
}

/// Where the tables stand in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// A log that leads on from them begins so.
    pub(super) start: LogStart,
    /// They came as a snapshot, and the log may not know it yet.
    pub(super) installed: bool,
}

#[derive(Serialize, Deserialize)]
struct PositionRecord {
    index: u64,
    term: u64,
    membership: Membership,
    installed: bool,
}

/// What the tables hold.
#[derive(Debug)]
pub(super) struct TablesRead {
    /// Beside which log they were written; none if they never were.
    pub(super) owner: Option<String>,
    /// None in tables that were never written, or by version 0.1.0.
    pub(super) position: Option<Position>,
    pub(super) machine: Machine,
}

/// Reads the tables and the machine they hold; a new machine if they are new.
///
/// # Errors
/// `Damaged` when what is here is not what was written.
pub(super) fn read(conn: &mut Connection) -> Result<TablesRead, StorageError> {
    prepare(conn, FILE, "FULL")?;
    make_tables(conn)?;
    read_prepared(conn)
}

fn make_tables(conn: &Connection) -> Result<(), StorageError> {
    let made = conn.execute_batch(SCHEMA).and_then(|()| {
        let is_old = conn.table_exists(None, "jobs")?;
        if is_old { conn.execute_batch(MOVE_JOBS) } else { Ok(()) }
    });
    made.map_err(StorageError::sqlite(FILE))
}

/// As [`read`], in a file that is left as it is.
pub(super) fn read_prepared(conn: &Connection) -> Result<TablesRead, StorageError> {
    let error = StorageError::sqlite(FILE);
    let meta: Option<(String, i64, Vec<u8>)> = conn
        .query_row("select storage_id, applied, record from meta", [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .optional()
        .map_err(&error)?;
    let Some((owner, applied, meta)) = meta else {
        return Ok(TablesRead { owner: None, position: None, machine: Machine::new() });
    };
    let applied = applied.cast_unsigned();
    let position =
        read_with(conn, "select record from position", Vec::new(), |r| unpack::<PositionRecord>(&blob(r, 0)?))?;
    let position = position.into_iter().next().map(|PositionRecord { index, term, membership, installed }| Position {
        start: LogStart { index: Index(index), term: Term(term), membership },
        installed,
    });
    if let Some(position) = position.as_ref().filter(|p| p.start.index != Index(applied)) {
        let index = position.start.index;
        return Err(StorageError::Damaged(format!("{FILE}: it is as of {applied} and as of {index}")));
    }
    let restored = Restored {
        applied,
        meta: unpack::<Meta>(&meta)?,
        jobs: read_all(conn, "select record, crc from live", read_job)?,
        queues: read_all(conn, "select name, record from queues", named::<QueueCounts>)?,
        keys: read_all(conn, "select name, record from keys", named::<KeyEntry>)?,
        sessions: read_all(conn, "select id, record from sessions", read_session)?,
        paused: read_paused(conn)?,
        recent: read_all(conn, "select record from recent", |r| unpack::<Recent>(&blob(r, 0)?))?,
    };
    let machine = Machine::restore(restored).map_err(|e| StorageError::Damaged(format!("{FILE}: {e}")))?;
    Ok(TablesRead { owner: Some(owner), position, machine })
}

/// Makes sure that every job's record is what was written, that no finished job is missing (no machine would miss it: a write
/// that the drive lost leaves everything in order), and that pages and index are in order.
pub(super) fn check_records(conn: &Connection) -> Result<(), StorageError> {
    let error = StorageError::sqlite(FILE);
    let check: String = conn.query_row("pragma integrity_check(1)", [], |r| r.get(0)).map_err(&error)?;
    if check != "ok" {
        return Err(StorageError::Damaged(format!("{FILE}: {check}")));
    }
    for_each_job(conn, "select record, crc from live", |_| ())?;
    let (mut finished, mut digest) = (0_u64, 0_u64);
    for_each_job(conn, "select record, crc from finished", |job| {
        finished += 1;
        digest = digest.wrapping_add(job.digest());
    })?;
    let meta = read_all(conn, "select record from meta", |r| unpack::<Meta>(&blob(r, 0)?))?;
    let counted = meta.first().map_or((0, 0), |meta| (meta.finish_seq, meta.finished_digest));
    if counted != (finished, digest) {
        let (were, _) = counted;
        return Err(StorageError::Damaged(format!(
            "{FILE}: its {finished} finished jobs are not the {were} that were"
        )));
    }
    Ok(())
}

/// One after the other: all of them may be more than fits the memory.
fn for_each_job(conn: &Connection, sql: &str, mut look: impl FnMut(&Job)) -> Result<(), StorageError> {
    let error = StorageError::sqlite(FILE);
    let mut statement = conn.prepare(sql).map_err(&error)?;
    let mut rows = statement.query([]).map_err(&error)?;
    while let Some(row) = rows.next().map_err(&error)? {
        look(&read_job(row)?);
    }
    Ok(())
}

/// Makes the tables of a snapshot those of a directory: as a snapshot that its log may not know yet.
pub(super) fn adopt(conn: &Connection, storage_id: &str, start: &LogStart) -> Result<(), StorageError> {
    let error = StorageError::sqlite(FILE);
    make_tables(conn)?;
    conn.execute("update meta set storage_id = ?", [storage_id]).map_err(&error)?;
    write_position(conn, start, true).map_err(&error)
}

fn write_position(conn: &Connection, start: &LogStart, installed: bool) -> rusqlite::Result<()> {
    let LogStart { index, term, membership } = start.clone();
    let record = pack(&PositionRecord { index: index.0, term: term.0, membership, installed });
    conn.prepare_cached("insert or replace into position values (1, ?)")?.execute([record]).map(|_| ())
}

/// After an error: if it says that the tables are not what was written, they are put aside, and the next start builds them
/// anew from the log, or has them sent by a leader.
///
/// # Errors
/// The one that it was given: the process must end.
pub(super) fn give_up<T>(conn: &mut Connection, files: &dyn Files, error: StorageError) -> Result<T, StorageError> {
    if error.is_damage() {
        let placeholder = Connection::open_in_memory().map_err(StorageError::sqlite(FILE))?;
        drop(std::mem::replace(conn, placeholder));
        put_aside(files, FILE)?;
        warn!("{error}; the next start builds the tables anew");
    }
    Err(error)
}

impl StateStore {
    /// The tables of this directory.
    pub(super) fn new(storage_id: &str) -> StateStore {
        StateStore { storage_id: storage_id.into() }
    }

    /// Whose they are.
    pub(super) fn storage_id(&self) -> &str {
        &self.storage_id
    }

    /// Writes, as a node does while it works. A start does not read all pages, so a rotten one may be found here; then the
    /// tables are put aside: every later life would find the same.
    ///
    /// # Errors
    /// Of the disk: the process must end.
    pub fn remember(
        &self,
        conn: &mut Connection,
        files: &dyn Files,
        changes: &Changes,
        start: &LogStart,
    ) -> Result<(), StorageError> {
        self.write(conn, changes, start).or_else(|error| give_up(conn, files, error))
    }

    /// Reads everything, as if a write had met it all; what is rotten is dealt with as by [`StateStore::remember`]. A node does not:
    /// it may have the last copy of the rest.
    ///
    /// # Errors
    /// As [`StateStore::remember`].
    pub fn scrub(&self, conn: &mut Connection, files: &dyn Files) -> Result<(), StorageError> {
        check_records(conn).or_else(|error| give_up(conn, files, error))
    }

    /// Writes all changes as one transaction, and where a log that leads on from them begins. Durable when it returns.
    ///
    /// # Errors
    /// Of the disk: the process must end.
    pub fn write(&self, conn: &mut Connection, changes: &Changes, start: &LogStart) -> Result<(), StorageError> {
        assert_eq!(start.index, Index(changes.applied), "tables as of another place than their log");
        let error = StorageError::sqlite(FILE);
        if mutants::on(Mutant::TablesInTwoSteps) {
            self.write_meta(conn, changes).map_err(&error)?;
        }
        let tx = conn.transaction().map_err(&error)?;
        self.write_rows(&tx, changes).map_err(&error)?;
        self.write_meta(&tx, changes).map_err(&error)?;
        write_position(&tx, start, false).map_err(&error)?;
        tx.commit().map_err(&error)
    }

    fn write_rows(&self, tx: &Connection, changes: &Changes) -> rusqlite::Result<()> {
        let mut live_row = tx.prepare_cached("insert or replace into live values (?, ?, ?)")?;
        let mut live_gone = tx.prepare_cached("delete from live where id = ?")?;
        let mut finished_row = tx.prepare_cached("insert or replace into finished values (?, ?, ?, ?, ?, ?)")?;
        for job in &changes.jobs {
            let (id, record) = (job.id.0.cast_signed(), job.encode());
            let crc = crc32fast::hash(&record);
            if job.state.is_final() {
                live_gone.execute([id])?;
                finished_row.execute(params![
                    id,
                    state_number(job.state),
                    job.queue.as_str(),
                    job.handler.as_str(),
                    record,
                    crc
                ])?;
            } else {
                live_row.execute(params![id, record, crc])?;
            }
        }
        let mut queue_row = tx.prepare_cached("insert or replace into queues values (?, ?)")?;
        for (name, counts) in &changes.queues {
            queue_row.execute(params![name, pack(counts)])?;
        }
        let mut key_row = tx.prepare_cached("insert or replace into keys values (?, ?)")?;
        for (name, entry) in &changes.keys_set {
            key_row.execute(params![name, pack(entry)])?;
        }
        let mut key_gone = tx.prepare_cached("delete from keys where name = ?")?;
        for name in &changes.keys_removed {
            key_gone.execute([name])?;
        }
        let mut session_row = tx.prepare_cached("insert or replace into sessions values (?, ?)")?;
        for (session, entry) in &changes.sessions_set {
            session_row.execute(params![session.0.cast_signed(), pack(entry)])?;
        }
        let mut session_gone = tx.prepare_cached("delete from sessions where id = ?")?;
        for session in &changes.sessions_removed {
            session_gone.execute([session.0.cast_signed()])?;
        }
        let mut paused_row = tx.prepare_cached("insert or replace into paused values (?)")?;
        for queue in &changes.paused_set {
            paused_row.execute([queue.as_str()])?;
        }
        let mut paused_gone = tx.prepare_cached("delete from paused where name = ?")?;
        for queue in &changes.paused_removed {
            paused_gone.execute([queue.as_str()])?;
        }
        let mut recent_row = tx.prepare_cached("insert or replace into recent values (?, ?)")?;
        for recent in &changes.recent {
            recent_row.execute(params![recent.finish_seq.cast_signed(), pack(recent)])?;
        }
        tx.prepare_cached("delete from recent where finish_seq < ?")?.execute([changes.recent_floor.cast_signed()])?;
        Ok(())
    }

    fn write_meta(&self, tx: &Connection, changes: &Changes) -> rusqlite::Result<()> {
        tx.prepare_cached("insert or replace into meta values (1, ?, ?, ?)")?.execute(params![
            &*self.storage_id,
            changes.applied.cast_signed(),
            pack(&changes.meta)
        ])?;
        Ok(())
    }

    /// One job, finished or live, as last written.
    ///
    /// # Errors
    /// Of the disk, or the record is damaged: it is not served.
    pub fn job(&self, conn: &Connection, id: JobId) -> Result<Option<Job>, StorageError> {
        let sql = "select record, crc from finished where id = ?1
                   union all select record, crc from live where id = ?1";
        let mut found = read_with(conn, sql, vec![Value::Integer(id.0.cast_signed())], read_job)?;
        Ok(found.pop())
    }

    /// Finished jobs that are wanted, newest first, at most `limit`. Live ones are better asked of the machine.
    ///
    /// # Errors
    /// As [`StateStore::job`].
    pub fn list_finished(&self, conn: &Connection, filter: &JobFilter, limit: usize) -> Result<Vec<Job>, StorageError> {
        let mut sql = String::from("select record, crc from finished where true");
        let mut values = Vec::new();
        if !filter.states.is_empty() {
            let numbers: Vec<String> = filter.states.iter().map(|s| state_number(*s).to_string()).collect();
            sql += &format!(" and state in ({})", numbers.join(","));
            if !filter.states.contains(&JobState::Completed) {
                sql += &format!(" and state > {COMPLETED}"); // So that the index serves.
            }
        }
        for (column, value) in [("queue", &filter.queue), ("handler", &filter.handler)] {
            if !value.is_empty() {
                sql += &format!(" and {column} = ?");
                values.push(Value::Text(value.clone()));
            }
        }
        if let Some(before) = filter.before {
            sql += " and id < ?";
            values.push(Value::Integer(before.0.cast_signed()));
        }
        sql += " order by id desc limit ?";
        values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        read_with(conn, &sql, values, read_job)
    }
}

fn read_job(row: &Row<'_>) -> Result<Job, StorageError> {
    let record = blob(row, 0)?;
    let crc: u32 = row.get(1).map_err(StorageError::sqlite(FILE))?;
    if crc != crc32fast::hash(&record) {
        return Err(StorageError::Damaged(format!("{FILE}: a job's record does not match its checksum")));
    }
    Job::decode(&record).map_err(|e| StorageError::Damaged(format!("{FILE}: {e}")))
}

fn named<T: DeserializeOwned>(row: &Row<'_>) -> Result<(String, T), StorageError> {
    let name = row.get(0).map_err(StorageError::sqlite(FILE))?;
    Ok((name, unpack(&blob(row, 1)?)?))
}

fn read_session(row: &Row<'_>) -> Result<(SessionId, SessionEntry), StorageError> {
    let id: i64 = row.get(0).map_err(StorageError::sqlite(FILE))?;
    Ok((SessionId(id.cast_unsigned()), unpack(&blob(row, 1)?)?))
}

/// Without a checksum of their own: the state hash covers what these rows say. A snapshot may come from a release that knew
/// no such table, and nothing was paused there.
fn read_paused(conn: &Connection) -> Result<Vec<Name>, StorageError> {
    let error = StorageError::sqlite(FILE);
    if !conn.table_exists(None, "paused").map_err(&error)? {
        return Ok(Vec::new());
    }
    read_all(conn, "select name from paused", |r| r.get::<_, String>(0).map(Name::from).map_err(&error))
}

fn blob(row: &Row<'_>, column: usize) -> Result<Vec<u8>, StorageError> {
    row.get(column).map_err(StorageError::sqlite(FILE))
}

fn read_all<T>(
    conn: &Connection,
    sql: &str,
    read: impl Fn(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    read_with(conn, sql, Vec::new(), read)
}

fn read_with<T>(
    conn: &Connection,
    sql: &str,
    values: Vec<Value>,
    read: impl Fn(&Row<'_>) -> Result<T, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let error = StorageError::sqlite(FILE);
    let mut statement = conn.prepare_cached(sql).map_err(&error)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values)).map_err(&error)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(&error)? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Small records carry their checksum in front.
fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    let body = postcard::to_allocvec(value).expect("records of the machine can be written as bytes");
    [&crc32fast::hash(&body).to_le_bytes()[..], &body].concat()
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StorageError> {
    let damaged = || StorageError::Damaged(format!("{FILE}: a record does not match its checksum"));
    let (sum, body) = bytes.split_at_checked(4).ok_or_else(damaged)?;
    if crc32fast::hash(body).to_le_bytes() != sum {
        return Err(damaged());
    }
    postcard::from_bytes(body).map_err(|_| damaged())
}
