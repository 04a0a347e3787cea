//! Text to token ids, and the number of tokens of a text.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use tokenizers::Tokenizer;

/// Most words whose number of tokens is remembered: some 5 MB, more than most corpora have.
const WORDS_MAX: usize = 50_000;
/// Longest word that is remembered, in bytes.
const WORD_MAX_BYTES: usize = 32;

/// The tokenizer of one model.
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
    limit: usize,
    /// The special token before and the one after a text.
    around: [i32; 2],
    /// Tokens of words seen before: counting them again would take most of a chunker's time.
    words: RwLock<HashMap<Box<str>, usize>>,
}

impl Tokens {
    /// From the bytes of `tokenizer.json`; `max_tokens` includes the special tokens.
    pub(crate) fn new(json: &[u8], max_tokens: usize) -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|error| error.to_string())?;
        // What the file says of padding and truncation is for another use of the model.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| error.to_string())?;
        let around = special_tokens(&tokenizer)?;
        Ok(Self {
            tokenizer,
            limit: max_tokens,
            around,
            words: RwLock::default(),
        })
    }

    /// Special tokens of every text.
    pub(crate) fn special_tokens(&self) -> usize {
        self.around.len()
    }

    /// The ids of `text` with the special tokens around them, at most `max_tokens` in all.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<i32>, String> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| error.to_string())?;
        let kept = encoding
            .get_ids()
            .iter()
            .take(self.limit - self.around.len());
        let mut ids = Vec::with_capacity(kept.len() + self.around.len());
        ids.push(self.around[0]);
        for id in kept {
            ids.push(to_i32(*id)?);
        }
        ids.push(self.around[1]);
        Ok(ids)
    }

    /// Tokens of `text`, special tokens and the limit left aside: the sum over its words, since
    /// the tokenizer never joins what one of these four characters separates. (Other white space
    /// may be dropped by it, and then does join.)
    pub(crate) fn count(&self, text: &str) -> usize {
        let mut total = 0;
        let mut new = Vec::new();
        let words = self.words.read().unwrap_or_else(PoisonError::into_inner);
        for word in text.split([' ', '\n', '\t', '\r']) {
            match words.get(word) {
                Some(count) => total += count,
                None if word.is_empty() => {}
                None => new.push(word),
            }
        }
        let room = WORDS_MAX.saturating_sub(words.len());
        drop(words);
        let counted = new.into_iter().map(|word| (word, self.count_word(word)));
        let counted: Vec<(&str, usize)> = counted.collect();
        total += counted.iter().map(|(_, count)| count).sum::<usize>();
        if room > 0 && !counted.is_empty() {
            let mut words = self.words.write().unwrap_or_else(PoisonError::into_inner);
            let kept = counted
                .into_iter()
                .filter(|(word, _)| word.len() <= WORD_MAX_BYTES);
            words.extend(kept.take(room).map(|(word, count)| (word.into(), count)));
        }
        total
    }

    fn count_word(&self, word: &str) -> usize {
        self.tokenizer
            .encode_fast(word, false)
            .map_or(0, |encoding| encoding.len())
    }
}

fn special_tokens(tokenizer: &Tokenizer) -> Result<[i32; 2], String> {
    let empty = tokenizer
        .encode_fast("", true)
        .map_err(|error| error.to_string())?;
    match empty.get_ids() {
        [before, after] => Ok([to_i32(*before)?, to_i32(*after)?]),
        ids => Err(format!(
            "it puts {} special tokens around a text, not one before and one after",
            ids.len()
        )),
    }
}

fn to_i32(id: u32) -> Result<i32, String> {
    i32::try_from(id).map_err(|_| format!("token id {id} is out of range"))
}
