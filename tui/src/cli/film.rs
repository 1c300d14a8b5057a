//! `record`, `replay` and `keys`: the console's past, and its keys, from the command line.

use std::{fs::File, future::pending, io::Write as _, path::Path, time::Duration};

use serde::Serialize;

use super::{
    args::{Record, Replay},
    console_options,
    failure::Failure,
    out::Out,
    target::Target,
    values::count,
};
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
/// The file is no recording, there is no terminal, or the picture cannot be written.
pub async fn replay(args: &Replay, look: Look, out: Out) -> Result<(), Failure> {
    match &args.svg {
        Some(picture) => draw(args, picture, look, out),
        None => console::replay(&args.file, look).await.map_err(|error| Failure::Refused(format!("{error:#}"))),
    }
}

#[derive(Debug, Serialize)]
struct Drawn {
    file: String,
    bytes: usize,
}

fn draw(args: &Replay, picture: &Path, look: Look, out: Out) -> Result<(), Failure> {
    let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let refuse = |error: String| Failure::Refused(format!("{}: {error}", picture.display()));
    let mut stage =
        console::Stage::replaying(&args.file, look).map_err(|error| Failure::Refused(format!("{error:#}")))?;
    let from_ms = if args.length.is_some() { 0 } else { stage.length_ms() };
    let at_ms = args.at.map_or(from_ms, ms).min(stage.length_ms());
    stage.at(at_ms);
    stage.press(&args.keys).map_err(Failure::Usage)?;
    let svg = match args.length {
        Some(length) => stage.film(args.size, at_ms, at_ms.saturating_add(ms(length)).min(stage.length_ms())),
        None => stage.svg(args.size),
    };
    let mut file = File::create_new(picture).map_err(|error| refuse(error.to_string()))?;
    file.write_all(svg.as_bytes()).map_err(|error| refuse(error.to_string()))?;
    let drawn = Drawn { file: picture.display().to_string(), bytes: svg.len() };
    out.say(&drawn, || format!("{} bytes in {}", drawn.bytes, drawn.file))
}

/// `raftdeck keys`.
///
/// # Errors
/// The config file is wrong somewhere.
pub fn keys(look: &Look, out: Out) -> Result<(), Failure> {
    let page = console::key_page(look).map_err(|mistakes| Failure::Refused(mistakes.join("; ")))?;
    out.say(&page, || page.trim_end().to_owned())
}
