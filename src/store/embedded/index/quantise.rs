//! Vectors made small: 8 bits a dimension, and one bit.

/// Rows whose sign codes lie together, word by word: the unit of the scan's inner loop.
pub(crate) const GROUP_ROWS: usize = 32;

/// Appends the vector in 8 bits a dimension; returns the scale that turns it back.
pub(crate) fn quantise(vector: &[f32], into: &mut Vec<i8>) -> f32 {
    let largest = vector.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let factor = 1.0 / scale;
    // Adding 1.5 × 2^23 leaves no bits behind the point: it rounds to the nearest integer, ties to
    // even, and unlike `round_ties_even` needs no call where SSE4.1 cannot be taken for granted.
    let magic = 12_582_912.0_f32;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the values lie in -127 to 127 by the choice of scale, and casts saturate"
    )]
    into.extend(vector.iter().map(|v| (v * factor + magic - magic) as i8));
    scale
}

/// Words of 64 bits that hold one bit a dimension.
pub(crate) fn code_words(dimensions: usize) -> usize {
    dimensions.div_ceil(64)
}

/// One bit a dimension, set where the value is above `centre`; the last word is padded with zeros.
pub(crate) fn sign_code<'a>(
    vector: &'a [f32],
    centre: &'a [f32],
) -> impl Iterator<Item = u64> + 'a {
    vector
        .chunks(64)
        .zip(centre.chunks(64))
        .map(|(values, centres)| {
            values
                .iter()
                .zip(centres)
                .enumerate()
                .fold(0, |word, (bit, (v, c))| word | (u64::from(v > c) << bit))
        })
}

/// Dot product of two quantised vectors of the same length.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the sum of 4,096 products of 8-bit numbers is below 2^26; f32 keeps it to 1e-7"
)]
pub(crate) fn dot(a: &[i8], b: &[i8]) -> f32 {
    <i8 as simsimd::SpatialSimilarity>::dot(a, b).map_or(0.0, |sum| sum as f32)
}

/// Dot product of two vectors of the same length, in f32 throughout.
#[expect(clippy::cast_possible_truncation, reason = "a cosine, wanted in f32")]
pub(crate) fn dot_exact(a: &[f32], b: &[f32]) -> f32 {
    <f32 as simsimd::SpatialSimilarity>::dot(a, b).map_or(0.0, |sum| sum as f32)
}
