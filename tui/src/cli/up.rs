//! `up`, `down`, `restart`: the nodes of a folder.
//!
//! `up` is a wish, not a command list: after it every node of the folder runs. What runs is left alone, what does not is
//! started, and a call that contradicts the folder is refused rather than half obeyed.

use std::{collections::BTreeMap, path::Path};

use futures_util::future::join_all;
use raftdeck_shared::{
    cluster::{ClusterFile, ExecutorSettings, LogSettings, NodeEntry, Timing},
    ids::NodeId,
};
use serde::Serialize;

use super::{
    args::{self, Up},
    failure::Failure,
    out::Out,
    status, target,
    values::count,
};
use crate::launch::{
    folder::{CLUSTER_FILE, Folder, Place, Started, Stopped},
    ports::{self, Pair},
    ready::{self, Answer},
    tab::{Shape, Terminal},
};

/// Nodes of a new cluster unless told: two may fail.
const NODES_DEFAULT: u8 = 5;

#[derive(Debug, Serialize)]
struct Upped {
    dir: String,
    started: Vec<String>,
    running: Vec<String>,
    leader: Option<String>,
}

#[derive(Debug, Serialize)]
struct DryRun {
    nodes: Vec<Planned>,
}

#[derive(Debug, Serialize)]
struct Planned {
    id: String,
    run: Vec<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Downed {
    nodes: Vec<DownedNode>,
}

#[derive(Debug, Serialize)]
struct DownedNode {
    id: String,
    pid: Option<u32>,
    ended: &'static str,
}

#[derive(Debug, Serialize)]
struct Restarted {
    node: String,
    pid: u32,
}

/// `raftdeck up`.
///
/// # Errors
/// The call contradicts the folder, or a node does not come up.
pub async fn up(place: &args::Place, args: &Up, out: Out) -> Result<(), Failure> {
    let dir = target::dir(place, "up")?;
    let folder = if Folder::exists(&dir) { existing(&dir, args)? } else { new(&dir, args)? };
    let (mode, notes) = mode(args, &folder.file().cluster_id)?;
    notes.iter().try_for_each(|note| out.note(note))?;
    let answers = join_all(folder.file().nodes.iter().map(|node| ready::who(&folder, node))).await;
    let (mut running, mut absent) = (Vec::new(), Vec::new());
    for (node, answer) in folder.file().nodes.iter().zip(answers) {
        match answer {
            Answer::Stranger(words) => return Err(Failure::Refused(words)),
            Answer::Node(status) => {
                folder.adopt(node, status.pid);
                running.push(node);
            }
            Answer::Silent if folder.process(node).is_some() => running.push(node),
            Answer::Silent => absent.push(node),
        }
    }
    if args.dry_run {
        return dry_run(&folder, &absent, &mode, out);
    }
    let started = start_all(&folder, &absent, &mode)?;
    let view = ready::all(&folder, &started).await?;
    let names = |nodes: &[&NodeEntry]| nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    let told = Upped {
        dir: folder.dir().display().to_string(),
        started: names(&absent),
        running: names(&running),
        leader: view.leader().map(|leader| view.name_of(leader.node)),
    };
    if out.json {
        return out.say(&told, String::new);
    }
    status::print(&view, out)?;
    out.note(&format!("\n{}", how_to_go_on(&folder, &dir, absent.len())))
}

/// Starts nodes that do not run, in the order of the file.
///
/// # Errors
/// One cannot be started.
pub fn start_all<'a>(
    folder: &Folder,
    nodes: &[&'a NodeEntry],
    place: &Place,
) -> Result<Vec<(&'a NodeEntry, Started)>, String> {
    nodes.iter().map(|node| Ok((*node, folder.start(node, place)?))).collect()
}

fn new(dir: &Path, args: &Up) -> Result<Folder, Failure> {
    let nodes = args.nodes.unwrap_or(NODES_DEFAULT);
    let pairs = match args.base_port {
        Some(base) => ports::from_base(base, nodes)?,
        None => ports::free(usize::from(nodes))?,
    };
    let mut file = new_file(pairs);
    file.enable_faults = args.enable_faults;
    if let Some(path) = &args.handlers {
        file.handlers = ClusterFile::load_handlers(path)?;
    }
    Ok(if args.dry_run { Folder::planned(dir, file)? } else { Folder::create(dir, &file)? })
}

/// A cluster file for nodes at these addresses: n1, n2, ..
#[must_use]
pub fn new_file(pairs: Vec<Pair>) -> ClusterFile {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let node =
        |((api, peer), id): (Pair, u64)| NodeEntry { id: NodeId(id), name: format!("n{id}"), api, peer, joins: false };
    ClusterFile {
        cluster_id: format!("raftdeck-{}", &random[..6]),
        enable_faults: false,
        allow_remote: false,
        timing: Timing::default(),
        log: LogSettings::default(),
        executor: ExecutorSettings::default(),
        nodes: pairs.into_iter().zip(1..).map(node).collect(),
        handlers: BTreeMap::new(),
    }
}

/// The folder as it is, unless the call wants another one.
fn existing(dir: &Path, args: &Up) -> Result<Folder, Failure> {
    let folder = Folder::open(dir)?;
    let path = dir.join(CLUSTER_FILE);
    let contradiction = |has: String, wanted: String| {
        Err(Failure::Refused(format!("{} has {has}, {wanted} contradicts it", path.display())))
    };
    let file = folder.file();
    if let Some(nodes) = args.nodes.filter(|nodes| usize::from(*nodes) != file.nodes.len()) {
        return contradiction(format!("{} nodes", file.nodes.len()), format!("--nodes {nodes}"));
    }
    if args.enable_faults && !file.enable_faults {
        return contradiction("enable_faults = false".into(), "--enable-faults".into());
    }
    if let Some(base) = args.base_port
        && let Some(first) = file.nodes.first().map(|node| node.api.port()).filter(|port| *port != base)
    {
        return contradiction(format!("ports from {first} on"), format!("--base-port {base}"));
    }
    if let Some(handlers) = &args.handlers
        && ClusterFile::load_handlers(handlers)? != file.handlers
    {
        return contradiction("other handlers".into(), format!("--handlers {}", handlers.display()));
    }
    Ok(folder)
}

/// Where the nodes are to run, and what the operator should know of it.
fn mode(args: &Up, cluster_id: &str) -> Result<(Place, Vec<String>), Failure> {
    if args.bg {
        return Ok((Place::Background, Vec::new()));
    }
    let shape = if args.panes { Shape::Pane } else { Shape::Tab };
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut notes = Vec::new();
    let wanted = args.tabs || args.panes;
    let found = Terminal::find(args.terminal.as_deref(), wanted, cluster_id, &env, |note| notes.push(note))?;
    Ok((found.map_or(Place::Background, |terminal| Place::Tab(terminal, shape)), notes))
}

/// What would be run, and nothing of it.
fn dry_run(folder: &Folder, absent: &[&NodeEntry], place: &Place, out: Out) -> Result<(), Failure> {
    let planned = absent.iter().enumerate().map(|(at, node)| {
        let run = folder.plan(node, place, at == 0)?;
        Ok(Planned { id: node.name.clone(), run })
    });
    let told = DryRun { nodes: planned.collect::<Result<_, String>>()? };
    out.say(&told, || {
        let lines = told.nodes.iter().flat_map(|node| &node.run).map(|words| shell_line(words));
        let lines: Vec<String> = lines.collect();
        if lines.is_empty() { "nothing: all nodes run".into() } else { lines.join("\n") }
    })
}

/// Words as a shell would take them.
fn shell_line(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let quoted = words.iter().map(|word| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn how_to_go_on(folder: &Folder, dir: &Path, started: usize) -> String {
    let at = match dir {
        dir if dir == Path::new(target::DEFAULT_DIR) => String::new(),
        dir => format!(" --dir {}", dir.display()),
    };
    let what = match started {
        0 => "all nodes ran already".to_owned(),
        _ => format!("{} started", count(started, "node")),
    };
    let tab = folder.file().nodes.iter().find_map(|node| folder.tab(node));
    let attach = tab
        .and_then(|tab| tab.terminal().attach())
        .map_or_else(String::new, |attach| format!("\n  {attach}    shows the nodes"));
    format!(
        "{what} in {}{attach}\n  raftdeck{at} submit echo hello --wait    runs a job\n  raftdeck{at}    opens the console\n  raftdeck{at} down    stops the nodes",
        folder.dir().display()
    )
}

/// `raftdeck down`.
///
/// # Errors
/// The folder holds no cluster.
pub async fn down(place: &args::Place, out: Out) -> Result<(), Failure> {
    let folder = target::folder(place, "down")?;
    join_all(folder.file().nodes.iter().map(|node| ready::adopt(&folder, node))).await;
    let nodes: Vec<&NodeEntry> = folder.file().nodes.iter().collect();
    let stopped = folder.stop(&nodes);
    folder.close_tabs();
    let node = |(stopped, node): (Stopped, &&NodeEntry)| {
        let (pid, ended) = match stopped {
            Stopped::NotRunning => (None, "was not running"),
            Stopped::Ended { pid } => (Some(pid), "stopped"),
            Stopped::Killed { pid } => (Some(pid), "killed"),
        };
        DownedNode { id: node.name.clone(), pid, ended }
    };
    let told = Downed { nodes: stopped.into_iter().zip(&nodes).map(node).collect() };
    out.say(&told, || {
        let line = |node: &DownedNode| match node.pid {
            Some(pid) => format!("{} {} (pid {pid})", node.id, node.ended),
            None => format!("{} {}", node.id, node.ended),
        };
        told.nodes.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// `raftdeck restart NODE`.
///
/// # Errors
/// There is no such node, or it does not come up.
pub async fn restart(place: &args::Place, name: &str, out: Out) -> Result<(), Failure> {
    let folder = target::folder(place, "restart")?;
    let node = folder.node(name)?;
    ready::adopt(&folder, node).await;
    let started = folder.restart_node(name)?;
    let pid = started.process.pid;
    ready::one(&folder, node, started).await?;
    out.say(&Restarted { node: node.name.clone(), pid }, || format!("{} restarted, pid {pid}", node.name))
}
