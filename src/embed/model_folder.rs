//! A model on disk: `model.onnx`, `tokenizer.json`, `LICENSE`, and `model.json` that describes them.
//!
//! Two checks, because they answer two questions. **At every start** each file that is loaded must
//! have the size and the BLAKE3 digest that `model.json` states: that finds a cut, damaged or
//! half-replaced file, and costs little since the bytes are read anyway. **`alfred model verify`**,
//! and every pull, also compare the SHA-256 digests with those pinned in this binary, which finds
//! a model that is whole but not the published one, and has the model embed texts whose vectors are
//! known ([`super::verify`]).

use super::EmbedError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The model that is used where none is named.
pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";
/// The file that describes the others.
pub const ABOUT_FILE: &str = "model.json";
/// The graph with its weights.
pub const GRAPH_FILE: &str = "model.onnx";
/// The tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// Under which terms the weights may be used.
pub const LICENSE_FILE: &str = "LICENSE";
/// Largest `model.json`; a real one is about 1 KB.
const ABOUT_MAX_BYTES: u64 = 64 * 1024;
/// Largest file of a model: rten reads the graph into memory whole.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// What `model.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The model's name, which is also its folder's.
    pub name: String,
    /// Length of its vectors.
    pub dimensions: usize,
    /// Most tokens that it reads of one text, special tokens included; the rest is cut.
    pub max_tokens: usize,
    /// How the states of the tokens become one vector.
    pub pooling: Pooling,
    /// SPDX expression of the weights' licence.
    pub license: String,
    /// Where the weights are from.
    pub source: String,
    /// The other files of the folder.
    pub files: BTreeMap<String, FileAbout>,
}

/// How the states of the tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean, padding left out.
    Mean,
}

/// Size and digests of one file, digests in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAbout {
    /// Its size.
    pub bytes: u64,
    /// For people and pins.
    pub sha256: String,
    /// For the check at every start.
    pub blake3: String,
}

impl FileAbout {
    /// Measures `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
            blake3: blake3::hash(bytes).to_hex().to_string(),
        }
    }
}

/// Lower-case hexadecimal of a digest.
fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A model folder whose description has been read and makes sense.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
    about: About,
}

impl ModelFolder {
    /// Reads `path/model.json`; the other files are checked when they are read.
    ///
    /// # Errors
    /// [`EmbedError::Model`] when there is no such folder or its description makes no sense.
    pub fn open(path: &Path) -> Result<Self, EmbedError> {
        let failed = |problem: String| EmbedError::Model {
            model: folder_name(path),
            path: path.to_owned(),
            problem,
        };
        if !path.is_dir() {
            return Err(failed("there is no such folder".to_owned()));
        }
        let text = read_bounded(&path.join(ABOUT_FILE), ABOUT_MAX_BYTES)
            .map_err(|error| failed(format!("{ABOUT_FILE}: {error}")))?;
        let about: About = serde_json::from_slice(&text)
            .map_err(|error| failed(format!("{ABOUT_FILE} is malformed: {error}")))?;
        about
            .check()
            .map_err(|problem| failed(format!("{ABOUT_FILE}: {problem}")))?;
        Ok(Self {
            path: path.to_owned(),
            about,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The bytes of `file`, after its size and BLAKE3 digest were found to be right.
    ///
    /// # Errors
    /// [`EmbedError::Model`] when the file is missing, cut or damaged.
    pub fn read_checked(&self, file: &str) -> Result<Vec<u8>, EmbedError> {
        let expected = self
            .about
            .files
            .get(file)
            .ok_or_else(|| self.problem(format!("{ABOUT_FILE} does not list {file}")))?;
        let bytes = read_bounded(&self.path.join(file), FILE_MAX_BYTES)
            .map_err(|error| self.problem(format!("{file}: {error}")))?;
        if bytes.len() as u64 != expected.bytes {
            return Err(self.problem(format!(
                "{file} is cut or not the right one: it is {} bytes, not {}",
                bytes.len(),
                expected.bytes
            )));
        }
        let found = blake3::hash(&bytes).to_hex();
        if found.as_str() != expected.blake3 {
            return Err(self.problem(format!(
                "{file} is damaged: its BLAKE3 digest is {found}, not {}",
                expected.blake3
            )));
        }
        Ok(bytes)
    }

    /// Checks that every file is there, whole and undamaged, as a start would.
    ///
    /// # Errors
    /// [`EmbedError::Model`] naming the first file that is not right.
    pub fn check_files(&self) -> Result<(), EmbedError> {
        for file in self.about.files.keys() {
            self.read_checked(file)?;
        }
        Ok(())
    }

    /// Checks every file against both digests of `model.json`.
    ///
    /// # Errors
    /// [`EmbedError::Model`] naming the first file that is not right.
    pub fn check_digests(&self) -> Result<(), EmbedError> {
        for (file, expected) in &self.about.files {
            let found = hex(&Sha256::digest(self.read_checked(file)?));
            if found != expected.sha256 {
                return Err(self.problem(format!(
                    "{file} is not the right one: its SHA-256 digest is {found}, not {}",
                    expected.sha256
                )));
            }
        }
        Ok(())
    }

    pub(super) fn problem(&self, problem: String) -> EmbedError {
        EmbedError::Model {
            model: self.about.name.clone(),
            path: self.path.clone(),
            problem,
        }
    }
}

impl About {
    /// Most tokens that any model here may read: attention is quadratic in them.
    const MAX_TOKENS: usize = 8_192;

    /// # Errors
    /// A sentence on the first field that makes no sense.
    pub fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        if !(1..=crate::domain::Embedding::MAX_DIMENSIONS).contains(&self.dimensions) {
            return Err(format!("`dimensions` is {}", self.dimensions));
        }
        if !(8..=Self::MAX_TOKENS).contains(&self.max_tokens) {
            return Err(format!("`max_tokens` is {}", self.max_tokens));
        }
        for file in [GRAPH_FILE, TOKENIZER_FILE] {
            if !self.files.contains_key(file) {
                return Err(format!("`files` does not list {file}"));
            }
        }
        for file in self.files.keys() {
            check_name(file)?;
        }
        Ok(())
    }
}

/// Refuses names that could leave their folder: letters, digits, `.`, `_` and `-` are allowed, and
/// the first may not be a dot.
///
/// # Errors
/// A sentence on what is wrong.
pub fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.chars().all(allowed) {
        return Err(format!(
            "{name:?} is no name: 1 to 128 letters, digits, `.`, `_` and `-` are, not starting \
             with a dot"
        ));
    }
    Ok(())
}

fn folder_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || DEFAULT_MODEL.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn read_bounded(path: &Path, max_bytes: u64) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > max_bytes {
        return Err(std::io::Error::other(format!(
            "is {bytes} bytes, over the limit of {max_bytes}"
        )));
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.take(max_bytes).read_to_end(&mut content)?;
    Ok(content)
}
