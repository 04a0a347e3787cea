//! One key: how it is made, hashed and named, and what its role allows.

use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// What every key begins with, so that people and scanners for leaked secrets know one.
pub const KEY_PREFIX: &str = "alfred_";
/// Longest name of a key, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// What a key may do; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Ask, read documents, list collections, see the status.
    Query,
    /// Also store and delete documents.
    Write,
    /// Also delete collections, reload, take profiles.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Query, Self::Write, Self::Admin];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A key from 32 random bytes: the prefix and 43 characters of base64url.
#[must_use]
pub fn mint(random: [u8; 32]) -> Secret {
    Secret::new(format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

/// The SHA-256 of a key's text.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of what a client presents.
    #[must_use]
    pub fn of(presented: &[u8]) -> Self {
        Self(Sha256::digest(presented).into())
    }

    /// From 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        Some(Self(bytes))
    }

    /// As 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// What a table may be looked into by: an attacker who learned all of it by timing would know 64
    /// bits of a hash, and nothing of a key.
    pub(super) fn short(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(first)
    }
}

/// In constant time.
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Digest(***)")
    }
}

/// Whether `name` may name a key: 1 to 64 characters of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`, beginning
/// with a letter or digit. A key itself is none, so that it does not end up in a log as a name.
///
/// # Errors
/// What a name has to be.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.starts_with(KEY_PREFIX) {
        return Err("must not begin as keys do, with `alfred_`");
    }
    let is_sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.len() <= MAX_NAME_BYTES && name.chars().all(is_sound) {
        return Ok(());
    }
    Err("must be 1 to 64 characters of a-z, A-Z, 0-9, ., _ and -, beginning with a letter or digit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_prefix_and_256_bits() {
        let key = mint([0xff; 32]);
        assert_eq!(key.reveal(), format!("alfred_{}8", "_".repeat(42)));
        assert_eq!(format!("{key:?}"), "Secret(***)");
        assert_ne!(mint([1; 32]).reveal(), mint([2; 32]).reveal());
    }

    #[test]
    fn the_hash_is_that_of_other_tools() {
        // printf %s abc | sha256sum
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = Digest::of(b"abc");
        assert_eq!(digest.hex(), known);
        assert!(Digest::parse(known) == Some(digest));
        assert!(Digest::parse(&known.to_uppercase()) == Some(digest));
        assert!(Digest::of(b"abd") != digest);
        for bad in ["", &known[1..], &known.replace('b', "g"), &"é".repeat(32)] {
            assert!(Digest::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{digest:?}"), "Digest(***)");
    }

    #[test]
    fn each_role_includes_the_ones_before_it() {
        assert!(Role::Query < Role::Write && Role::Write < Role::Admin);
        for role in Role::ALL {
            assert_eq!(Role::of_name(role.as_str()), Some(role));
        }
        assert_eq!(Role::of_name("root"), None);
    }

    #[test]
    fn names_are_short_and_plain() {
        for good in ["app", "a", "9", "Prod.web-1_a", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a b", "é", "a\n", &"x".repeat(65), "alfred_abc"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
