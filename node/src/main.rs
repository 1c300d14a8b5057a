//! `raftdeck-node`: one node of a cluster, in the foreground.
//!
//! Exit status: 0 when it was asked to stop, 1 when it cannot start or go on (one line says why), 2 for wrong usage.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("deliberate bugs have no place in a release: build without the feature `mutants`");

use std::{
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Mutex,
};

use clap::Parser;
use raftdeck_node::node::{self, Options};
use raftdeck_shared::cluster::ClusterFile;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::{
    EnvFilter,
    fmt::writer::{BoxMakeWriter, MakeWriterExt as _},
};

/// One node of a Raftdeck cluster.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The cluster file.
    #[arg(long, env = "RAFTDECK_CLUSTER")]
    cluster: PathBuf,
    /// Which of its nodes this is, by name or number.
    #[arg(long)]
    node: String,
    /// The data directory.
    #[arg(long)]
    data: PathBuf,
    /// Let faults be injected over the api.
    #[arg(long)]
    enable_faults: bool,
    /// Write the log to this file, too.
    #[arg(long)]
    log_file: Option<PathBuf>,
}

/// One thread for the replica and all that speaks; the log and the tables have one each. Between two threads, every message
/// would cost a wake-up, and the replica has one owner anyway.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log_file = arguments.log_file.clone();
    let Err(error) = run(arguments).await else { return ExitCode::SUCCESS };
    let line = format!("error: {error}");
    eprintln!("{line}");
    if let Some(mut file) = log_file.and_then(|path| File::options().append(true).open(path).ok()) {
        let _ = writeln!(file, "{line}"); // Said on stderr already; there is nowhere else to say it.
    }
    // Whatever else runs here may not go on: after a failed write nothing that it says can be trusted.
    std::process::exit(1)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    start_log(arguments.log_file)?;
    let cluster = ClusterFile::load(&arguments.cluster)?;
    let Some(node) = cluster.node(&arguments.node).cloned() else {
        let names: Vec<&str> = cluster.nodes.iter().map(|n| n.name.as_str()).collect();
        let path = arguments.cluster.display();
        anyhow::bail!("{path}: there is no node {:?}; it has {}", arguments.node, names.join(", "));
    };
    let enable_faults = arguments.enable_faults || cluster.enable_faults;
    let (stop, stops) = watch::channel(false);
    tokio::spawn(wait_for_signal(stop)?);
    Ok(node::run(Options { cluster, node, data: arguments.data, enable_faults }, stops).await?)
}

/// To stderr, and to a file if there is one. `RUST_LOG` says how much; usually the steps of a node's life.
fn start_log(file: Option<PathBuf>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,h2=warn,tonic=warn"));
    let writer = match file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => {
            let open = File::options().create(true).append(true).open(&path);
            let file = open.map_err(|e| anyhow::anyhow!("log file {}: {e}", path.display()))?;
            BoxMakeWriter::new(io::stderr.and(Mutex::new(file)))
        }
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(false);
    log.with_writer(writer).init();
    // A broken law says so in the log, too, wherever the log goes.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}

fn wait_for_signal(stop: watch::Sender<bool>) -> io::Result<impl Future<Output = ()>> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
    })
}
