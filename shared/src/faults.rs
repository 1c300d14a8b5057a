//! Faults as both sides see them: their limits, and the words for them and for what they did.
//!
//! A fault is a value of the closed set in `proto/admin.proto`. The node refuses what is beyond a limit; the command line
//! asks the same function first, so that of several nodes none is asked when one would refuse.

use std::{fmt::Write as _, time::Duration};

use crate::wire::{FaultEffect, LinkFault, fault_spec::Fault};

/// The longest that a fault lives.
pub const TTL_MAX: Duration = Duration::from_secs(600);

/// The longest delay of a message, and the longest jitter.
pub const DELAY_MAX: Duration = Duration::from_secs(10);

/// The longest that a write of the log is made to wait.
pub const STALL_MAX: Duration = TTL_MAX;

/// The farthest that the clock of jobs is off. Time in the log never goes back, so this is also how long it may stand still
/// afterwards.
pub const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(600);

/// Parts are counted of a million.
pub const WHOLE_PPM: u32 = 1_000_000;

/// The longest label, in bytes.
pub const LABEL_MAX: usize = 200;

/// Whether the numbers of a fault are within their limits.
///
/// # Errors
/// In words that name the number, the limit and the value.
pub fn check(fault: &Fault) -> Result<(), String> {
    let within = |what: &str, value: u64, max: u64, unit: &str| {
        if value > max { Err(format!("{what} is {value} {unit}, the limit is {max}")) } else { Ok(()) }
    };
    match fault {
        Fault::Link(link) => {
            let LinkFault { peer: _, delay_ms, jitter_ms, loss_ppm, duplicate_ppm, reorder_ppm } = *link;
            for (what, ms) in [("delay", delay_ms), ("jitter", jitter_ms)] {
                within(what, ms.into(), millis(DELAY_MAX), "ms")?;
            }
            let parts = [("loss", loss_ppm), ("duplicates", duplicate_ppm), ("reordering", reorder_ppm)];
            for (what, part) in parts {
                within(what, part.into(), WHOLE_PPM.into(), "parts of a million")?;
            }
            let nothing = LinkFault { peer: link.peer, ..LinkFault::default() };
            if *link == nothing { Err("a link fault without any number does nothing".into()) } else { Ok(()) }
        }
        Fault::DiskStall(stall) if stall.write_ms == 0 => Err("a stall of 0 ms does nothing".into()),
        Fault::DiskStall(stall) => within("stall", stall.write_ms.into(), millis(STALL_MAX), "ms"),
        Fault::Clock(clock) if clock.offset_ms == 0 => Err("a clock offset of 0 ms does nothing".into()),
        Fault::Clock(clock) => within("clock offset", clock.offset_ms.unsigned_abs(), millis(CLOCK_OFFSET_MAX), "ms"),
        Fault::Kill(_)
        | Fault::Cut(_)
        | Fault::OneWayCut(_)
        | Fault::Pause(_)
        | Fault::DiskFull(_)
        | Fault::FailedFsync(_) => Ok(()),
    }
}

/// The other end of the link that a fault is on.
#[must_use]
pub fn peer(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Cut(cut) => Some(cut.peer),
        Fault::OneWayCut(cut) => Some(cut.peer),
        Fault::Link(link) => Some(link.peer),
        Fault::Kill(_)
        | Fault::Pause(_)
        | Fault::DiskStall(_)
        | Fault::DiskFull(_)
        | Fault::FailedFsync(_)
        | Fault::Clock(_) => None,
    }
}

/// Its kind, in one word or two.
#[must_use]
pub fn kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Kill(_) => "kill",
        Fault::Cut(_) => "cut",
        Fault::OneWayCut(_) => "one-way cut",
        Fault::Link(_) => "link",
        Fault::Pause(_) => "pause",
        Fault::DiskStall(_) => "disk stall",
        Fault::DiskFull(_) => "disk full",
        Fault::FailedFsync(_) => "failed fsync",
        Fault::Clock(_) => "clock",
    }
}

/// What it is, with its numbers.
#[must_use]
pub fn words(fault: &Fault) -> String {
    match fault {
        Fault::Link(link) => {
            let LinkFault { peer: _, delay_ms, jitter_ms, loss_ppm, duplicate_ppm, reorder_ppm } = *link;
            let times = [("delay", delay_ms), ("jitter up to", jitter_ms)].into_iter().filter(|(_, ms)| *ms > 0);
            let parts = [("loss", loss_ppm), ("duplicates", duplicate_ppm), ("reordering", reorder_ppm)];
            let parts = parts.into_iter().filter(|(_, part)| *part > 0);
            let times = times.map(|(what, ms)| format!("{what} {ms} ms"));
            times.chain(parts.map(|(what, part)| format!("{what} {}", percent(part)))).collect::<Vec<_>>().join(", ")
        }
        Fault::DiskStall(stall) => format!("disk stall of {} ms a write", stall.write_ms),
        Fault::Clock(clock) => {
            let side = if clock.offset_ms < 0 { "behind" } else { "ahead" };
            format!("clock {} ms {side}", clock.offset_ms.unsigned_abs())
        }
        Fault::Kill(_)
        | Fault::Cut(_)
        | Fault::OneWayCut(_)
        | Fault::Pause(_)
        | Fault::DiskFull(_)
        | Fault::FailedFsync(_) => kind(fault).to_owned(),
    }
}

