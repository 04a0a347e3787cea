//! PURE: the key and the bytes of a vector in the shared cache.
//!
//! A value is one byte of version, the tokens as `u32`, then the values as `f32`, all little-endian.
//! What does not have exactly this form, or is no vector of unit length, is no value: several
//! programs can write to the same server, and what they wrote must not reach a search.

use crate::domain::{Embedding, ModelId};

/// Goes up when the form of keys or values changes, or how text is normalised before it is hashed.
const VERSION: u8 = 1;
/// Version and tokens.
const HEAD_BYTES: usize = 5;

/// The key of `text`, which is normalised: what is asked is not readable from it.
pub(crate) fn key(model: &ModelId, text: &str) -> String {
    let hash = blake3::hash(text.as_bytes()).to_hex();
    let ModelId { name, dimensions } = model;
    format!("{}:{name}:{dimensions}:{hash}", prefix())
}

/// What all keys begin with, for access rules and for counting.
pub(crate) fn prefix() -> String {
    format!("alfred:q{VERSION}")
}

/// How long the value of a vector of `dimensions` is.
pub(crate) fn value_bytes(dimensions: usize) -> usize {
    HEAD_BYTES + dimensions * size_of::<f32>()
}

/// A vector and its tokens as a value; more than `u32::MAX` tokens count as that.
pub(crate) fn encode(vector: &Embedding, tokens: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(value_bytes(vector.dimensions()));
    value.push(VERSION);
    value.extend(u32::try_from(tokens).unwrap_or(u32::MAX).to_le_bytes());
    value.extend(vector.as_slice().iter().flat_map(|one| one.to_le_bytes()));
    value
}

/// The vector and its tokens, if `value` is that of a vector of `dimensions`.
pub(crate) fn decode(value: &[u8], dimensions: usize) -> Option<(Embedding, u64)> {
    if value.len() != value_bytes(dimensions) {
        return None;
    }
    let (&[version], rest) = value.split_first_chunk::<1>()?;
    let (tokens, values) = rest.split_first_chunk::<4>()?;
    if version != VERSION {
        return None;
    }
    let (values, _) = values.as_chunks::<4>();
    let values = values.iter().map(|one| f32::from_le_bytes(*one)).collect();
    let vector = Embedding::of_unit_length(values).ok()?;
    Some((vector, u64::from(u32::from_le_bytes(*tokens))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector(values: &[f32]) -> Embedding {
        Embedding::normalised(values.to_vec()).unwrap()
    }

    #[test]
    fn the_key_names_the_model_and_hides_the_text() {
        let model = |name: &str, dimensions| ModelId {
            name: name.to_owned(),
            dimensions,
        };
        let mini = key(&model("mini", 384), "my secret");
        assert!(mini.starts_with("alfred:q1:mini:384:"), "{mini}");
        assert!(!mini.contains("secret"), "{mini}");
        assert_ne!(mini, key(&model("mini", 385), "my secret"));
        assert_ne!(mini, key(&model("maxi", 384), "my secret"));
        assert_ne!(mini, key(&model("mini", 384), "my secret?"));
    }

    #[test]
    fn what_is_no_vector_is_no_value() {
        let good = encode(&vector(&[3.0, 4.0]), 7);
        assert_eq!(good.len(), value_bytes(2));
        assert_eq!(decode(&good, 2), Some((vector(&[3.0, 4.0]), 7)));
        let with = |at: usize, bytes: &[u8]| {
            let mut value = good.clone();
            value[at..at + bytes.len()].copy_from_slice(bytes);
            value
        };
        for (what, value) in [
            ("empty", Vec::new()),
            ("cut", good[..good.len() - 1].to_vec()),
            ("longer", [good.as_slice(), &[0]].concat()),
            ("another version", with(0, &[9])),
            ("NaN", with(5, &f32::NAN.to_le_bytes())),
            ("infinite", with(5, &f32::INFINITY.to_le_bytes())),
            ("too long a vector", with(5, &2.0_f32.to_le_bytes())),
            ("zeros", with(5, &[0; 8])),
        ] {
            assert_eq!(decode(&value, 2), None, "{what}");
        }
        assert_eq!(decode(&good, 3), None, "other dimensions");
    }

    proptest! {
        #[test]
        fn vectors_come_back_bit_for_bit(
            values in proptest::collection::vec(-1e3_f32..1e3, 1..600), tokens in any::<u32>(),
        ) {
            prop_assume!(values.iter().any(|value| *value != 0.0));
            let vector = vector(&values);
            let (back, counted) =
                decode(&encode(&vector, tokens.into()), values.len()).unwrap();
            let bits = |vector: &Embedding| -> Vec<u32> {
                vector.as_slice().iter().map(|value| value.to_bits()).collect()
            };
            prop_assert_eq!((bits(&back), counted), (bits(&vector), u64::from(tokens)));
        }

        #[test]
        fn any_bytes_are_a_unit_vector_or_nothing(
            value in proptest::collection::vec(any::<u8>(), 0..64), dimensions in 0_usize..16,
        ) {
            if let Some((vector, _)) = decode(&value, dimensions) {
                prop_assert!((vector.cosine(&vector) - 1.0).abs() < 1e-3);
            }
        }
    }
}
