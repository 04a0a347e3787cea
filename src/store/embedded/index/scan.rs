//! The first stage of vector search: the rows whose sign codes differ least from the query's.
//!
//! Codes lie in groups of [`GROUP_ROWS`] rows, word by word, so that one XOR and one population
//! count work on many rows at once. The loop is plain Rust, compiled for several instruction sets
//! through `pulp` and chosen at run time. Alone in a loop over 100k codes of 384 bits, changing
//! queries took 130 µs with AVX-512's population count; a call of a library kernel for each row
//! took 410 µs for the distances alone.

use super::quantise::GROUP_ROWS;

#[cfg(target_arch = "x86_64")]
pulp::simd_type!({
    struct Avx512Popcount {
        avx512f: f!("avx512f"),
        avx512bw: f!("avx512bw"),
        avx512dq: f!("avx512dq"),
        avx512vl: f!("avx512vl"),
        avx512vpopcntdq: f!("avx512vpopcntdq"),
        popcnt: f!("popcnt"),
    }
});

#[cfg(target_arch = "x86_64")]
pulp::simd_type!({
    struct Avx2 {
        avx2: f!("avx2"),
        popcnt: f!("popcnt"),
    }
});

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
            bound: u64::MAX,
            found: vec![(0, 0); 2 * capacity + GROUP_ROWS],
            len: 0,
            histogram: vec![0; code_words * 64 + 1],
        }
    }

    /// Looks through the segments with the fastest instructions there are, for several queries of
    /// the same length at once: each segment is read from memory once.
    pub(crate) fn scan_together<'a, I: Iterator<Item = Segment<'a>>>(
        scans: &mut [(Self, &[u64])],
        segments: impl FnOnce() -> I,
    ) {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = Avx512Popcount::try_new() {
                return simd.vectorize(
                    #[inline(always)]
                    || Self::scan_all(scans, segments()),
                );
            }
            if let Some(simd) = Avx2::try_new() {
                return simd.vectorize(
                    #[inline(always)]
                    || Self::scan_all(scans, segments()),
                );
            }
        }
        Self::scan_all(scans, segments());
    }

    #[expect(
        clippy::inline_always,
        reason = "it must be compiled anew inside each instruction set's function"
    )]
    #[inline(always)]
    fn scan_all<'a>(scans: &mut [(Self, &[u64])], segments: impl Iterator<Item = Segment<'a>>) {
        for segment in segments {
            for (nearest, query) in &mut *scans {
                // A fixed number of words lets the compiler keep all counters in registers.
                if let Ok(query) = <&[u64; 6]>::try_from(*query) {
                    nearest.scan_segment(query, &segment);
                } else {
                    nearest.scan_segment(query, &segment);
                }
            }
        }
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn scan_segment(&mut self, query: &[u64], segment: &Segment<'_>) {
        let groups = segment.codes.chunks_exact(query.len() * GROUP_ROWS);
        let mut first_row = segment.first_row;
        for (group, wanted) in groups.zip(segment.wanted) {
            let distances = group_distances(query, group);
            let mut near = false;
            for distance in distances {
                near |= distance < self.bound;
            }
            if near && *wanted != 0 {
                self.take(&distances, *wanted, first_row);
            }
            #[expect(clippy::cast_possible_truncation, reason = "GROUP_ROWS is 32")]
            {
                first_row += GROUP_ROWS as u32;
            }
        }
    }

    /// Every row is written and most are overwritten by the next: which ones are near cannot be
    /// predicted, and a branch for each would cost more.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "distances are at most 4,096"
    )]
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn take(&mut self, distances: &[u64; GROUP_ROWS], wanted: u32, first_row: u32) {
        let Some(room) = self.found[self.len..].first_chunk_mut::<GROUP_ROWS>() else {
            return;
        };
        let mut taken = 0;
        for (offset, distance) in (0_u32..).zip(distances) {
            room[taken % GROUP_ROWS] = (*distance as u32, first_row + offset);
            taken += usize::from(*distance < self.bound) & (wanted >> offset & 1) as usize;
        }
        self.len += taken;
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

#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn group_distances(query: &[u64], group: &[u64]) -> [u64; GROUP_ROWS] {
    let mut distances = [0_u64; GROUP_ROWS];
    let (slices, _) = group.as_chunks::<GROUP_ROWS>();
    for (word, slice) in query.iter().zip(slices) {
        for (distance, code) in distances.iter_mut().zip(slice) {
            *distance += u64::from((code ^ word).count_ones());
        }
    }
    distances
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

    type Scan = fn(&mut [(Nearest, &[u64])], Segment<'_>);

    /// The loop as chosen at run time, as compiled for any machine, and as for one in between.
    fn scans() -> Vec<Scan> {
        let mut scans: Vec<Scan> = vec![
            |scans, segment| Nearest::scan_together(scans, || std::iter::once(segment)),
            |scans, segment| Nearest::scan_all(scans, std::iter::once(segment)),
        ];
        #[cfg(target_arch = "x86_64")]
        if Avx2::try_new().is_some() {
            scans.push(|scans, segment| {
                if let Some(simd) = Avx2::try_new() {
                    simd.vectorize(|| Nearest::scan_all(scans, std::iter::once(segment)));
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
                let other = vec![0; words];
                let queries = [&query[..], &other, &query];
                let mut scans = queries.map(|query| (Nearest::new(capacity, words), query));
                let segment = Segment { codes: &codes, wanted: &wanted, first_row: 0 };
                scan(&mut scans, segment);
                let [first, _, last] = scans.map(|(nearest, _)| nearest.into_found());
                prop_assert_eq!(&first, &last, "queries scanned together are independent");
                let found: Vec<u32> = first.0.into_iter().map(|(_, row)| row).collect();
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
