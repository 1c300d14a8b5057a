//! Puts a node together and runs it.
//!
//! ```text
//!            clients, workers, console                other nodes
//!                     │ api                               │ peer
//!   executor ──> api::{jobs, admin} ──> driver ──> transport::{receiver, sender}
//!                                        │  ▲
//!                                   Replica (core + machine)
//!                                        │
//!                              storage: log.db, mark, state.db
//! ```

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::{Duration, Instant},
};

use raftdeck_raft::{Config, GroupId, Index, Membership, NodeId, Restart, StorageId};
use raftdeck_shared::{
    client::{Client, ClientError},
    cluster::{ClusterFile, NodeEntry},
    wire::{self, ObservationKind},
};
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch};
use tracing::info;

use crate::{
    api::{self, Tables},
    compaction::Retention,
    driver::{Disk, Driver},
    executor,
    faults::Faults,
    handle,
    observe::{Observer, wall_ms},
    replica::Replica,
    status::NodeView,
    storage::{self, Directory, Found, Identity, Opened, StorageError},
    transport::{self, AddressBook, Links, Me, Outbox, Receiver, member},
};

/// A stopping node gives its jobs back in this time, or leaves them to their leases.
const GIVE_BACK_MAX: Duration = Duration::from_secs(5);

/// A node looks this often whether its files are still there.
const FILES_CHECKED_EVERY: Duration = Duration::from_secs(1);

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster file, read and checked.
    pub cluster: ClusterFile,
    /// Which of its nodes this is.
    pub node: NodeEntry,
    /// Where its disk is.
    pub data: PathBuf,
    /// Faults may be injected.
    pub enable_faults: bool,
}

