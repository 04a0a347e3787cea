//! The first stage of vector search: the rows whose sign codes differ least from the query's.
//!
//! Codes lie in groups of [`GROUP_ROWS`] rows, word by word, so that one XOR and one population
//! count work on many rows at once: see [`super::lanes`]. The instruction set is chosen at run time
//! through `pulp`.

#[cfg(target_arch = "x86_64")]
use super::lanes::x86::{Avx2, Avx512Popcount};
use super::lanes::{LANES, Lanes, Portable};
use super::quantise::GROUP_ROWS;

/// Registers that hold the counts of a group.
const PARTS: usize = GROUP_ROWS / LANES;

/// A bound above every distance there is.
const NO_BOUND: u64 = 1 << 32;

/// The codes of one block of rows.
pub(crate) struct Segment<'a> {
    /// Groups of `words × GROUP_ROWS` words.
    pub(crate) codes: &'a [u64],
    /// One bit a row: whether it may be found. One word a group.
    pub(crate) wanted: &'a [u32],
    /// The number of the first row.
    pub(crate) first_row: u32,
}

/// Keeps the `capacity` rows of the smallest distance; of equal ones, those that came first.
pub(crate) struct Nearest {
    capacity: usize,
    /// Rows at this distance or beyond are of no use any more.
    bound: u64,
    /// Distance and row; `len` of them are in use, the rest is room.
    found: Vec<(u32, u32)>,
    len: usize,
    /// Rows by distance, for cutting back.
    histogram: Vec<u32>,
}

impl Nearest {
    pub(crate) fn new(capacity: usize, code_words: usize) -> Self {
        Self {
            capacity,
            bound: NO_BOUND,
            found: vec![(0, 0); 2 * capacity + GROUP_ROWS],
            len: 0,
            histogram: vec![0; code_words * 64 + 1],
        }
    }

