//! The end of a stream: of output that is too long, the last bytes say most about how it went.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Read from a pipe at a time.
const CHUNK_BYTES: usize = 8 * 1024;

/// The last bytes of a stream, and how many there were.
///
/// Law: memory is bounded by the limit and one chunk, however much is written.
#[derive(Debug)]
pub(super) struct Tail {
    bytes_max: usize,
    kept: VecDeque<u8>,
    seen_bytes: u64,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Tail {
        Tail { bytes_max, kept: VecDeque::new(), seen_bytes: 0 }
    }

    /// Reads to the end. A pipe that breaks has ended.
    pub(super) async fn read_from(&mut self, mut pipe: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
            self.push(&chunk[..count]);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.seen_bytes += bytes.len() as u64;
        self.kept.extend(bytes);
        let excess = self.kept.len().saturating_sub(self.bytes_max);
        self.kept.drain(..excess);
    }

    /// What was kept. If something was dropped, a first line says how much; it counts against the limit, and is left out
    /// where the limit has no room for it.
    pub(super) fn into_bytes(self) -> Bytes {
        let kept: Vec<u8> = self.kept.into();
        if self.seen_bytes == kept.len() as u64 {
            return kept.into();
        }
        let line = |rest: usize| format!("[{} bytes dropped]\n", self.seen_bytes - rest as u64);
        let mut rest = kept.len();
        // The line makes room for itself; the number in it then grows, by a digit at most.
        while line(rest).len() + rest > self.bytes_max {
            match self.bytes_max.checked_sub(line(rest).len()) {
                Some(fits) => rest = fits,
                None => return kept.into(),
            }
        }
        [line(rest).as_bytes(), &kept[kept.len() - rest..]].concat().into()
    }

    /// The same of bytes that are all here: as they are if they fit.
    pub(super) fn of(whole: &Bytes, bytes_max: usize) -> Bytes {
        if whole.len() <= bytes_max {
            return whole.clone();
        }
        let mut tail = Tail::new(bytes_max);
        whole.chunks(CHUNK_BYTES).for_each(|chunk| tail.push(chunk));
        tail.into_bytes()
    }

    /// The last line that is not blank, fit for an error text: without control characters.
    pub(super) fn last_line(&self) -> Option<String> {
        let kept: Vec<u8> = self.kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(line.trim().chars().filter(|c| !c.is_control()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(bytes_max: usize, stream: &[u8]) -> Tail {
        let mut tail = Tail::new(bytes_max);
        stream.chunks(7).for_each(|chunk| tail.push(chunk));
        tail
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        assert_eq!(tail(10, b"0123456789").into_bytes(), "0123456789");
        assert_eq!(tail(0, b"").into_bytes(), "");
    }

    #[test]
    fn of_what_does_not_fit_the_end_is_kept_and_the_rest_counted() {
        assert_eq!(tail(24, b"0123456789abcdefghijklmnopqrstuvwxyz").into_bytes(), "[31 bytes dropped]\nvwxyz");
        assert_eq!(tail(3, b"0123456789").into_bytes(), "789");
    }

    #[test]
    fn the_limit_and_the_count_hold_for_every_length() {
        for bytes_max in 0..60 {
            for length in 0..250 {
                let stream: Vec<u8> = (b'A'..=b'Z').cycle().take(length).collect();
                let kept = tail(bytes_max, &stream).into_bytes();
                assert!(kept.len() <= bytes_max);
                let (dropped, rest) = match kept.strip_prefix(b"[") {
                    Some(line) => {
                        let text = std::str::from_utf8(line).unwrap();
                        let (number, rest) = text.split_once(" bytes dropped]\n").unwrap();
                        (number.parse().unwrap(), rest.as_bytes())
                    }
                    None => (length - kept.len(), &kept[..]),
                };
                assert_eq!(dropped + rest.len(), length);
                assert!(stream.ends_with(rest));
            }
        }
    }

    #[test]
    fn the_last_line_is_plain_text() {
        assert_eq!(tail(99, b"one\n\x1b[31mtwo\x07 \n\n \n").last_line().unwrap(), "[31mtwo");
        assert_eq!(tail(99, b" \n").last_line(), None);
    }
}
