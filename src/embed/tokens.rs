//! Text to token ids, and the number of tokens of a text.

use tokenizers::Tokenizer;

/// The tokenizer of one model.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    limit: usize,
    /// The special token before and the one after a text.
    around: [i32; 2],
}

impl Tokens {
    /// From the bytes of `tokenizer.json`; `max_tokens` includes the special tokens.
    pub(super) fn new(json: &[u8], max_tokens: usize) -> Result<Self, String> {
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
        })
    }

    /// Special tokens of every text.
    pub(super) fn special_tokens(&self) -> usize {
        self.around.len()
    }

    /// The ids of `text` with the special tokens around them, at most `max_tokens` in all.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<i32>, String> {
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

    /// Tokens of `text`, special tokens and the limit left aside.
    pub(super) fn count(&self, text: &str) -> usize {
        self.tokenizer
            .encode_fast(text, false)
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
