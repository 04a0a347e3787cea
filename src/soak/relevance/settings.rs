//! What is said of relevance: a file of judgments, and where answers have their sources.

use super::SourcePointer;
use crate::soak::settings::ScenarioError;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;

/// The keys `relevance` and `relevance.pointer` of a scenario; `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelevanceSettings {
    /// The file of judgments.
    pub file: Option<PathBuf>,
    /// Where answers have their sources; default [`super::DEFAULT_POINTER`].
    pub pointer: Option<SourcePointer>,
}

impl RelevanceSettings {
    /// These, and what they leave open from `base`.
    #[must_use]
    pub fn or(self, base: Self) -> Self {
        Self {
            file: self.file.or(base.file),
            pointer: self.pointer.or(base.pointer),
        }
    }
}

impl<'de> Deserialize<'de> for RelevanceSettings {
    /// A file, or a table with `file` and `pointer`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            file: Option<PathBuf>,
            pointer: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a file, or a table with the keys file and pointer"
        )]
        enum Said {
            File(PathBuf),
            Table(Table),
        }
        Ok(match Said::deserialize(deserializer)? {
            Said::File(file) => Self {
                file: Some(file),
                pointer: None,
            },
            Said::Table(Table { file, pointer }) => Self {
                file,
                pointer: pointer
                    .map(|text| text.parse().map_err(serde::de::Error::custom))
                    .transpose()?,
            },
        })
    }
}

/// What answers are held against, complete and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relevance {
    /// The file of judgments, absolute.
    pub file: PathBuf,
    /// Where answers have their sources.
    pub pointer: SourcePointer,
}

impl Relevance {
    /// Fills in defaults; `None` when nothing is to be looked at.
    ///
    /// # Errors
    /// When a pointer is said and no file.
    pub fn resolve(settings: Option<RelevanceSettings>) -> Result<Option<Self>, ScenarioError> {
        let Some(RelevanceSettings { file, pointer }) = settings else {
            return Ok(None);
        };
        let Some(file) = file else {
            let problem = "a pointer to sources is of no use without a file of judgments: name it \
                           with --relevance FILE";
            return Err(ScenarioError::Value(problem.to_owned()));
        };
        Ok(Some(Self {
            file: std::path::absolute(&file).unwrap_or(file),
            pointer: pointer.unwrap_or_default(),
        }))
    }
}

/// What answers were held against, as `run.json` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelevanceRecord {
    /// The file of judgments.
    pub file: String,
    /// Where answers had their sources.
    pub pointer: String,
    /// Digest of the judgments.
    pub blake3: String,
    /// Queries of the query set that have one.
    pub queries: u64,
}

impl RelevanceRecord {
    /// The settings that it was made with.
    ///
    /// # Errors
    /// When the pointer cannot be read.
    pub fn settings(&self) -> Result<RelevanceSettings, String> {
        Ok(RelevanceSettings {
            file: Some(PathBuf::from(&self.file)),
            pointer: Some(self.pointer.parse()?),
        })
    }
}
