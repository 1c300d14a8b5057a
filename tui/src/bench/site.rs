//! The cluster that is measured.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use raftdeck_shared::{
    client::Client,
    cluster::{Handler, NODES_MAX},
    wire,
};

use super::{
    machine::Usage,
    plan::{HANDLER, Place, Plan, WAITING},
};
use crate::{
    cli::{failure::Failure, status::View, target::Target, up::new_file},
    launch::{binary, ports, process, temporary::Temporary},
};

/// Connections that all clients share.
const CONNECTIONS_MAX: usize = 16;

/// A cluster of its own, which ends with this value, or a running one.
#[derive(Debug)]
pub(super) struct Site {
    target: Target,
    own: Option<Temporary>,
    nodes: usize,
    /// Of the nodes that run on this machine.
    pids: BTreeMap<String, u32>,
    handler: String,
}

impl Site {
    pub(super) async fn prepare(place: &Place) -> Result<Site, Failure> {
        let (target, own, view, handler) = match place {
            Place::Own { nodes, parent } => {
                let mut file = new_file(ports::free(usize::from(*nodes))?);
                // Jobs are the bench's own affair: no node takes one.
                file.executor.concurrency = 0;
                for handler in [HANDLER, WAITING] {
                    file.handlers.insert(handler.to_owned(), Handler { external: true, ..Handler::default() });
                }
                let own = Temporary::create("bench", parent.as_deref(), &file)?;
                let view = own.start().await?;
                (Target::of_folder(own.folder()), Some(own), view, HANDLER)
            }
            Place::Running { place, handler } => {
                let target = Target::find(place)?;
                let view = View::gather(&target).await.reached()?;
                (target, None, view, handler.as_str())
            }
        };
        let handler = handler.to_owned();
        let mut site = Site { target, own, nodes: view.voters().len().min(NODES_MAX), pids: BTreeMap::new(), handler };
        site.look(&view);
        Ok(site)
    }

    /// Notes the processes of nodes that run here.
    pub(super) fn look(&mut self, view: &View) {
        let here = |api: &str| api.parse::<std::net::SocketAddr>().is_ok_and(|api| api.ip().is_loopback());
        let local = view.rows.iter().filter(|row| here(&row.member.api));
        let pids = local.filter_map(|row| Some((row.name(), row.status.as_ref()?.pid)));
        self.pids = pids.filter(|(_, pid)| process::program(*pid).as_deref() == Some(binary::NAME)).collect();
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn own(&self) -> Option<&Temporary> {
        self.own.as_ref()
    }

    /// Where the nodes of an own cluster write; of a running one nobody knows it.
    pub(super) fn data(&self) -> PathBuf {
        self.own.as_ref().map_or_else(std::env::temp_dir, |own| own.folder().dir().to_owned())
    }

    pub(super) fn usage(&self) -> Usage {
        Usage::now(&self.pids)
    }

    /// Clients of the load, on connections that are spread over the nodes.
    pub(super) fn clients(&self, clients: u16) -> Result<Vec<Arc<Client>>, Failure> {
        let addresses: Vec<String> = self.target.addresses().collect();
        let connection = |n: usize| {
            let mut from_another = addresses.clone();
            from_another.rotate_left(n % addresses.len());
            Ok(Arc::new(Client::new(from_another)?))
        };
        let connections = (0..usize::from(clients).min(CONNECTIONS_MAX)).map(connection);
        let connections = connections.collect::<Result<Vec<_>, Failure>>()?;
        Ok(connections.iter().cycle().take(clients.into()).cloned().collect())
    }

    /// A job in a queue that nobody else uses.
    pub(super) fn job(&self, plan: &Plan) -> wire::NewJob {
        let random = uuid::Uuid::new_v4().simple().to_string();
        wire::NewJob {
            handler: self.handler.clone(),
            queue: format!("bench-{}", &random[..8]),
            payload: payload(plan.payload_bytes),
            ..wire::NewJob::default()
        }
    }
}

/// Bytes that compress badly; the same in every run.
fn payload(bytes: usize) -> Bytes {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Whether a path is on a file system in memory, where an fsync says nothing. Known on Linux only.
pub(super) fn in_memory(path: &Path) -> bool {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else { return false };
    let mount = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let nearest = mount.filter(|(at, _)| path.starts_with(at)).max_by_key(|(at, _)| at.len());
    nearest.is_some_and(|(_, kind)| matches!(kind, "tmpfs" | "ramfs"))
}
