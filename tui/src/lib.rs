//! The console and the command line of Raftdeck.
//!
//! - [`cli`]: the verbs; every one prints words for people or, with `--json`, one value for programs;
//! - [`console`]: the live view of a cluster, and the keys that act on it;
//! - [`mod@bench`]: load on a cluster, and how long it takes to answer;
//! - [`launch`]: nodes as processes of this machine: in tabs, in panes, in the background;
//! - [`narrate`]: what a node observed, as a sentence;
//! - [`plain`]: text of others, made safe;
//! - [`ask`]: one question to one node, with an end;
//! - [`retry`]: trying a job again;
//! - [`steer`]: questions to whoever leads.

pub mod ask;
pub mod bench;
pub mod cli;
pub mod console;
pub mod launch;
pub mod narrate;
pub mod plain;
pub mod retry;
pub mod steer;
