//! What a node makes of its disk when it starts.
//!
//! A disk that lost what was acknowledged from it is no reason to stay away: the node starts *damaged*, which is part of
//! its term and vote from then on, and a leader refills it ([`raftdeck_raft::Damage`] says why that is safe). What is found
//! decides how it starts:
//!
//! | found | the node starts |
//! |---|---|
//! | all that the mark says, in a sound file | as it stopped |
//! | less than the mark says; a rotten row, a broken chain, a sick or missing `log.db` | with what is certain; damaged if that is less than the mark says |
//! | the same, and tables that are ahead of what is certain | with a log that begins after them, else the same |
//! | sick tables, and a log from the first entry on | with the log; the tables are built anew |
//! | sick tables, or tables behind the start of the log | empty, damaged up to what is known to have been here |
//! | no tables, because an earlier life found them sick at work ([`StateStore::remember`]) | as with sick tables |
//! | tables that the log does not lead to | with a log that begins after them: damaged, unless a snapshot had just been put there |
//! | neither slot of the mark, or an emptied directory | as a stranger: under a new storage id, in term 0, a member of nothing |
//! | files of another node or cluster, or in use | not |
//!
//! Term and vote are the later of what mark and log say. A mark is written after its log and before any acknowledgement, so
//! both are known as long as the mark is; without it the node may have promised anything. Then only a new name helps: the
//! group takes the stranger in as a learner, in place of the one it knew.
//!
//! What is replaced is kept beside as `NAME.damaged`, the newest of each. Everything is durable before the node says a word:
//! what was found is written once more, for it may be in the cache alone. An fsync that fails leaves its pages clean, the
//! process ends, and the next one reads them as if they were on the disk; no later fsync writes them, and a power cut much
//! later would take them, with all that was acknowledged behind them (Rebello et al., ATC 2020, found this in five
//! databases; a seed of the simulator found it here).

use std::io;

use raftdeck_jobs::Machine;
use raftdeck_raft::{Damage, Entry, GroupId, HardState, Index, LogStart, Term, Write, WriteSeq};
use tokio_rusqlite::rusqlite::{Connection, config::DbConfig};
use tracing::warn;

use crate::mutants::{self, Mutant};

use super::{
    Files, Identity, LOG, MARK, STATE, StateStore, StorageError,
    directory::put_aside,
    log_read::{Beginning, LogRead, Owner, read_log},
    log_store::{Found, LogStore},
    mark::{Claims, Mark, Reading},
    snapshot,
    state_store::{self, TablesRead},
};

/// A database that was never folded into is a few pages.
const NEW_DATABASE_BYTES_MAX: u64 = 256 << 10;

/// What is read and written again at once.
const REWRITE_BYTES: usize = 1 << 20;

/// A node's disk, open.
#[derive(Debug)]
pub struct Opened {
    /// Of `log.db`.
    pub log: Connection,
    /// Of `log.db`.
    pub log_store: LogStore,
    /// Of `state.db`.
    pub state: Connection,
    /// Of `state.db`.
    pub state_store: StateStore,
    /// What the log held.
    pub found: Found,
    /// What the tables held.
    pub machine: Machine,
}

/// The tables as they were found, or why they are of no use.
enum Tables {
    Sound(Connection, Box<TablesRead>),
    Sick(String),
}

/// How the log goes on.
struct Plan {
    beginning: Beginning,
    entries: Vec<Entry>,
    hard: HardState,
    /// The tables are kept.
    keeps_tables: bool,
    /// The file is put aside and begun anew.
    anew: bool,
    /// What to tell.
    why: Option<String>,
}

