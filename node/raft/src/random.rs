//! Chance as part of the state: the same seed and the same inputs give the same elections.

/// SplitMix64 (Steele, Lea, Flood 2014). Eight lines of our own, because the state must be `Eq + Hash` and must never
/// change between releases: a replayed run depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        assert!(low <= high, "an empty range has no number: {low}..={high}");
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        low + u32::try_from(z % u64::from(high - low + 1)).expect("a remainder of a u32 range is a u32")
    }
}
