//! The two checksums of an entry, with each byte hashed once.
//!
//! The log checks header and payload together, a replication frame the payload alone, both with CRC-32 (the polynomial
//! of IEEE 802.3 and zlib). Hashing a short payload twice would be the most expensive thing that happens to an entry.
//! So the payload is hashed once, and what the header before it adds is worked out. CRCs are polynomials over bits: `n`
//! bytes more behind a message multiply its CRC by x^8n modulo the polynomial, and to add two is to exclusive-or them.
//!
//! Values are *reflected*, as everywhere with this CRC: the highest bit is the coefficient of x^0.

use crc32fast::Hasher;

use super::format::layout::{ENTRY_HEADER_LEN_VLSN, FLAG_INVISIBLE};

// What only x86 has an instruction for is left out elsewhere, but for the tests.

/// CRC-32's polynomial without its x^32, reflected.
#[cfg(any(target_arch = "x86_64", test))]
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Payloads from this length on are hashed once without help, too: to put two checksums together without an instruction
/// for it costs as much as to hash some hundred bytes.
const COMBINE_FROM: usize = 1024;

/// There is a table of the powers for each number of bytes below this, and one for multiples of it. For payloads of
/// `TABLE * MULTIPLES` bytes, 1 MiB, and more there is none: against hashing these nothing counts.
#[cfg(any(target_arch = "x86_64", test))]
const TABLE: usize = 4096;
#[cfg(any(target_arch = "x86_64", test))]
const MULTIPLES: usize = 256;

/// The checksums of a whole entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksums {
    /// As the entry's header should store it: of all behind that field, with the invisible bit taken as 0.
    pub entry: u32,
    /// Of the payload alone, as the replication frame carries it.
    pub payload: u32,
}

/// Computes checksums in the best way that this processor has, which is found out once.
#[derive(Clone, Debug)]
pub struct Checksummer {
    /// Nothing hashed yet. Cloning it is cheaper than making one.
    empty: Hasher,
    #[cfg(target_arch = "x86_64")]
    carryless: Option<carryless::Multiplier>,
}

impl Default for Checksummer {
    fn default() -> Checksummer {
        Checksummer {
            empty: Hasher::new(),
            #[cfg(target_arch = "x86_64")]
            carryless: carryless::Multiplier::detect(),
        }
    }
}

impl Checksummer {
    /// Of `entry`, header and payload, with a header of `header_len` bytes.
    #[inline]
    pub fn of(&self, entry: &[u8], header_len: usize) -> Checksums {
        let (header, body) = entry.split_at(header_len);
        let payload = self.hash(body);
        #[cfg(target_arch = "x86_64")]
        if let Some(carryless) = self.carryless
            && let Some(header) = header.first_chunk::<ENTRY_HEADER_LEN_VLSN>()
            && let Some(before) = carryless.header_before(header, body.len())
        {
            return Checksums { entry: before ^ payload, payload };
        }
        Checksums { entry: self.entry(header, body, payload), payload }
    }

    #[inline]
    fn hash(&self, bytes: &[u8]) -> u32 {
        let mut hasher = self.empty.clone();
        hasher.update(bytes);
        hasher.finalize()
    }

    /// The entry's checksum without what only some processors can do.
    fn entry(&self, header: &[u8], body: &[u8], payload: u32) -> u32 {
        let mut visible = [0; ENTRY_HEADER_LEN_VLSN];
        let visible = &mut visible[..header.len() - 4];
        visible.copy_from_slice(&header[4..]);
        visible[1] &= !FLAG_INVISIBLE;
        let mut hasher = self.empty.clone();
        hasher.update(visible);
        if body.len() < COMBINE_FROM {
            hasher.update(body);
        } else {
            hasher.combine(&Hasher::new_with_initial_len(payload, body.len() as u64));
        }
        hasher.finalize()
    }
}

/// `a` times `b` modulo the polynomial, a bit at a time.
#[cfg(any(target_arch = "x86_64", test))]
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 1 { b >> 1 ^ POLYNOMIAL } else { b >> 1 };
    }
    product
}

/// x^8n: what `n` bytes behind a message multiply its CRC by. For as many more than `TABLE` as a header has bytes.
#[cfg(any(target_arch = "x86_64", test))]
static BYTES: [u32; TABLE + ENTRY_HEADER_LEN_VLSN] = powers(1 << (31 - 8));