/// What it has done, as it was measured.
#[must_use]
pub fn effect(fault: &Fault, done: &FaultEffect) -> String {
    let ms = |ms: u64| format!("{ms} ms");
    match fault {
        Fault::Cut(_) | Fault::OneWayCut(_) if done.dropped > 0 => {
            format!("{} dropped", count(done.dropped, "message"))
        }
        Fault::Link(_) if done.messages > 0 => {
            let mut said = count(done.messages, "message");
            let counts = [(done.dropped, "dropped"), (done.duplicated, "doubled"), (done.reordered, "held back")];
            for (number, what) in counts.into_iter().filter(|(number, _)| *number > 0) {
                let _ = write!(said, ", {number} {what}"); // A String takes everything.
            }
            if let Some(mean_us) = done.delayed_us.checked_div(done.delayed) {
                let _ = write!(
                    said,
                    ", {} delayed by {}.{} ms on average",
                    done.delayed,
                    mean_us / 1000,
                    mean_us / 100 % 10
                );
            }
            said
        }
        Fault::Pause(_) if done.stalls > 0 => format!("stood still for {}", ms(done.stalled_ms)),
        Fault::DiskStall(_) if done.stalls > 0 => {
            let (all, longest) = (ms(done.stalled_ms), ms(done.longest_stall_ms));
            format!("{} waited {all} in all, {longest} the longest", count(done.stalls, "write"))
        }
        Fault::Clock(_) if done.stamps > 0 => {
            let entries = if done.stamps == 1 { "entry" } else { "entries" };
            format!("{} {entries} stamped", done.stamps)
        }
        Fault::Kill(_)
        | Fault::Cut(_)
        | Fault::OneWayCut(_)
        | Fault::Link(_)
        | Fault::Pause(_)
        | Fault::DiskStall(_)
        | Fault::DiskFull(_)
        | Fault::FailedFsync(_)
        | Fault::Clock(_) => "nothing yet".into(),
    }
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A part of a million as people say it: `10 %`, `0.25 %`.
fn percent(ppm: u32) -> String {
    let (whole, rest) = (ppm / 10_000, ppm % 10_000);
    let rest = format!("{rest:04}");
    let rest = rest.trim_end_matches('0');
    if rest.is_empty() { format!("{whole} %") } else { format!("{whole}.{rest} %") }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ClockFault, CutFault, DiskStallFault, PauseFault};

    fn link(change: impl FnOnce(&mut LinkFault)) -> Fault {
        let mut link = LinkFault { peer: 2, ..LinkFault::default() };
        change(&mut link);
        Fault::Link(link)
    }

    #[test]
    fn every_number_has_a_limit() {
        let stall = |write_ms| Fault::DiskStall(DiskStallFault { write_ms });
        let clock = |offset_ms| Fault::Clock(ClockFault { offset_ms });
        let most = link(|l| {
            (l.delay_ms, l.jitter_ms) = (10_000, 10_000);
            (l.loss_ppm, l.duplicate_ppm, l.reorder_ppm) = (WHOLE_PPM, WHOLE_PPM, WHOLE_PPM);
        });
        for fault in [most, stall(600_000), clock(600_000), clock(-600_000), Fault::Pause(PauseFault {})] {
            assert_eq!(check(&fault), Ok(()), "{fault:?}");
        }
        for (fault, line) in [
            (link(|_| {}), "a link fault without any number does nothing"),
            (link(|l| l.delay_ms = 10_001), "delay is 10001 ms, the limit is 10000"),
            (link(|l| l.jitter_ms = 10_001), "jitter is 10001 ms, the limit is 10000"),
            (link(|l| l.loss_ppm = 1_000_001), "loss is 1000001 parts of a million, the limit is 1000000"),
            (link(|l| l.duplicate_ppm = u32::MAX), "duplicates is 4294967295 parts of a million, the limit is 1000000"),
            (link(|l| l.reorder_ppm = 1_000_001), "reordering is 1000001 parts of a million, the limit is 1000000"),
            (stall(0), "a stall of 0 ms does nothing"),
            (stall(600_001), "stall is 600001 ms, the limit is 600000"),
            (clock(0), "a clock offset of 0 ms does nothing"),
            (clock(i64::MIN), "clock offset is 9223372036854775808 ms, the limit is 600000"),
        ] {
            assert_eq!(check(&fault), Err(line.to_owned()), "{fault:?}");
        }
    }

    #[test]
    fn faults_and_effects_are_told_in_words() {
        let all = link(|l| {
            (l.delay_ms, l.jitter_ms, l.loss_ppm, l.duplicate_ppm, l.reorder_ppm) = (50, 10, 100_000, 2_500, 1);
        });
        assert_eq!(words(&all), "delay 50 ms, jitter up to 10 ms, loss 10 %, duplicates 0.25 %, reordering 0.0001 %");
        let done = FaultEffect { messages: 100, dropped: 10, delayed: 3, delayed_us: 150_900, ..Default::default() };
        assert_eq!(effect(&all, &done), "100 messages, 10 dropped, 3 delayed by 50.3 ms on average");
        let cut = Fault::Cut(CutFault { peer: 2 });
        assert_eq!((words(&cut), effect(&cut, &FaultEffect::default())), ("cut".into(), "nothing yet".into()));
        assert_eq!(effect(&cut, &FaultEffect { dropped: 1, ..Default::default() }), "1 message dropped");
        let stalled = FaultEffect { stalls: 2, stalled_ms: 70, longest_stall_ms: 40, ..Default::default() };
        assert_eq!(effect(&Fault::Pause(PauseFault {}), &stalled), "stood still for 70 ms");
        let stall = Fault::DiskStall(DiskStallFault { write_ms: 40 });
        assert_eq!(words(&stall), "disk stall of 40 ms a write");
        assert_eq!(effect(&stall, &stalled), "2 writes waited 70 ms in all, 40 ms the longest");
        let clock = Fault::Clock(ClockFault { offset_ms: -5 });
        assert_eq!(words(&clock), "clock 5 ms behind");
        assert_eq!(effect(&clock, &FaultEffect { stamps: 1, ..Default::default() }), "1 entry stamped");
    }
}
