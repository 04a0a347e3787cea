//! The unit that is embedded, searched and cited.

/// A part of a document, bounded in the model's own tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// 0-based position in the document.
    pub position: u32,
    /// Headings above it, outermost first; starts with the document's title when it has one.
    pub title_path: Vec<String>,
    /// 1-based page on which it starts, where the format has pages.
    pub page: Option<u32>,
    /// What is shown and cited. Never empty.
    pub text: String,
    /// Tokens of [`Chunk::embedding_text`], special tokens not counted.
    pub tokens: u32,
}

impl Chunk {
    /// What the model reads and the text index holds: the title path, then the text.
    #[must_use]
    pub fn embedding_text(&self) -> String {
        if self.title_path.is_empty() {
            return self.text.clone();
        }
        format!("{}\n{}", self.title_line(), self.text)
    }

    /// The title path on one line: `Operating > Upgrading`.
    #[must_use]
    pub fn title_line(&self) -> String {
        self.title_path.join(" > ")
    }
}
