//! A simulated disk under real SQLite.
//!
//! A [`Drive`] is the files of one node's directory, in memory. SQLite opens its databases on it through a file system
//! of ours ([`sqlite_vfs`]), and the mark is kept on it too, so the node's own storage code runs here unchanged, byte for
//! byte as it would on a real disk, while the disk does what disks do on bad days:
//!
//! | fault | call |
//! |---|---|
//! | the process is gone, the machine is not | [`Drive::kill`], then [`Drive::reopen`] |
//! | the power is gone: unsynced writes are lost, or torn at sectors | [`Drive::crash`], then [`Drive::reopen`] |
//! | the same in the middle of a transaction: after any operation | [`Drive::kill_after`] |
//! | a write or a sync fails, a sync so that its pages are clean and lost | [`Drive::fail_nth`], [`Drive::evict`] |
//! | no room | [`Drive::limit`] |
//! | rotten bits, a file cut short, all files gone, an old copy put back | [`Drive::flip`], [`Drive::shorten`], [`Drive::wipe`], [`Drive::restore`] |
//!
//! Laws:
//! - nothing here knows a clock or chance of its own: the same calls on drives of the same seed give the same bytes;
//! - after a kill nothing reaches the files, whatever the connections that are still open try to write: SQLite writes a
//!   lot when one is closed. A connection opened before a kill stays dead after [`Drive::reopen`];
//! - drives share nothing. A file's name carries the drive's number, so any number of them live side by side in one
//!   process, and the memory of one goes with it.
//!
//! Names become durable as with SQLite on Unix: a new file is in its directory once the directory was synced, which
//! SQLite does with the first sync of a new journal or write-ahead log, and the mark when it is made. Until then a crash
//! may take a new file away or bring a deleted one back.
//!
//! | file | idea |
//! |---|---|
//! | `file` | one file: what a reader sees, and what a crash leaves of it |
//! | `files` | what the node's storage does with files beside SQLite |
//! | `glue` | SQLite's calls, as calls on a drive |
//! | `wal` | salts of a write-ahead log, drawn from the drive's seed |
//!
//! CAVEATS. The rollback journal that SQLite writes once, when it makes a database, has a random number in it. One file
//! is opened by one connection at a time, as the node does; locks always succeed. SQLite's `date` functions would see the
//! real clock; the storage code has none. The crate below takes a `&mut` to what it shares between threads: all that it
//! changes there is a counter for its trace output.

mod file;
mod files;
mod glue;
mod wal;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use file::File;
pub use file::Survivors;
use raftdeck_node::storage::MarkFile;
use rand::RngExt as _;
use tokio_rusqlite::rusqlite::{self, Connection};

/// What SQLite or the mark does to a file. Each is a point at which a node can crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Makes a file.
    Create,
    /// Writes into one.
    Write,
    /// Makes what was written to one durable.
    Sync,
    /// Makes one shorter.
    Shorten,
    /// Deletes one.
    Delete,
}

/// All files as a reader sees them.
pub type Image = BTreeMap<String, Vec<u8>>;

/// See the module. Clones are the same drive.
#[derive(Debug)]
pub struct Drive {
    number: u64,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Clone, Debug)]
struct Shared {
    files: BTreeMap<String, File>,
    /// Files that are in no durable directory yet.
    unnamed: BTreeSet<String>,
    /// Deleted files that are still in the durable directory.
    deleted: BTreeMap<String, File>,
    /// How often the drive was opened anew: a handle of an earlier life is dead.
    life: u64,
    is_dead: bool,
    operations: u64,
    /// Those that went well since somebody began to watch, with their files.
    watched: Option<Vec<(Operation, String)>>,
    kill_at: Option<u64>,
    /// What fails, and how many of its kind go well before it.
    failing: BTreeMap<Operation, u64>,
    bytes_max: Option<usize>,
    seed: u64,
    /// Beside the directory: which one was once filled here.
    witness: Option<String>,
}

impl Drive {
    /// An empty one.
    #[must_use]
    pub fn new(seed: u64) -> Drive {
        Drive::plugged_in(Shared {
            files: BTreeMap::new(),
            unnamed: BTreeSet::new(),
            deleted: BTreeMap::new(),
            life: 1,
            is_dead: false,
            operations: 0,
            watched: None,
            kill_at: None,
            failing: BTreeMap::new(),
            bytes_max: None,
            seed,
            witness: None,
        })
    }

