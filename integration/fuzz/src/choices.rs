//! Decisions taken from bytes: a target that needs more form than bytes have
//! asks for one choice after the other. When the bytes are at their end all
//! choices are zero, so that a shorter input is a simpler case. The same with
//! bytes that look random and are the same every time, for tests.

/// Takes decisions from an input.
#[derive(Debug)]
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    /// Those of this input.
    pub fn of(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Whether the input is used up.
    pub fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
            None => 0,
        }
    }

    /// Eight bytes.
    pub fn number(&mut self) -> u64 {
        (0..8).fold(0, |sum, _| sum << 8 | u64::from(self.byte()))
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        let wide = end > 256;
        let drawn = usize::from(self.byte()) | if wide { usize::from(self.byte()) << 8 } else { 0 };
        drawn % end
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 1
    }

    /// One of a list.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A number at or near one of `edges`; sometimes any.
    pub fn near(&mut self, edges: &[u64]) -> u64 {
        match self.below(8) {
            0..3 => self.pick(edges),
            3 => self.pick(edges).wrapping_add(1),
            4 => self.pick(edges).wrapping_sub(1),
            5 => self.pick(edges) ^ 1 << self.below(64),
            6 => self.below(300) as u64,
            _ => self.number(),
        }
    }

    /// Text of a line of the input: up to a zero byte.
    pub fn text(&mut self) -> String {
        let end = self.rest.iter().position(|b| *b == 0).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Bytes that look random: xorshift64*, from a seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() >> 33) as usize % end
    }

    /// That many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number().to_be_bytes()[0]).collect()
    }
}
