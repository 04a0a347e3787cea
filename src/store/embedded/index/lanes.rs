//! Eight rows of sign codes at once, with the instructions that the machine has.
//!
//! XOR, sum and comparison are named, because left to itself the compiler turned the loop about and
//! gathered the words of one row from far apart: a search of `perf/bench/store.sh` over 100,000 rows
//! took 0.57 ms then and takes 0.17 ms now. The population count is a plain `count_ones` on eight words, which becomes one
//! instruction where there is one.

/// Rows whose counts stand side by side.
pub(super) const LANES: usize = 8;

/// How counts of eight rows are kept and changed.
pub(super) trait Lanes: Copy {
    /// One count for each of the rows.
    type Counts: Copy;

    fn zero(self) -> Self::Counts;

    /// Adds the number of bits in which each row's code differs from the query's `word`.
    fn add(self, counts: Self::Counts, codes: &[u64; LANES], word: u64) -> Self::Counts;

    /// One bit a row: whether its count is below `bound`, which is at most 2⁶³ − 1.
    fn below(self, counts: Self::Counts, bound: u64) -> u32;

    fn to_array(self, counts: Self::Counts) -> [u64; LANES];
}

/// For any machine.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[expect(
    clippy::inline_always,
    reason = "it must be compiled anew inside each instruction set's function"
)]
impl Lanes for Portable {
    type Counts = [u64; LANES];

    #[inline(always)]
    fn zero(self) -> Self::Counts {
        [0; LANES]
    }

    #[inline(always)]
    fn add(self, counts: Self::Counts, codes: &[u64; LANES], word: u64) -> Self::Counts {
        std::array::from_fn(|row| counts[row] + u64::from((codes[row] ^ word).count_ones()))
    }

    #[inline(always)]
    fn below(self, counts: Self::Counts, bound: u64) -> u32 {
        let bits = counts.iter().enumerate();
        bits.fold(0, |bits, (row, count)| {
            bits | u32::from(*count < bound) << row
        })
    }

    #[inline(always)]
    fn to_array(self, counts: Self::Counts) -> [u64; LANES] {
        counts
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::{LANES, Lanes};
    use pulp::cast;
    use std::arch::x86_64::{__m256i, __m512i};

    pulp::simd_type!({
        pub(in super::super) struct Avx512Popcount {
            avx512f: f!("avx512f"),
            avx512bw: f!("avx512bw"),
            avx512dq: f!("avx512dq"),
            avx512vl: f!("avx512vl"),
            avx512vpopcntdq: f!("avx512vpopcntdq"),
            popcnt: f!("popcnt"),
        }
    });

    pulp::simd_type!({
        pub(in super::super) struct Avx2 {
            floats: f!("avx"),
            integers: f!("avx2"),
            popcnt: f!("popcnt"),
        }
    });

    #[expect(clippy::inline_always, reason = "as above")]
    impl Lanes for Avx512Popcount {
        type Counts = __m512i;

        #[inline(always)]
        fn zero(self) -> Self::Counts {
            self.avx512f._mm512_setzero_si512()
        }

        #[inline(always)]
        fn add(self, counts: Self::Counts, codes: &[u64; LANES], word: u64) -> Self::Counts {
            let word = self.avx512f._mm512_set1_epi64(word.cast_signed());
            let differ: [u64; LANES] = cast(self.avx512f._mm512_xor_si512(cast(*codes), word));
            let ones = differ.map(|bits| u64::from(bits.count_ones()));
            self.avx512f._mm512_add_epi64(counts, cast(ones))
        }

        #[inline(always)]
        fn below(self, counts: Self::Counts, bound: u64) -> u32 {
            let bound = self.avx512f._mm512_set1_epi64(bound.cast_signed());
            u32::from(self.avx512f._mm512_cmplt_epu64_mask(counts, bound))
        }

        #[inline(always)]
        fn to_array(self, counts: Self::Counts) -> [u64; LANES] {
            cast(counts)
        }
    }

    #[expect(clippy::inline_always, reason = "as above")]
    impl Lanes for Avx2 {
        type Counts = [__m256i; 2];

        #[inline(always)]
        fn zero(self) -> Self::Counts {
            [self.floats._mm256_setzero_si256(); 2]
        }

        #[inline(always)]
        fn add(self, counts: Self::Counts, codes: &[u64; LANES], word: u64) -> Self::Counts {
            let word = self.floats._mm256_set1_epi64x(word.cast_signed());
            let codes: [__m256i; 2] = cast(*codes);
            std::array::from_fn(|half| {
                let differ: [u64; 4] = cast(self.integers._mm256_xor_si256(codes[half], word));
                let ones = differ.map(|bits| u64::from(bits.count_ones()));
                self.integers._mm256_add_epi64(counts[half], cast(ones))
            })
        }

        #[inline(always)]
        fn below(self, counts: Self::Counts, bound: u64) -> u32 {
            let bound = self.floats._mm256_set1_epi64x(bound.cast_signed());
            let [low, high] = counts.map(|half| {
                let is_below = self.integers._mm256_cmpgt_epi64(bound, half);
                let bits = self
                    .floats
                    ._mm256_movemask_pd(self.floats._mm256_castsi256_pd(is_below));
                bits.cast_unsigned()
            });
            low | high << 4
        }

        #[inline(always)]
        fn to_array(self, counts: Self::Counts) -> [u64; LANES] {
            cast(counts)
        }
    }
}
