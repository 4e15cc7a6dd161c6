//! One bit per byte: where in 64 bytes the bytes lie that shape a CSV text.
//!
//! On x86-64 by SSE2, which every such machine has, through the safe functions of `safe_arch`;
//! elsewhere by arithmetic on words of 8 bytes.

/// Bytes looked at together: as many as a mask has bits.
pub(crate) const BLOCK: usize = 64;

/// Bit `i` of each mask says whether byte `i` of the block is of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Masks {
    pub(crate) delimiter: u64,
    pub(crate) quote: u64,
    pub(crate) escape: u64,
    pub(crate) lf: u64,
    pub(crate) cr: u64,
}

impl Masks {
    /// Forgets everything from byte `len` on.
    pub(crate) fn keep(self, len: usize) -> Self {
        let keep = if len >= BLOCK { !0 } else { (1 << len) - 1 };
        Self {
            delimiter: self.delimiter & keep,
            quote: self.quote & keep,
            escape: self.escape & keep,
            lf: self.lf & keep,
            cr: self.cr & keep,
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::{Lows, Needles};
#[cfg(target_arch = "x86_64")]
pub(crate) use vector::{Lows, Needles};

#[cfg(target_arch = "x86_64")]
mod vector {
    use safe_arch::{
        cmp_eq_mask_i8_m128i, load_unaligned_m128i, m128i, min_u8_m128i, move_mask_i8_m128i, set_splat_i8_m128i,
    };

    use super::{BLOCK, Masks};

    /// The bytes looked for.
    pub(crate) struct Needles {
        delimiter: m128i,
        quote: Option<m128i>,
        escape: Option<m128i>,
        lf: m128i,
        cr: m128i,
    }

    impl Needles {
        pub(crate) fn new(delimiter: u8, quote: Option<u8>, escape: Option<u8>) -> Self {
            Self {
                delimiter: splat(delimiter),
                quote: quote.map(splat),
                escape: escape.map(splat),
                lf: splat(b'\n'),
                cr: splat(b'\r'),
            }
        }

        #[inline(always)]
        pub(crate) fn find(&self, block: &[u8; BLOCK], lows: &mut Lows) -> Masks {
            let vectors = load(block);
            let [a, b, c, d] = vectors;
            let low = min_u8_m128i(min_u8_m128i(a, b), min_u8_m128i(c, d));
            lows.0 = min_u8_m128i(lows.0, low);
            Masks {
                delimiter: equal(vectors, self.delimiter),
                quote: self.quote.map_or(0, |quote| equal(vectors, quote)),
                escape: self.escape.map_or(0, |escape| equal(vectors, escape)),
                lf: equal(vectors, self.lf),
                cr: equal(vectors, self.cr),
            }
        }
    }

    /// The least byte seen in each lane.
    pub(crate) struct Lows(m128i);

    impl Lows {
        pub(crate) fn new() -> Self {
            Self(splat(!0))
        }

        pub(crate) fn has_zero(&self) -> bool {
            move_mask_i8_m128i(cmp_eq_mask_i8_m128i(self.0, splat(0))) != 0
        }
    }

    fn splat(byte: u8) -> m128i {
        set_splat_i8_m128i(byte.cast_signed())
    }

    #[inline(always)]
    fn load(block: &[u8; BLOCK]) -> [m128i; 4] {
        let (lanes, _) = block.as_chunks::<16>();
        [0, 1, 2, 3].map(|at: usize| load_unaligned_m128i(&lanes[at]))
    }

    #[inline(always)]
    fn equal(vectors: [m128i; 4], needle: m128i) -> u64 {
        let [a, b, c, d] = vectors.map(|vector| {
            let bits = move_mask_i8_m128i(cmp_eq_mask_i8_m128i(vector, needle));
            u64::from(bits.cast_unsigned())
        });
        a | (b << 16) | (c << 32) | (d << 48)
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::{BLOCK, Masks};

    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW7: u64 = 0x7F7F_7F7F_7F7F_7F7F;

    /// The bytes looked for.
    pub(crate) struct Needles {
        delimiter: u64,
        quote: Option<u64>,
        escape: Option<u64>,
    }

    impl Needles {
        pub(crate) fn new(delimiter: u8, quote: Option<u8>, escape: Option<u8>) -> Self {
            Self { delimiter: splat(delimiter), quote: quote.map(splat), escape: escape.map(splat) }
        }

        #[inline(always)]
        pub(crate) fn find(&self, block: &[u8; BLOCK], lows: &mut Lows) -> Masks {
            let (words, _) = block.as_chunks::<8>();
            let find = |needle: u64| {
                words
                    .iter()
                    .enumerate()
                    .fold(0, |mask, (at, word)| mask | (equal(u64::from_le_bytes(*word), needle) << (8 * at)))
            };
            lows.0 |= block.contains(&0);
            Masks {
                delimiter: find(self.delimiter),
                quote: self.quote.map_or(0, find),
                escape: self.escape.map_or(0, find),
                lf: find(splat(b'\n')),
                cr: find(splat(b'\r')),
            }
        }
    }

    /// Whether a zero was seen.
    pub(crate) struct Lows(bool);

    impl Lows {
        pub(crate) fn new() -> Self {
            Self(false)
        }

        pub(crate) fn has_zero(&self) -> bool {
            self.0
        }
    }

    fn splat(byte: u8) -> u64 {
        u64::from(byte) * ONES
    }

    /// One bit for each byte of the word that equals the needle's.
    #[inline(always)]
    fn equal(word: u64, needle: u64) -> u64 {
        let differs = word ^ needle;
        let zeros = !(((differs & LOW7) + LOW7) | differs | LOW7);
        // Gathers the top bit of each byte into one byte.
        (zeros >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_find_where_bytes_are(
            bytes in proptest::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(0), any::<u8>()], BLOCK),
        ) {
            let block: &[u8; BLOCK] = bytes.first_chunk().unwrap();
            let (mut lows, mut slow) = (Lows::new(), portable::Lows::new());
            let found = Needles::new(b',', Some(b'"'), Some(b'\\')).find(block, &mut lows);
            let other = portable::Needles::new(b',', Some(b'"'), Some(b'\\')).find(block, &mut slow);
            prop_assert_eq!(found, other);
            for (at, byte) in bytes.iter().enumerate() {
                prop_assert_eq!(found.delimiter >> at & 1 == 1, *byte == b',');
                prop_assert_eq!(found.quote >> at & 1 == 1, *byte == b'"');
                prop_assert_eq!(found.escape >> at & 1 == 1, *byte == b'\\');
                prop_assert_eq!(found.lf >> at & 1 == 1, *byte == b'\n');
                prop_assert_eq!(found.cr >> at & 1 == 1, *byte == b'\r');
            }
            prop_assert_eq!(lows.has_zero(), bytes.contains(&0));
            prop_assert_eq!(slow.has_zero(), bytes.contains(&0));
        }
    }
}
