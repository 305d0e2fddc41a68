//! SipHash-1-3 with 128 bits, of a text that is all there.
//!
//! As the reference has it, so that fingerprints are those of any other implementation; but without a state in memory, so
//! that the processor works on two texts at once where two are hashed one after the other.
//!
//! Source: J.-P. Aumasson, D. Bernstein, *SipHash: a fast short-input PRF* (2012), and the 128-bit output of its reference
//! code.

/// Rounds after the last word of a text.
const FINISH: usize = 3;

/// A key, as the state that a text begins with.
#[derive(Clone, Copy)]
pub(super) struct Sip(State);

#[derive(Clone, Copy)]
struct State([u64; 4]);

impl State {
    #[inline(always)]
    fn round(&mut self) {
        let [a, b, c, d] = self.0;
        let (a, c) = (a.wrapping_add(b), c.wrapping_add(d));
        let (b, d) = (b.rotate_left(13) ^ a, d.rotate_left(16) ^ c);
        let (a, c) = (a.rotate_left(32).wrapping_add(d), c.wrapping_add(b));
        let (b, d) = (b.rotate_left(17) ^ c, d.rotate_left(21) ^ a);
        self.0 = [a, b, c.rotate_left(32), d];
    }

    #[inline(always)]
    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    #[inline(always)]
    fn finish(&mut self) -> u64 {
        (0..FINISH).for_each(|_| self.round());
        self.0.into_iter().fold(0, |all, word| all ^ word)
    }
}

impl Sip {
    pub(super) fn new(key: [u8; 16]) -> Sip {
        let [low, high] = [0, 8].map(|from| std::array::from_fn(|byte| key[from + byte]));
        let [low, high] = [low, high].map(u64::from_le_bytes);
        Sip(State([
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ]))
    }

    #[inline]
    pub(super) fn hash(&self, text: &[u8]) -> [u64; 2] {
        let mut state = self.0;
        let (words, rest) = text.as_chunks::<8>();
        for word in words {
            state.word(u64::from_le_bytes(*word));
        }
        state.word((text.len() as u64) << 56 | tail(text, rest));
        state.0[2] ^= 0xee;
        let first = state.finish();
        state.0[1] ^= 0xdd;
        [first, state.finish()]
    }
}

/// The last bytes of a text, `rest`, which are fewer than 8, as a little-endian word.
#[inline(always)]
fn tail(text: &[u8], rest: &[u8]) -> u64 {
    match (text.last_chunk::<8>(), rest.len()) {
        (_, 0) => 0,
        // By one load, the bytes before them shifted out.
        (Some(last), length) => u64::from_le_bytes(*last) >> (64 - 8 * length),
        (None, _) => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use siphasher::sip128::SipHasher13;

    use super::*;

    /// The same as another implementation for every length.
    #[test]
    fn as_the_reference() {
        let key: [u8; 16] = std::array::from_fn(|byte| (byte * 17 + 3) as u8);
        let text: Vec<u8> = (0..200_u32).map(|byte| (byte * byte + 7) as u8).collect();
        for length in 0..=text.len() {
            let text = &text[..length];
            let expected = SipHasher13::new_with_key(&key).hash(text);
            assert_eq!(Sip::new(key).hash(text), [expected.h1, expected.h2], "{length} bytes");
        }
    }
}