/// Opens a node's files.
///
/// # Errors
/// See the module: the files are another's or in use, or the machine fails. Damage is no error.
pub fn open(files: &dyn Files, group: GroupId, identity: &Identity) -> Result<Opened, StorageError> {
    let is_new = is_new(files)?;
    let mark = files.mark()?; // From here on the directory is ours.
    write_again(files)?;
    let (log, read) = open_log(files, group, identity, is_new)?;
    let (mark, reading) = Mark::open(mark, group.0)?;
    let witness = files.witness().map_err(StorageError::io("the directory's witness"))?;
    if let (Some(owner), Some(witness)) = (&read.owner, &witness) {
        if owner.instead_of == *witness {
            set_witness(files, &owner.storage_id)?; // The process ended before.
        } else if owner.storage_id != *witness {
            let here = &owner.storage_id;
            return Err(StorageError::LogLost(format!(
                "this is directory {here}, its witness says that {witness} was here"
            )));
        }
    }
    snapshot::sweep(files)?;
    let id = read.owner.as_ref().map(|owner| owner.storage_id.clone()).or(witness.clone());
    let (claims, begins) = match reading {
        Reading::Says(claims) => (claims, false),
        Reading::Absent | Reading::Unreadable => {
            // Nothing was ever acknowledged by a log that has neither a mark nor anything in it.
            let begun = read.is_untouched() && reading == Reading::Absent;
            let was_used = names_aside().any(|name| matches!(files.size(&name), Ok(Some(_))));
            let may_be_new = (witness.is_none() && !was_used) || read.owner.as_ref().is_some_and(|o| o.joins);
            if is_new || (begun && may_be_new) {
                (Claims::default(), true)
            } else {
                drop(log);
                let why = if reading == Reading::Absent { "the mark is gone" } else { "the mark cannot be read" };
                return forget(files, group, identity, id, why);
            }
        }
    };
    let Some(id) = id.or_else(|| begins.then(new_id)) else {
        drop(log);
        return forget(files, group, identity, None, "nothing says which directory this was");
    };
    let tables = open_tables(files, &id)?;
    let plan = plan(&read, &claims, &tables);
    if let Some(why) = &plan.why {
        warn!("{why}");
    }
    let owner = read.owner.clone().unwrap_or_else(|| Owner {
        identity: identity.clone(),
        storage_id: id.clone(),
        joins: false,
        instead_of: String::new(),
    });
    let (log, log_store) = carry_out_log(files, group, (log, mark, &read), &owner, &plan)?;
    set_witness(files, &id)?;
    let (state, machine) = match tables {
        Tables::Sound(conn, read) if plan.keeps_tables => (conn, read.machine),
        tables => {
            drop(tables);
            put_aside(files, STATE)?;
            let mut conn = files.connect(STATE)?;
            let machine = state_store::read(&mut conn)?.machine;
            (conn, machine)
        }
    };
    let Plan { beginning: Beginning { start, .. }, entries, hard, .. } = plan;
    let found = Found { storage_id: id.clone(), hard, start, entries, joins: owner.joins };
    Ok(Opened { log, log_store, state, state_store: StateStore::new(&id), found, machine })
}

fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn set_witness(files: &dyn Files, id: &str) -> Result<(), StorageError> {
    let error = StorageError::io("the directory's witness");
    if files.witness().map_err(&error)?.as_deref() == Some(id) {
        return Ok(());
    }
    files.set_witness(id).map_err(error)
}

/// What was put aside is called so.
fn names_aside() -> impl Iterator<Item = String> {
    [LOG, STATE, MARK].into_iter().map(|name| format!("{name}.damaged"))
}

/// Whether there was never anything here.
fn is_new(files: &dyn Files) -> Result<bool, StorageError> {
    let error = StorageError::io("data directory");
    for name in [LOG, STATE, MARK].map(str::to_owned).into_iter().chain(names_aside()) {
        if files.size(&name).map_err(&error)?.is_some() {
            return Ok(false);
        }
    }
    Ok(files.witness().map_err(&error)?.is_none())
}

/// The log's file, as far as it can be read; no connection if it is not to be written to.
fn open_log(
    files: &dyn Files,
    group: GroupId,
    identity: &Identity,
    is_new: bool,
) -> Result<(Option<Connection>, LogRead), StorageError> {
    if !is_new && files.size(LOG).map_err(StorageError::io(LOG))?.is_none() {
        return Ok((None, LogRead { trouble: Some("log.db is gone".into()), ..LogRead::default() }));
    }
    let mut conn = files.connect(LOG)?;
    // Should it turn out to be damaged, it is put aside as it is.
    let keep = |conn: &Connection, on| conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on);
    keep(&conn, true).map_err(StorageError::sqlite(LOG))?;
    let read = read_log(&mut conn, group, identity)?;
    if read.trouble.is_some() {
        return Ok((None, read));
    }
    keep(&conn, false).map_err(StorageError::sqlite(LOG))?;
    Ok((Some(conn), read))
}

