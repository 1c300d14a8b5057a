//! Work and hash, in turns.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Of each work.
const TURNS: usize = 151;

/// Between two pieces of work: about a millisecond.
const HASHES: u32 = 64;

/// Something whose cost is asked for.
pub(crate) trait Work {
    /// Does so many steps, and says how long they took: what had to be made for them is not counted.
    fn run(&mut self) -> (u32, Duration);
}

/// Seconds of one hash.
fn hash_s(block: &[u8]) -> f64 {
    let (hashes, time) = timed(HASHES, || {
        for _ in 0..HASHES {
            black_box(blake3::hash(black_box(block)));
        }
    });
    time.as_secs_f64() / f64::from(hashes)
}

/// The median of work by hash. Each turn has hashes before and after the work.
pub(crate) fn ratio(work: &mut dyn Work) -> f64 {
    let block = vec![7; 64 << 10];
    work.run(); // Caches are warm and files are there.
    let mut before = hash_s(&block);
    let mut ratios: Vec<f64> = (0..TURNS)
        .map(|_| {
            let (steps, time) = work.run();
            let after = hash_s(&block);
            let beside = (std::mem::replace(&mut before, after) + after) / 2.0;
            time.as_secs_f64() / f64::from(steps) / beside
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[TURNS / 2]
}

/// Times what is done with something that was made before.
pub(crate) fn timed(steps: u32, work: impl FnOnce()) -> (u32, Duration) {
    let start = Instant::now();
    work();
    (steps, start.elapsed())
}
