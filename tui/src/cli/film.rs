//! `record`, `replay` and `keys`: the console's past, and its keys, from the command line.

use std::{future::pending, path::Path};

use serde::Serialize;

use super::{args::Record, console_options, failure::Failure, out::Out, target::Target, values::count};
use crate::console::{self, Look};

#[derive(Debug, Serialize)]
struct Recorded {
    file: String,
    facts: u64,
    nodes: usize,
}

/// `raftdeck record FILE`.
///
/// # Errors
/// The file is there already or cannot be written.
pub async fn record(target: &Target, args: &Record, out: Out) -> Result<(), Failure> {
    let until = async {
        match args.length {
            Some(length) => tokio::time::sleep(length).await,
            None => pending().await,
        }
    };
    let options = console_options(target, Look::default());
    let recorded = console::record(options, &args.file, until).await;
    let (facts, nodes) = recorded.map_err(|error| Failure::Refused(format!("{error:#}")))?;
    let recorded = Recorded { file: args.file.display().to_string(), facts, nodes };
    out.say(&recorded, || {
        let Recorded { file, facts, nodes } = &recorded;
        format!("{facts} facts of {} in {file}; look at it with: raftdeck replay {file}", count(*nodes, "node"))
    })
}

/// `raftdeck replay FILE`.
///
/// # Errors
/// The file is no recording, or there is no terminal.
pub async fn replay(file: &Path, look: Look) -> Result<(), Failure> {
    console::replay(file, look).await.map_err(|error| Failure::Refused(format!("{error:#}")))
}

/// `raftdeck keys`.
///
/// # Errors
/// The config file is wrong somewhere.
pub fn keys(look: &Look, out: Out) -> Result<(), Failure> {
    let page = console::key_page(look).map_err(|mistakes| Failure::Refused(mistakes.join("; ")))?;
    out.say(&page, || page.trim_end().to_owned())
}