fn open_tables(files: &dyn Files, id: &str) -> Result<Tables, StorageError> {
    let mut conn = files.connect(STATE)?;
    match state_store::read(&mut conn) {
        Ok(read) if read.owner.as_deref().is_none_or(|owner| owner == id) => Ok(Tables::Sound(conn, Box::new(read))),
        Ok(_) => Err(StorageError::LogLost(format!("{STATE} was written beside another log"))),
        Err(error) if error.is_damage() => Ok(Tables::Sick(error.to_string())),
        Err(error) => Err(error),
    }
}

/// See the table at the head of the module.
fn plan(read: &LogRead, mark: &Claims, tables: &Tables) -> Plan {
    let holds = read.holds(mark);
    let mut plan = Plan {
        beginning: read.beginning.clone(),
        entries: read.entries.clone(),
        hard: HardState::default(),
        keeps_tables: true,
        anew: read.trouble.is_some() || !holds,
        why: read.trouble.clone(),
    };
    // So much was here once, and is not any more.
    let mut lost = (!holds).then_some(mark.last);
    let end = read.claims().last;
    match tables {
        Tables::Sick(why) if read.beginning.start.index == Index(0) => {
            plan.keeps_tables = false;
            let why = format!("{why}: the tables are built anew from the log");
            plan.why = Some(plan.why.map_or(why.clone(), |log| format!("{log}, {why}")));
        }
        Tables::Sick(why) => {
            plan.begin_empty(why);
            lost = Some(mark.last.max(end));
        }
        Tables::Sound(_, tables) => {
            let applied = Index(tables.machine.applied());
            let leads_there = match (&tables.position, read.term_at(applied)) {
                (Some(position), Some(term)) => position.start.term == term,
                // Version 0.1.0 did not say of which term; its logs begin at the first entry.
                (None, term) => term.is_some(),
                (Some(_), None) => false,
            };
            if applied < read.beginning.start.index {
                plan.begin_empty("the tables are behind the start of the log");
                lost = Some(mark.last.max(end));
            } else if !leads_there {
                match &tables.position {
                    Some(position) => {
                        plan.beginning = Beginning::after(position.start.clone());
                        plan.entries = Vec::new();
                        plan.anew |= !position.installed;
                        // A snapshot has all that was committed up to it, and what it contradicts was not.
                        let whole = (mark.last, mark.last_term) == (applied, position.start.term)
                            || (position.installed && (holds || mark.last <= applied));
                        lost = (!whole).then_some(mark.last.max(applied));
                        if !whole && plan.why.is_none() && holds {
                            plan.why = Some(format!("the tables are as of {applied}, the log does not lead there"));
                        }
                    }
                    None => {
                        plan.begin_empty("the tables are ahead of the log");
                        lost = Some(mark.last.max(applied));
                    }
                }
            }
        }
    }
    plan.settle_hard(read, mark, lost.filter(|until| *until > Index(0)));
    plan
}

impl Plan {
    /// Nothing of what was here is of use.
    fn begin_empty(&mut self, why: &str) {
        self.beginning = Beginning::default();
        self.entries = Vec::new();
        self.keeps_tables = false;
        self.anew = true;
        self.why.get_or_insert(why.to_owned());
    }

    /// Term, vote and damage: the later of what log and mark say, and what is lost now.
    fn settle_hard(&mut self, read: &LogRead, mark: &Claims, lost: Option<Index>) {
        let (stored, marked) = (read.hard.unwrap_or_default(), mark.hard);
        let mut hard = match stored.term.cmp(&marked.term) {
            std::cmp::Ordering::Greater => stored,
            std::cmp::Ordering::Equal => HardState { voted_for: marked.voted_for.or(stored.voted_for), ..stored },
            std::cmp::Ordering::Less => marked,
        };
        // Entries are stored with their term; a term that was not marked yet was not voted in.
        let term = self.entries.last().map_or(self.beginning.start.term, |e| e.term);
        if term > hard.term {
            hard = HardState { term, voted_for: None, damage: None };
        }
        let now = lost.map(|until| Damage { until, term: hard.term });
        hard.damage = [stored.damage, marked.damage, now]
            .into_iter()
            .flatten()
            .reduce(|one, other| Damage { until: one.until.max(other.until), term: one.term.max(other.term) });
        self.hard = hard;
        let end = self.entries.last().map_or(self.beginning.start.index, |e| e.index);
        match (hard.damage, &self.why) {
            (Some(Damage { until, .. }), why) => {
                let why =
                    why.as_deref().unwrap_or(if lost.is_some() { "the log is shorter" } else { "not refilled yet" });
                self.why = Some(format!(
                    "damaged: {why}: the log ends at {end}, entries up to {until} were acknowledged; waits for a leader to refill it"
                ));
            }
            (None, Some(why)) => self.why = Some(format!("{why}; nothing acknowledged was lost")),
            (None, None) => {}
        }
    }
}