    /// Looks through the segments with the fastest instructions there are.
    pub(crate) fn scan<'a>(&mut self, query: &[u64], segments: impl Iterator<Item = Segment<'a>>) {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = Avx512Popcount::try_new() {
                return simd.vectorize(
                    #[inline(always)]
                    || self.scan_with(simd, query, segments),
                );
            }
            if let Some(simd) = Avx2::try_new() {
                return simd.vectorize(
                    #[inline(always)]
                    || self.scan_with(simd, query, segments),
                );
            }
        }
        self.scan_with(Portable, query, segments);
    }

    #[expect(
        clippy::inline_always,
        reason = "it must be compiled anew inside each instruction set's function"
    )]
    #[inline(always)]
    fn scan_with<'a>(
        &mut self,
        lanes: impl Lanes,
        query: &[u64],
        segments: impl Iterator<Item = Segment<'a>>,
    ) {
        // A fixed number of words lets the compiler keep all counters in registers.
        let six = <&[u64; 6]>::try_from(query);
        for segment in segments {
            match six {
                Ok(query) => self.scan_segment(lanes, query, &segment),
                Err(_) => self.scan_segment(lanes, query, &segment),
            }
        }
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn scan_segment<L: Lanes>(&mut self, lanes: L, query: &[u64], segment: &Segment<'_>) {
        let groups = segment.codes.chunks_exact(query.len() * GROUP_ROWS);
        let mut first_row = segment.first_row;
        for (group, wanted) in groups.zip(segment.wanted) {
            let (rows, _) = group.as_chunks::<LANES>();
            let (words, _) = rows.as_chunks::<PARTS>();
            let mut counts = [lanes.zero(); PARTS];
            for (word, parts) in query.iter().zip(words) {
                for (count, codes) in counts.iter_mut().zip(parts) {
                    *count = lanes.add(*count, codes, *word);
                }
            }
            let mut near = 0;
            for (part, count) in counts.iter().enumerate() {
                near |= lanes.below(*count, self.bound) << (part * LANES);
            }
            near &= wanted;
            if near != 0 {
                let distances = counts.map(|count| lanes.to_array(count));
                self.take(distances.as_flattened(), near, first_row);
            }
            #[expect(clippy::cast_possible_truncation, reason = "GROUP_ROWS is 32")]
            {
                first_row += GROUP_ROWS as u32;
            }
        }
    }

    /// Takes the rows of a group whose bits are set in `near`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "distances are at most 4,096"
    )]
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn take(&mut self, distances: &[u64], mut near: u32, first_row: u32) {
        let room = &mut self.found[self.len..];
        self.len += near.count_ones() as usize;
        for slot in room {
            let offset = near.trailing_zeros();
            let Some(distance) = distances.get(offset as usize) else {
                break;
            };
            *slot = (*distance as u32, first_row + offset);
            near &= near.wrapping_sub(1);
        }
        if self.len >= 2 * self.capacity {
            self.cut_back();
        }
    }

    /// Keeps exactly `capacity` rows and lowers the bound.
    fn cut_back(&mut self) {
        self.histogram.fill(0);
        for (distance, _) in &self.found[..self.len] {
            self.histogram[*distance as usize] += 1;
        }
        let mut room = self.capacity;
        let mut last = 0;
        for (distance, count) in (0_u32..).zip(&self.histogram) {
            last = distance;
            if *count as usize >= room {
                break;
            }
            room -= *count as usize;
        }
        let mut kept = 0;
        for index in 0..self.len {
            let (distance, row) = self.found[index];
            let is_tied = distance == last && room > 0;
            room -= usize::from(is_tied);
            self.found[kept] = (distance, row);
            kept += usize::from(distance < last || is_tied);
        }
        self.len = kept;
        self.bound = u64::from(last);
    }

    /// Distance and number of the rows found, in the order of their numbers, at most `capacity`;
    /// and the distance from which on rows were left out, if any were.
    pub(crate) fn into_found(mut self) -> (Vec<(u32, u32)>, Option<u32>) {
        if self.len > self.capacity {
            self.cut_back();
        }
        self.found.truncate(self.len);
        (self.found, u32::try_from(self.bound).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grouped(rows: &[Vec<u64>], words: usize) -> (Vec<u64>, Vec<u32>) {
        let groups = rows.len().div_ceil(GROUP_ROWS);
        let mut codes = vec![0; groups * words * GROUP_ROWS];
        let mut present = vec![0; groups];
        for (row, code) in rows.iter().enumerate() {
            let (group, offset) = (row / GROUP_ROWS, row % GROUP_ROWS);
            present[group] |= 1 << offset;
            for (word, value) in code.iter().enumerate() {
                codes[(group * words + word) * GROUP_ROWS + offset] = *value;
            }
        }
        (codes, present)
    }

    type Scan = fn(&mut Nearest, &[u64], Segment<'_>);

    /// The loop as chosen at run time, as compiled for any machine, and as for one in between.
    fn scans() -> Vec<Scan> {
        let mut scans: Vec<Scan> = vec![
            |nearest, query, segment| nearest.scan(query, std::iter::once(segment)),
            |nearest, query, segment| {
                nearest.scan_with(Portable, query, std::iter::once(segment));
            },
        ];
        #[cfg(target_arch = "x86_64")]
        if Avx2::try_new().is_some() {
            scans.push(|nearest, query, segment| {
                if let Some(simd) = Avx2::try_new() {
                    let segments = std::iter::once(segment);
                    simd.vectorize(|| nearest.scan_with(simd, query, segments));
                }
            });
        }
        scans
    }

    proptest! {
        #[test]
        fn finds_what_sorting_all_distances_finds(
            words in prop::sample::select(vec![1_usize, 2, 6, 12]),
            seed in any::<u64>(),
            count in 0_usize..700,
            capacity in 1_usize..64,
            few_values in any::<bool>(),
            mask in any::<u32>(),
        ) {
            let mut state = seed | 1;
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if few_values { state & 3 } else { state }
            };
            let rows: Vec<Vec<u64>> =
                (0..count).map(|_| (0..words).map(|_| next()).collect()).collect();
            let query: Vec<u64> = (0..words).map(|_| next()).collect();
            let (codes, mut wanted) = grouped(&rows, words);
            for bits in &mut wanted {
                *bits &= mask;
            }

            let distance = |row: &Vec<u64>| -> u32 {
                row.iter().zip(&query).map(|(a, b)| (a ^ b).count_ones()).sum()
            };
            let mut expected: Vec<(u32, u32)> = (0_u32..)
                .zip(&rows)
                .filter(|(row, _)| mask >> (row % 32) & 1 == 1)
                .map(|(number, row)| (distance(row), number))
                .collect();
            expected.sort_unstable();
            expected.truncate(capacity);
            let mut expected: Vec<u32> = expected.into_iter().map(|(_, row)| row).collect();
            expected.sort_unstable();
            for scan in scans() {
                let mut nearest = Nearest::new(capacity, words);
                let segment = Segment { codes: &codes, wanted: &wanted, first_row: 0 };
                scan(&mut nearest, &query, segment);
                let (found, _) = nearest.into_found();
                let found: Vec<u32> = found.into_iter().map(|(_, row)| row).collect();
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
