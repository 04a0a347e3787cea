//! PURE: whether the bytes of an ONNX file can be what they say, asked before a library makes room for it.
//!
//! rten makes room for whatever length a field states, follows messages in messages by recursion, and multiplies
//! the dimensions that a tensor states: a few bytes could end the process. So every length is held here against
//! the bytes that there are, and depth and number of messages are bounded. Nothing is copied, and each byte is
//! looked at once.
//!
//! This says nothing of what a graph computes: it is a program, and is trusted for its digest or for its vectors
//! (`super::verify`).
//!
//! Sources: <https://protobuf.dev/programming-guides/encoding/>, and the numbers of fields in `onnx.proto3`. Only
//! messages that rten reads are entered; all else is skipped by rten too.

/// Deepest nesting of messages. A shape of an input is the seventh; each graph inside an operator takes three.
const DEPTH_MAX: usize = 32;
/// Most messages: each takes some 200 bytes in memory for as few as two in the file. The graph of
/// all-MiniLM-L6-v2 has 406.
const MESSAGES_MAX: usize = 200_000;
/// Most operators: rten goes from each to the one before by recursion, on the stack of whoever asks, which is one of
/// 2 MiB; a chain of 10,000 overflowed it. The graph of all-MiniLM-L6-v2, which has 6 layers, has 214.
pub(super) const OPERATORS_MAX: usize = 3_000;
/// Longest variable-length number, in bytes.
const VARINT_MAX_BYTES: usize = 10;

/// What is entered; any other message has nothing in it but numbers and strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Operator,
    Attribute,
    Tensor,
    Value,
    Type,
    TensorType,
    Sequence,
    Shape,
    Flat,
}

/// What a field of stated length holds.
#[derive(Clone, Copy)]
enum Content {
    Message(Message),
    /// Numbers of so many bytes each.
    Fixed(usize),
    Varints,
    /// A string, bytes, or a field that nobody reads.
    Bytes,
}

impl Message {
    fn content(self, field: u64) -> Content {
        let message = match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6) => Self::Graph,
            (Self::Graph, 1) => Self::Operator,
            (Self::Operator, 5) => Self::Attribute,
            (Self::Graph | Self::Attribute, 5) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::Value,
            (Self::Value, 2) | (Self::Sequence, 1) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::Type, 4) => Self::Sequence,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Model, 8 | 14) | (Self::Tensor, 13) | (Self::Shape, 1) => Self::Flat,
            (Self::Tensor, 4) => return Content::Fixed(4),
            (Self::Tensor, 10) => return Content::Fixed(8),
            (Self::Tensor, 5 | 7) => return Content::Varints,
            _ => return Content::Bytes,
        };
        Content::Message(message)
    }
}

/// A message that is being read.
struct Open {
    message: Message,
    /// Where it ends.
    end: usize,
    /// Of a tensor: how many numbers its dimensions make, a dimension of 0 left aside.
    elements: u64,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    messages: usize,
    operators: usize,
}

/// Whether every length and shape that `bytes`, an ONNX file, states is one that its size allows, with nesting
/// and numbers of messages within bounds.
///
/// # Errors
/// A sentence on the first thing that is not, and where.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    walk(bytes).map(drop)
}

fn walk(bytes: &[u8]) -> Result<Walk<'_>, String> {
    let mut walk = Walk {
        bytes,
        at: 0,
        messages: 0,
        operators: 0,
    };
    let mut open = vec![walk.enter(Message::Model, bytes.len())?];
    while let Some(innermost) = open.last_mut() {
        if walk.at == innermost.end {
            open.pop();
        } else if let Some(inner) = walk.field(innermost)? {
            if open.len() == DEPTH_MAX {
                return Err(walk.wrong(format!("messages are nested deeper than {DEPTH_MAX}")));
            }
            open.push(inner);
        }
    }
    Ok(walk)
}

impl Walk<'_> {
    fn wrong(&self, problem: impl std::fmt::Display) -> String {
        format!(
            "it is damaged or no ONNX file: {problem}, before byte {}",
            self.at
        )
    }

    fn enter(&mut self, message: Message, end: usize) -> Result<Open, String> {
        self.messages += 1;
        self.operators += usize::from(message == Message::Operator);
        if self.messages > MESSAGES_MAX || self.operators > OPERATORS_MAX {
            return Err(self.wrong(format!(
                "there are more than {OPERATORS_MAX} operators or {MESSAGES_MAX} messages"
            )));
        }
        Ok(Open {
            message,
            end,
            elements: 1,
        })
    }

    /// Reads one field of `open`, of which at least a byte is left; the message that begins there, if one does.
    fn field(&mut self, open: &mut Open) -> Result<Option<Open>, String> {
        let tag = self.varint(open.end)?;
        let field = tag >> 3;
        match tag & 7 {
            0 => {
                let value = self.varint(open.end)?;
                if (open.message, field) == (Message::Tensor, 1) {
                    self.dimension(open, value)?;
                }
            }
            1 => self.at = self.end_of(8, open.end)?,
            5 => self.at = self.end_of(4, open.end)?,
            2 => {
                let length = self.varint(open.end)?;
                let end = self.end_of(length, open.end)?;
                return self.stated(open.message.content(field), end);
            }
            kind => return Err(self.wrong(format!("a field is of the unknown kind {kind}"))),
        }
        Ok(None)
    }

    /// Reads what goes to `end`.
    fn stated(&mut self, content: Content, end: usize) -> Result<Option<Open>, String> {
        match content {
            Content::Message(message) => return self.enter(message, end).map(Some),
            Content::Bytes => self.at = end,
            Content::Fixed(size) if (end - self.at).is_multiple_of(size) => self.at = end,
            Content::Fixed(_) => return Err(self.wrong("a list ends within a number")),
            Content::Varints => {
                while self.at < end {
                    self.varint(end)?;
                }
            }
        }
        Ok(None)
    }

    /// A tensor has at least a byte for each of its numbers.
    fn dimension(&self, tensor: &mut Open, size: u64) -> Result<(), String> {
        tensor.elements = tensor.elements.saturating_mul(size.max(1));
        if tensor.elements > self.bytes.len() as u64 {
            return Err(self.wrong(format!(
                "a tensor states {} numbers, the file has {} bytes",
                tensor.elements,
                self.bytes.len()
            )));
        }
        Ok(())
    }

    /// Where `length` bytes from here end, which has to be within the message that ends at `end`.
    fn end_of(&self, length: u64, end: usize) -> Result<usize, String> {
        let left = end - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok(self.at + length),
            _ => Err(self.wrong(format!("a field states {length} bytes, {left} are left"))),
        }
    }

    fn varint(&mut self, end: usize) -> Result<u64, String> {
        let mut value = 0_u64;
        for index in 0..VARINT_MAX_BYTES {
            let byte = self.bytes[..end].get(self.at).copied();
            let byte = u64::from(byte.ok_or_else(|| self.wrong("a number is cut off"))?);
            self.at += 1;
            // Of the tenth byte there is room for one bit.
            if index + 1 == VARINT_MAX_BYTES && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << (7 * index);
            if byte <= 0x7f {
                return Ok(value);
            }
        }
        Err(self.wrong("a number is longer than 64 bits"))
    }
}

#[cfg(test)]
mod tests;