    fn plugged_in(shared: Shared) -> Drive {
        let shared = Arc::new(Mutex::new(shared));
        Drive { number: glue::plug_in(&shared), shared }
    }

    /// Another drive that is now as this one is, unsynced writes included. Its connections are its own.
    #[must_use]
    pub fn fork(&self) -> Drive {
        Drive::plugged_in(self.shared().clone())
    }

    /// SQLite, with a file of this drive as its database.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn connect(&self, file: &str) -> rusqlite::Result<Connection> {
        glue::connect(self.number, file)
    }

    /// The mark's file.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn mark(&self, file: &str) -> io::Result<DriveMark> {
        let mut shared = self.shared();
        let life = shared.life;
        if !shared.files.contains_key(file) {
            shared.create(file, life)?;
            shared.sync(file, life)?;
            shared.sync_directory();
        }
        Ok(DriveMark { shared: Arc::clone(&self.shared), file: file.into(), life })
    }

    /// The process that used it is gone: every operation fails until it is opened again.
    pub fn kill(&self) {
        self.shared().is_dead = true;
    }

    /// The power is gone: what was not synced is on the disk as far as it survived. Kills as well.
    pub fn crash(&self, mut survivors: Survivors<'_>) {
        self.shared().crash(&mut survivors);
    }

    /// A new process may use it; planned faults are over. Connections from before stay dead.
    pub fn reopen(&self) {
        let mut shared = self.shared();
        shared.is_dead = false;
        shared.life += 1;
        shared.kill_at = None;
        shared.failing.clear();
    }

    /// How many operations there were, failed ones included.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.shared().operations
    }

    /// What was done to which file since the last call, failures left out; the first call begins to watch.
    pub fn watched(&self) -> Vec<(Operation, String)> {
        self.shared().watched.replace(Vec::new()).unwrap_or_default()
    }

    /// Whether it was killed.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.shared().is_dead
    }

    /// Kills it after so many more operations.
    pub fn kill_after(&self, operations: u64) {
        let mut shared = self.shared();
        shared.kill_at = Some(shared.operations + operations);
        shared.is_dead |= operations == 0;
    }

    /// The nth operation of a kind from now on fails; the first is 1.
    pub fn fail_nth(&self, operation: Operation, nth: u64) {
        self.shared().failing.insert(operation, nth.saturating_sub(1));
    }

    /// Writes that would need more bytes than this for all files fail.
    pub fn limit(&self, bytes: Option<usize>) {
        self.shared().bytes_max = bytes;
    }

    /// Whether there is such a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.shared().bytes_max.is_some()
    }

    /// The cache forgets all clean pages: what a failed sync lost is now seen to be lost.
    pub fn evict(&self) {
        self.shared().files.values_mut().for_each(File::evict);
    }

    /// Turns a bit of a file, at rest; false if there is no such byte.
    pub fn flip(&self, file: &str, byte: usize, bit: u8) -> bool {
        self.shared().files.get_mut(file).is_some_and(|file| file.flip(byte, bit))
    }

    /// Cuts a file short, at rest.
    pub fn shorten(&self, file: &str, len: usize) {
        if let Some(file) = self.shared().files.get_mut(file) {
            file.shorten(len);
            file.sync();
        }
    }

    /// Every file is gone.
    pub fn wipe(&self) {
        self.restore(&Image::new());
    }

    /// Every file is gone, and the witness beside them: as if there had never been any.
    pub fn lose(&self) {
        self.wipe();
        self.shared().witness = None;
    }

    /// All files as a reader sees them.
    #[must_use]
    pub fn save(&self) -> Image {
        self.shared().files.iter().map(|(name, file)| (name.clone(), file.bytes().to_vec())).collect()
    }

    /// How long a file is, if there is one.
    #[must_use]
    pub fn file_bytes(&self, file: &str) -> Option<usize> {
        self.shared().files.get(file).map(|file| file.bytes().len())
    }

    /// Puts an image in the place of all files, durably.
    pub fn restore(&self, image: &Image) {
        let mut shared = self.shared();
        shared.files = image.iter().map(|(name, bytes)| (name.clone(), File::new(bytes.clone()))).collect();
        shared.unnamed.clear();
        shared.deleted.clear();
        // Handles to the files that were here must not write into these.
        shared.life += 1;
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        glue::unplug(self.number);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("no holder panics")
}