/// Brings the file to what was planned.
fn carry_out_log(
    files: &dyn Files,
    group: GroupId,
    (log, mark, read): (Option<Connection>, Mark, &LogRead),
    owner: &Owner,
    plan: &Plan,
) -> Result<(Connection, LogStore), StorageError> {
    let Plan { beginning, entries, hard, .. } = plan;
    let mut conn = match log {
        Some(conn) if !plan.anew => conn,
        log => {
            drop(log);
            put_aside(files, LOG)?;
            let mut conn = files.connect(LOG)?;
            read_log(&mut conn, group, &owner.identity)?; // Makes the tables.
            let store = LogStore::begin(&mut conn, mark, group, owner, (beginning.clone(), entries, *hard))?;
            return Ok((conn, store));
        }
    };
    if read.owner.is_none() {
        let store = LogStore::begin(&mut conn, mark, group, owner, (beginning.clone(), entries, *hard))?;
        return Ok((conn, store));
    }
    let mut store = LogStore::resume(group, mark, read);
    let moved = *beginning != read.beginning;
    if moved || read.hard.unwrap_or_default() != *hard {
        let end = entries.last().map_or(beginning.start.index, |e| e.index);
        let start = moved.then(|| beginning.start.clone());
        let write = Write { seq: WriteSeq(0), hard: *hard, start, from: end.next(), entries: Vec::new() };
        store.append(&mut conn, &[write])?;
    } else {
        store.set_mark()?;
    }
    Ok((conn, store))
}

/// Makes what will be read here durable, wherever it is read from: its bytes are written once more, as they are. A database
/// is not: what was ever folded into it was synced, or is still in its write-ahead log. Only one that is being made has
/// pages that stand nowhere else.
fn write_again(files: &dyn Files) -> Result<(), StorageError> {
    if mutants::on(Mutant::TrustsCache) {
        return Ok(());
    }
    for database in [LOG, STATE] {
        for (name, bytes_max) in [(database.to_owned(), NEW_DATABASE_BYTES_MAX), (format!("{database}-wal"), u64::MAX)]
        {
            let size = files.size(&name).map_err(StorageError::io("data directory"))?.unwrap_or(0);
            if (1..=bytes_max).contains(&size) {
                rewrite(files, &name, size).map_err(StorageError::io(database))?;
            }
        }
    }
    Ok(())
}

fn rewrite(files: &dyn Files, name: &str, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let bytes = files.read_at(name, at, REWRITE_BYTES)?;
        if bytes.is_empty() {
            break;
        }
        files.write_at(name, at, &bytes)?;
        at += bytes.len() as u64;
    }
    files.sync(name)
}

/// Nobody knows what was promised here: begins as a stranger, with what was here put aside.
fn forget(
    files: &dyn Files,
    group: GroupId,
    identity: &Identity,
    before: Option<String>,
    why: &str,
) -> Result<Opened, StorageError> {
    let owner =
        Owner { identity: identity.clone(), storage_id: new_id(), joins: true, instead_of: before.unwrap_or_default() };
    warn!("damaged: {why}: this node does not know its promises any more; begins anew as {}", owner.storage_id);
    for name in [STATE, MARK, LOG] {
        put_aside(files, name)?;
    }
    let (mark, _) = Mark::open(files.mark()?, group.0)?;
    let mut log = files.connect(LOG)?;
    read_log(&mut log, group, identity)?; // Makes the tables.
    let log_store = LogStore::begin(&mut log, mark, group, &owner, (Beginning::default(), &[], HardState::default()))?;
    set_witness(files, &owner.storage_id)?;
    let mut state = files.connect(STATE)?;
    let machine = state_store::read(&mut state)?.machine;
    let id = owner.storage_id;
    let found = Found {
        storage_id: id.clone(),
        hard: HardState { term: Term(0), voted_for: None, damage: None },
        start: LogStart::default(),
        entries: Vec::new(),
        joins: true,
    };
    Ok(Opened { log, log_store, state, state_store: StateStore::new(&id), found, machine })
}
