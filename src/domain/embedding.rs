//! Vectors of unit length, and the model that made them.

use super::LimitError;

/// A finite vector scaled to unit length, so that a dot product is the cosine.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// Most dimensions that any store accepts.
    pub const MAX_DIMENSIONS: usize = 4_096;
    /// How far from 1 a length may be: rounding to `f32` leaves some 1e-7.
    pub const UNIT_TOLERANCE: f64 = 1e-4;

    /// Normalises `values` (length 1 to 4,096).
    ///
    /// # Errors
    /// When there are none or too many values, one is not finite, or all are zero.
    pub fn normalised(mut values: Vec<f32>) -> Result<Self, LimitError> {
        if values.is_empty() || values.len() > Self::MAX_DIMENSIONS {
            let problem = format!(
                "must have 1 to {} dimensions, got {}",
                Self::MAX_DIMENSIONS,
                values.len()
            );
            return Err(LimitError::new("embedding", problem));
        }
        let norm = values
            .iter()
            .map(|v| f64::from(*v) * f64::from(*v))
            .sum::<f64>()
            .sqrt();
        if !norm.is_finite() || norm == 0.0 {
            return Err(LimitError::new(
                "embedding",
                "must be finite and not all zero",
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the norm of f32 values is scaled back"
        )]
        for value in &mut values {
            *value = (f64::from(*value) / norm) as f32;
        }
        Ok(Self(values.into_boxed_slice()))
    }

    /// Takes `values` as they are, bit for bit: a vector that was normalised before, and kept.
    ///
    /// # Errors
    /// As [`Embedding::normalised`], and when the length is not 1 within
    /// [`Embedding::UNIT_TOLERANCE`].
    pub fn of_unit_length(values: Vec<f32>) -> Result<Self, LimitError> {
        let squares: f64 = values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        if (squares.sqrt() - 1.0).abs() <= Self::UNIT_TOLERANCE
            && values.len() <= Self::MAX_DIMENSIONS
        {
            return Ok(Self(values.into_boxed_slice()));
        }
        // A sum that is not a number is not near 1 either.
        Err(LimitError::new(
            "embedding",
            "must be finite and of length 1",
        ))
    }

    /// The values, `dimensions` of them.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// How many dimensions.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.0.len()
    }

    /// Cosine similarity, -1 to 1, with a vector of the same dimensions.
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f32 {
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }
}

/// Which model made a vector; vectors of different models are never mixed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelId {
    /// The model's name, as `all-MiniLM-L6-v2` or `text-embedding-3-small`.
    pub name: String,
    /// Length of its vectors.
    pub dimensions: usize,
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({} dimensions)", self.name, self.dimensions)
    }
}