/// x^8n for `n` that are so many times `TABLE`.
#[cfg(any(target_arch = "x86_64", test))]
static TABLES: [u32; MULTIPLES] = powers(multiply(BYTES[TABLE - 1], BYTES[1]));

/// The powers of `base`, from 1 on.
#[cfg(any(target_arch = "x86_64", test))]
const fn powers<const N: usize>(base: u32) -> [u32; N] {
    let mut powers = [1 << 31; N];
    let mut n = 1;
    while n < N {
        powers[n] = multiply(powers[n - 1], base);
        n += 1;
    }
    powers
}

/// Multiplication of polynomials by one instruction.
#[cfg(target_arch = "x86_64")]
mod carryless {
    use std::arch::x86_64::{
        __m128i, _mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_xor_si128,
    };

    use super::{BYTES, ENTRY_HEADER_LEN_VLSN, FLAG_INVISIBLE, TABLE, TABLES};

    /// There is one only where the processor has the instructions.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Multiplier(());

    /// The polynomial with its x^32, and the quotient of x^64 by it, both reflected in 33 bits: for what is known as
    /// Barrett's reduction.
    const POLYNOMIAL_33: u64 = (super::POLYNOMIAL as u64) << 1 | 1;
    const QUOTIENT_33: u64 = 0x1_f701_1641;

    impl Multiplier {
        pub(super) fn detect() -> Option<Multiplier> {
            let known = is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("sse4.1");
            known.then_some(Multiplier(()))
        }

        /// What an entry's header adds to the checksum of the payload of `len` bytes behind it. `None` for payloads too
        /// long for the tables.
        #[inline]
        pub(super) fn header_before(self, header: &[u8; ENTRY_HEADER_LEN_VLSN], len: usize) -> Option<u32> {
            // As many bytes come behind the header's parts as are behind them in it, and the payload's.
            let behind = BYTES[len % TABLE..].first_chunk::<BEHIND>()?;
            let tables = *TABLES.get(len / TABLE)?;
            // SAFETY: a multiplier is made only where the instructions are there.
            let before = unsafe { header_before(header, behind) };
            // SAFETY: the same.
            Some(if len < TABLE { before } else { unsafe { reduce(product(u64::from(before) << 32, tables)) } })
        }
    }

    /// Up to so many bytes behind a part of the header are its own: all but the first 8 that count, and 4 for the CRC.
    const BEHIND: usize = 10 + 4 + 1;

    /// The CRC of the header, at the place of the payload's: times x^8n for the `n` bytes of the payload. `behind` has
    /// these powers from that `n` on.
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn header_before(header: &[u8; ENTRY_HEADER_LEN_VLSN], behind: &[u32; BEHIND]) -> u32 {
        let [.., a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1] = *header;
        let a = u64::from_le_bytes([a0, a1 & !FLAG_INVISIBLE, a2, a3, a4, a5, a6, a7]);
        let b = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        let c = u64::from_le_bytes([0, 0, 0, 0, 0, 0, c0, c1]);
        // A CRC begins with 32 bits inverted, is of the message with 4 bytes put behind it, and is inverted at its end,
        // which is where the payload begins.
        let inverted = product(u64::from(u32::MAX) << 32, behind[0]);
        let a = product(a ^ u64::from(u32::MAX), behind[10 + 4]);
        let b = product(b, behind[2 + 4]);
        let c = product(c, behind[4]);
        reduce(_mm_xor_si128(_mm_xor_si128(a, b), _mm_xor_si128(c, inverted)))
    }

    #[target_feature(enable = "pclmulqdq,sse4.1")]
    #[inline]
    fn product(a: u64, b: u32) -> __m128i {
        wide_product(a, u64::from(b))
    }

    #[target_feature(enable = "pclmulqdq,sse4.1")]
    #[inline]
    fn wide_product(a: u64, b: u64) -> __m128i {
        _mm_clmulepi64_si128(_mm_cvtsi64_si128(a.cast_signed()), _mm_cvtsi64_si128(b.cast_signed()), 0)
    }

    /// The lower half of a product.
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    #[inline]
    fn low(product: __m128i) -> u64 {
        _mm_cvtsi128_si64(product).cast_unsigned()
    }

