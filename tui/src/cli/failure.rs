//! How a verb ends when it does not succeed: one line, and which of the three exit codes.

use std::{io, process::ExitCode};

use raftdeck_shared::{client::ClientError, cluster::ClusterFileError};

use crate::{plain::plain, steer::SteerError};

/// Why a verb did not do what it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Refused or failed: exit code 1.
    Refused(String),
    /// Not a call this program understands: exit code 2.
    Usage(String),
    /// The reader of our output has gone (`raftdeck watch | head`): nobody is left to tell, and nothing is wrong.
    ReaderGone,
}

impl Failure {
    /// Tells it on stderr, in one line, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            Failure::Refused(message) => {
                tell(message);
                ExitCode::from(1)
            }
            Failure::Usage(message) => {
                tell(message);
                ExitCode::from(2)
            }
            Failure::ReaderGone => ExitCode::SUCCESS,
        }
    }
}

fn tell(message: &str) {
    remark(&format!("error: {}", message.trim_end()));
}

/// Puts a line on stderr. One that is closed is no reason to fail differently.
pub fn remark(message: &str) {
    let line = format!("{}\n", plain(message));
    let _ = io::Write::write_all(&mut io::stderr().lock(), line.as_bytes());
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Refused(message)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Refused(error.to_string())
    }
}

impl From<SteerError> for Failure {
    fn from(error: SteerError) -> Self {
        Failure::Refused(error.to_string())
    }
}

impl From<ClusterFileError> for Failure {
    fn from(error: ClusterFileError) -> Self {
        Failure::Refused(error.to_string())
    }
}

/// A call that clap refused, as one line: what is wrong and the hint, without the usage text around it.
#[must_use]
pub fn usage_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let body = text.split("\nUsage:").next().unwrap_or_default().split("\nFor more information").next();
    let lines = body.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}