/// Why a node does not run, or does not go on.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The disk.
    #[error("{}: {source}", data.display())]
    Storage {
        /// The data directory.
        data: PathBuf,
        /// What is wrong.
        source: StorageError,
    },
    /// A listener's address.
    #[error("{what} address {address}: {source}")]
    Bind {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: std::net::SocketAddr,
        /// Usually: it is in use.
        source: std::io::Error,
    },
    /// The api listener.
    #[error(transparent)]
    Api(#[from] api::ServeError),
    /// The peer listener.
    #[error(transparent)]
    Peer(#[from] tonic::transport::Error),
    /// The executor's client.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Runs a node until `stop` says so or something fails for good.
///
/// # Errors
/// See [`NodeError`]. The caller must end the process.
pub async fn run(options: Options, stop: watch::Receiver<bool>) -> Result<(), NodeError> {
    let started = Instant::now();
    let Options { cluster, node, data, enable_faults } = options;
    let cluster = Arc::new(cluster);
    // Ports first: a node that cannot be reached has no business with the disk.
    let api_listener = bind("api", node.api).await?;
    let peer_listener = bind("peer", node.peer).await?;
    let group = GroupId::FIRST;
    let identity = Identity { cluster_id: cluster.cluster_id.clone(), node: node.id };
    let opened = open_disk(&data, group, identity).await;
    let (directory, Opened { log, log_store, state, state_store, found, machine }) =
        opened.map_err(|source| NodeError::Storage { data: data.clone(), source })?;
    let Found { storage_id, hard, start, entries, joins } = found;
    let end = start.index.0 + entries.len() as u64;
    info!("log begins after {}, ends at {end}, {}, tables as of {}", start.index, hard.term, machine.applied());
    let disk = Disk {
        log: log.into(),
        log_store: Arc::new(Mutex::new(log_store)),
        state: state.into(),
        state_store,
        files: Arc::new(directory.clone()),
    };

    let observer = Arc::new(Observer::new(node.id));
    let book = Arc::new(AddressBook::of(&cluster));
    let faults = Arc::new(Faults::new(enable_faults, node.id, Arc::clone(&book), Arc::clone(&observer)));
    let links = Arc::new(Links::new(Arc::clone(&faults), Arc::clone(&observer)));
    let (handle, inbox) = handle::channel();
    let me = Me {
        cluster_id: cluster.cluster_id.clone(),
        node: node.id,
        storage_id: storage_id.clone(),
        address: book.find(node.id).expect("it is in the cluster file"),
    };
    let outbox = Outbox::new(group, me.clone(), Arc::clone(&book), Arc::clone(&links), handle.clone());
    let remembered = Index(machine.applied());
    let found = Restart { hard, start, entries, applied: remembered };
    let storage = member::storage_id(&storage_id).expect("the storage makes its own ids");
    // What a directory that knows nothing of its past belongs to, its log will say.
    let joins = joins || node.joins;
    let bootstrap = if joins { Membership::default() } else { Membership::of(cluster.founders().map(|n| n.id)) };
    let retention = Retention::new(cluster.log.keep_entries, cluster.log.keep_bytes);
    let config = core_config(&cluster, node.id, storage, bootstrap);
    let replica = Replica::new(group, config, found, machine, retention);
    let tables = Tables { state: disk.state.clone(), store: disk.state_store.clone() };
    let tick = Duration::from_millis(cluster.timing.tick_ms);
    let sleep = Duration::from_millis(cluster.timing.election_min_ms);
    let (stop_driver, driver_stops) = watch::channel(false);
    let watched = (Arc::clone(&observer), Arc::clone(&faults));
    let driver = Driver::new(replica, inbox, disk, outbox, watched, (tick, sleep), remembered);
    let mut driver = tokio::spawn(driver.run(driver_stops));

    let executing = Arc::new(AtomicU64::new(0));
    let view = Arc::new(NodeView {
        cluster: Arc::clone(&cluster),
        node: node.id,
        storage_id,
        started,
        observer: Arc::clone(&observer),
        book: Arc::clone(&book),
        links: Arc::clone(&links),
        faults: Arc::clone(&faults),
        executing: Arc::clone(&executing),
        handle: handle.clone(),
    });
    let boot_id = observer.boot_id().to_owned();
    let receiver = Receiver { me, group, boot_id, book, links, handle };
    let mut peer_service = tokio::spawn(transport::serve(peer_listener, receiver));
    let mut api_service = tokio::spawn(api::serve(api_listener, view, tables));
    let mut executor = tokio::spawn(executor::run(
        node.name.clone(),
        Arc::new(own_client(&cluster, &node)?),
        cluster.handlers.clone(),
        cluster.executor,
        std::path::absolute(&data).unwrap_or_else(|_| data.clone()).join("work"),
        executing,
        stop.clone(),
    ));
    observe_node(&observer, "started");
    info!("{} is up: api {}, peer {}, pid {}", node.name, node.api, node.peer, std::process::id());

    let mut stop = stop;
    tokio::select! {
        ended = &mut driver => {
            let source = match joined(ended) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            return Err(NodeError::Storage { data, source });
        }
        source = files_replaced(directory) => return Err(NodeError::Storage { data, source }),
        ended = &mut peer_service => joined(ended)?,
        ended = &mut api_service => joined(ended)?,
        // Ends only when asked to, or by a panic.
        ended = &mut executor => joined(ended),
        _ = stop.wait_for(|stop| *stop) => {}
    }
    observe_node(&observer, "stopping");
    info!("{} stops", node.name);
    // Nothing that a fault holds up may hold up the end.
    faults.heal(&wire::HealFaultsRequest::default());
    if !executor.is_finished() {
        let _ = tokio::time::timeout(GIVE_BACK_MAX, &mut executor).await; // What is not given back comes back by its lease.
    }
    stop_driver.send_replace(true);
    joined(driver.await).map_err(|source| NodeError::Storage { data, source })
}

/// What a task came to. A panic in one is a panic of the node: without it, the others would go on as a ruin.
fn joined<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

async fn bind(what: &'static str, address: std::net::SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Bind { what, address, source })
}

fn core_config(cluster: &ClusterFile, node: NodeId, storage: StorageId, bootstrap: Membership) -> Config {
    let timing = cluster.timing;
    let ticks = |ms: u64| u32::try_from(ms.div_ceil(timing.tick_ms)).unwrap_or(u32::MAX);
    // Chance must differ between nodes and between lives of a node, or elections would tie for ever.
    let seed = wall_ms() ^ (node.0 << 48) ^ (u64::from(std::process::id()) << 32);
    Config {
        heartbeat_ticks: ticks(timing.heartbeat_ms),
        election_ticks_min: ticks(timing.election_min_ms),
        election_ticks_max: ticks(timing.election_max_ms),
        ..Config::new(node, storage, bootstrap, seed)
    }
}

/// The executor's client asks this node first: it knows the leader.
fn own_client(cluster: &ClusterFile, node: &NodeEntry) -> Result<Client, ClientError> {
    let others = cluster.nodes.iter().filter(|n| n.id != node.id).map(|n| n.api.to_string());
    Client::new(std::iter::once(node.api.to_string()).chain(others))
}

async fn open_disk(
    data: &std::path::Path,
    group: GroupId,
    identity: Identity,
) -> Result<(Directory, Opened), StorageError> {
    let directory = Directory::open(data)?;
    let opening = tokio::task::spawn_blocking(move || {
        let opened = storage::open(&directory, group, &identity)?;
        directory.know().map_err(|source| StorageError::Io { file: "data directory", source })?;
        Ok((directory, opened))
    });
    joined(opening.await)
}

/// Ends when the files are no longer those that are open: what is written to a removed file is gone with the process.
async fn files_replaced(directory: Directory) -> StorageError {
    let mut clock = tokio::time::interval(FILES_CHECKED_EVERY);
    loop {
        clock.tick().await;
        if let Err(error) = directory.check() {
            return error;
        }
    }
}

fn observe_node(observer: &Observer, what: &str) {
    observer.record([wire::Observation {
        kind: ObservationKind::Node.into(),
        cause: what.to_owned(),
        ..Default::default()
    }]);
}