impl Shared {
    /// Before an operation: counts it, and fails if it is to fail.
    fn begin(&mut self, operation: Operation, name: &str, life: u64) -> io::Result<()> {
        self.check(life)?;
        self.operations += 1;
        if self.kill_at.is_some_and(|at| self.operations >= at) {
            // This one still happens: all after it do not.
            self.is_dead = true;
        }
        match self.failing.get_mut(&operation) {
            Some(0) => {
                self.failing.remove(&operation);
                return Err(io::Error::other(format!("{operation:?} fails, as planned")));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if let Some(watched) = &mut self.watched {
            watched.push((operation, name.into()));
        }
        Ok(())
    }

    fn check(&self, life: u64) -> io::Result<()> {
        if self.is_dead || life != self.life { Err(io::Error::other("the process is gone")) } else { Ok(()) }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| io::Error::other("the file is gone"))
    }

    fn create(&mut self, name: &str, life: u64) -> io::Result<()> {
        self.begin(Operation::Create, name, life)?;
        self.files.insert(name.into(), File::new(Vec::new()));
        self.unnamed.insert(name.into());
        Ok(())
    }

    fn read(&mut self, name: &str, life: u64, offset: usize, buf: &mut [u8]) -> io::Result<usize> {
        self.check(life)?;
        let bytes = self.file(name)?.bytes();
        let end = (offset + buf.len()).min(bytes.len());
        let found = bytes.get(offset..end).unwrap_or_default();
        buf[..found.len()].copy_from_slice(found);
        Ok(found.len())
    }

    fn write(
        &mut self,
        name: &str,
        life: u64,
        wal: Option<&mut wal::Writer>,
        at: usize,
        data: &[u8],
    ) -> io::Result<()> {
        self.begin(Operation::Write, name, life)?;
        if let Some(bytes_max) = self.bytes_max {
            let used: usize = self.files.values().map(|file| file.bytes().len()).sum();
            let more = (at + data.len()).saturating_sub(self.file(name)?.bytes().len());
            if more > 0 && used + more > bytes_max {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "no room on the drive"));
            }
        }
        let (seed, file) = (&mut self.seed, self.files.get_mut(name));
        let file = file.ok_or_else(|| io::Error::other("the file is gone"))?;
        match wal {
            Some(wal) => wal.write(file, at, data, || draw(seed)),
            None => file.write(at, data),
        }
        Ok(())
    }

    fn shorten(&mut self, name: &str, life: u64, len: usize) -> io::Result<()> {
        self.begin(Operation::Shorten, name, life)?;
        self.file(name)?.shorten(len);
        Ok(())
    }

    fn sync(&mut self, name: &str, life: u64) -> io::Result<()> {
        if let Err(error) = self.begin(Operation::Sync, name, life) {
            if self.check(life).is_ok() {
                let mut seed = draw(&mut self.seed);
                self.file(name)?.fail_sync(|| draw(&mut seed) & 1 == 1);
            }
            return Err(error);
        }
        self.file(name)?.sync();
        Ok(())
    }

    fn sync_directory(&mut self) {
        self.unnamed.clear();
        self.deleted.clear();
    }

    fn delete(&mut self, name: &str, life: u64) -> io::Result<()> {
        self.begin(Operation::Delete, name, life)?;
        let file = self.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        if !self.unnamed.remove(name) {
            self.deleted.insert(name.into(), file);
        }
        Ok(())
    }

    fn crash(&mut self, survivors: &mut Survivors<'_>) {
        self.is_dead = true;
        let mut happened = |rng_odds: f64| match survivors {
            Survivors::None => false,
            Survivors::All => true,
            Survivors::Drawn(rng) => rng.random_bool(rng_odds),
        };
        for name in std::mem::take(&mut self.unnamed) {
            if !happened(0.5) {
                self.files.remove(&name);
            }
        }
        for (name, file) in std::mem::take(&mut self.deleted) {
            if !happened(0.5) {
                self.files.entry(name).or_insert(file);
            }
        }
        self.files.values_mut().for_each(|file| file.crash(survivors));
    }
}

/// A generator so small that it can be part of a drive: splitmix64.
fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The mark on a drive: the same syncs, tears and rot as any file.
#[derive(Debug)]
pub struct DriveMark {
    shared: Arc<Mutex<Shared>>,
    file: String,
    life: u64,
}

impl MarkFile for DriveMark {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut shared = lock(&self.shared);
        shared.check(self.life)?;
        Ok(shared.file(&self.file)?.bytes().to_vec())
    }

    fn write_durably(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let mut shared = lock(&self.shared);
        shared.write(&self.file, self.life, None, offset, bytes)?;
        shared.sync(&self.file, self.life)
    }
}
