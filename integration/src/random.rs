//! Numbers that look random, and are the same for the same seed.

/// xorshift64; the seed is not 0.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeds that lie side by side give numbers that have nothing in common.
    pub fn new(seed: u64) -> Self {
        let mut this = Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            this.next();
        }
        this
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether it comes to this, once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of a list that is not empty.
    pub fn one<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let length = u64::try_from(list.len()).ok().filter(|length| *length > 0)?;
        list.get(usize::try_from(self.below(length)).ok()?).copied()
    }
}