    /// A sum of products of 64 and 32 bits, modulo the polynomial.
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    #[inline]
    fn reduce(sum: __m128i) -> u32 {
        // A product of reflected values stands one bit too low: moved up, the sum has 96 bits.
        let (low_half, high_half) = (low(sum), _mm_extract_epi64(sum, 1).cast_unsigned());
        let (highest, rest) = ((low_half << 1) as u32, high_half << 33 | low_half >> 31);
        // The lowest 32 of them are of x^64 and above: that times what is left of them, and 64 are left in all.
        let rest = rest ^ low(product(u64::from(highest), BYTES[8])) << 1;
        let quotient = low(wide_product(u64::from(rest as u32), QUOTIENT_33));
        let multiple = low(wide_product(u64::from(quotient as u32), POLYNOMIAL_33));
        ((rest ^ multiple) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::{ENTRY_HEADER_LEN, encode_entry};
    use proptest::prelude::*;

    fn entry(vlsn: Option<i64>, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_entry(&mut bytes, 11, 0, 0x0102_0304, vlsn, payload);
        bytes
    }

    fn payload(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 % 251) as u8).collect()
    }

    #[test]
    fn both_checksums_are_those_of_hashing_twice_whatever_the_length() {
        let checksummer = Checksummer::default();
        let around = |len: usize| len - 16..len + 16;
        let few = [0, 1, 15, 16, 17, 100, TABLE - 15, TABLE - 14];
        let ends = [COMBINE_FROM, TABLE, 2 * TABLE, 16 * 1024, MULTIPLES * TABLE];
        let all = (0..40).chain(ends.into_iter().flat_map(around)).chain([3_000_000]);
        let lens: Vec<usize> = if cfg!(miri) { few.into() } else { all.collect() };
        for len in lens {
            let payload = payload(len);
            for (vlsn, header_len) in [(Some(0x1112_1314_1516_1718), ENTRY_HEADER_LEN_VLSN), (None, ENTRY_HEADER_LEN)] {
                let bytes = entry(vlsn, &payload);
                let sums = Checksums { entry: crc32fast::hash(&bytes[4..]), payload: crc32fast::hash(&payload) };
                assert_eq!(checksummer.of(&bytes, header_len), sums, "{len} bytes");
                let (header, body) = bytes.split_at(header_len);
                assert_eq!(checksummer.entry(header, body, sums.payload), sums.entry, "{len} bytes, without help");
            }
        }
    }

    #[test]
    fn the_invisible_bit_does_not_count_in_the_checksum() {
        let checksummer = Checksummer::default();
        // The last is too long for the tables.
        let longest = if cfg!(miri) { 5000 } else { MULTIPLES * TABLE + 1 };
        for len in [11, 2000, longest] {
            for (vlsn, header_len) in [(Some(3), ENTRY_HEADER_LEN_VLSN), (None, ENTRY_HEADER_LEN)] {
                let mut bytes = entry(vlsn, &payload(len));
                let before = checksummer.of(&bytes, header_len);
                bytes[5] |= FLAG_INVISIBLE;
                assert_eq!(checksummer.of(&bytes, header_len), before, "{len} bytes");
                let (header, body) = bytes.split_at(header_len);
                let without_help = checksummer.entry(header, body, before.payload);
                assert_eq!(without_help, before.entry, "{len} bytes, without help");
            }
        }
    }

    #[test]
    fn a_power_of_x_is_what_so_many_zeros_do_to_a_checksum() {
        let bytes = [0, 1, 2, TABLE - 1].map(|n| (n, BYTES[n]));
        let tables = [0, 1, 2, if cfg!(miri) { 3 } else { MULTIPLES - 1 }].map(|n| (n * TABLE, TABLES[n]));
        for (n, power) in bytes.into_iter().chain(tables) {
            let mut zeros = Hasher::new_with_initial(!1);
            zeros.update(&vec![0; n]);
            assert_eq!(multiply(1, power), !zeros.finalize());
        }
    }

    proptest! {
        #[test]
        fn each_bit_of_an_entry_counts(mut bytes in prop::collection::vec(any::<u8>(), 22..1200), at in any::<usize>()) {
            let checksummer = Checksummer::default();
            bytes[5] &= !FLAG_INVISIBLE;
            let sums = checksummer.of(&bytes, ENTRY_HEADER_LEN_VLSN);
            prop_assert_eq!(sums.entry, crc32fast::hash(&bytes[4..]));
            let bit = 4 * 8 + at % ((bytes.len() - 4) * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if bytes[5] & FLAG_INVISIBLE == 0 {
                prop_assert_ne!(checksummer.of(&bytes, ENTRY_HEADER_LEN_VLSN).entry, sums.entry);
            }
        }
    }
}
