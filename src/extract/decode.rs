//! Bytes of a text format to characters: byte order marks, declared encodings, binary files.

use super::ExtractError;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::borrow::Cow;

/// How far into an HTML file an encoding may be declared; browsers read as far (HTML, "prescan a
/// byte stream to determine its encoding").
const DECLARATION_BYTES: usize = 1_024;

/// A file with more control characters than one in this many is binary.
const CONTROL_RATIO: usize = 20;

/// Decodes text in UTF-8, or in UTF-16 with a byte order mark. Line ends become `\n`.
pub(super) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, ExtractError> {
    decode(bytes, None)
}

/// As [`text`], and an encoding that the file itself declares is believed.
pub(super) fn html(bytes: &[u8]) -> Result<Cow<'_, str>, ExtractError> {
    decode(bytes, declared_encoding(bytes))
}

fn decode<'a>(
    bytes: &'a [u8],
    declared: Option<&'static Encoding>,
) -> Result<Cow<'a, str>, ExtractError> {
    let marked = Encoding::for_bom(bytes);
    let (encoding, start) = marked.unwrap_or((declared.unwrap_or(UTF_8), 0));
    let body = bytes.get(start..).unwrap_or_default();
    let wide = encoding == UTF_16LE || encoding == UTF_16BE;
    if !wide && let Some(found) = binary_byte(body) {
        return Err(binary(found, start));
    }
    let decoded = if encoding == UTF_8 {
        let text = std::str::from_utf8(body).map_err(|error| ExtractError::NotUtf8 {
            offset: start + error.valid_up_to(),
        })?;
        Cow::Borrowed(text)
    } else {
        encoding
            .decode_without_bom_handling_and_without_replacement(body)
            .ok_or(ExtractError::NotUtf8 { offset: start })?
    };
    if wide && let Some(found) = binary_byte(decoded.as_bytes()) {
        return Err(binary(found, start));
    }
    if decoded.trim().is_empty() {
        return Err(ExtractError::Empty);
    }
    Ok(unix_line_ends(decoded))
}

fn binary((offset, byte): (usize, u8), start: usize) -> ExtractError {
    ExtractError::Binary {
        offset: offset + start,
        byte,
    }
}

/// The first byte that shows `bytes` to be no text, if there is one.
fn binary_byte(bytes: &[u8]) -> Option<(usize, u8)> {
    if let Some(offset) = bytes.iter().position(|&byte| byte == 0) {
        return Some((offset, 0));
    }
    // Tab, line ends, form feed and escape (terminal colours in logs) are text.
    let control = |byte: u8| matches!(byte, 0x01..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f);
    let controls = bytes.iter().filter(|&&byte| control(byte)).count();
    if controls * CONTROL_RATIO <= bytes.len() {
        return None;
    }
    let offset = bytes.iter().position(|&byte| control(byte))?;
    Some((offset, *bytes.get(offset)?))
}

/// `charset=…` of a `meta` element, or `encoding="…"` of an XML declaration.
fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..DECLARATION_BYTES).unwrap_or(bytes);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let after = |marker: &str, from: usize| {
        let rest = head.get(from..)?;
        rest.find(marker)
            .and_then(|at| rest.get(at + marker.len()..))
    };
    let label = head
        .find("<meta")
        .and_then(|meta| after("charset=", meta))
        .or_else(|| {
            head.trim_start()
                .starts_with("<?xml")
                .then(|| after("encoding=", 0))?
        })?;
    let label = label.trim_start_matches(['"', '\'', ' ']);
    let end = label
        .find(|c: char| matches!(c, '"' | '\'' | '>' | ';' | '/' | '?') || c.is_whitespace())
        .unwrap_or(label.len());
    let encoding = Encoding::for_label(label.get(..end)?.as_bytes())?;
    // A file whose declaration is readable byte by byte is not in UTF-16 (HTML says the same).
    Some(match encoding {
        wide if wide == UTF_16LE || wide == UTF_16BE => UTF_8,
        other => other,
    })
}

fn unix_line_ends(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_with_a_mark_is_decoded() {
        let mut bytes = vec![0xff, 0xfe];
        bytes.extend("Grüße\r\nzwei".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(text(&bytes).as_deref(), Ok("Grüße\nzwei"));
        let mut bytes = vec![0xfe, 0xff];
        bytes.extend("Grüße".encode_utf16().flat_map(u16::to_be_bytes));
        assert_eq!(text(&bytes).as_deref(), Ok("Grüße"));
    }

    #[test]
    fn utf8_mark_is_dropped() {
        assert_eq!(text(b"\xef\xbb\xbfword").as_deref(), Ok("word"));
    }

    #[test]
    fn what_is_not_text_is_refused_with_its_place() {
        let refused = |bytes: &[u8]| text(bytes).unwrap_err();
        assert_eq!(refused(b" \n\t"), ExtractError::Empty);
        assert_eq!(refused(b""), ExtractError::Empty);
        assert_eq!(
            refused(b"ab\0c"),
            ExtractError::Binary { offset: 2, byte: 0 }
        );
        assert_eq!(
            refused(b"caf\xe9 au lait"),
            ExtractError::NotUtf8 { offset: 3 }
        );
        assert!(matches!(
            refused(&[1, 2, 3, 4, 5, b'a', b'b']),
            ExtractError::Binary { offset: 0, byte: 1 }
        ));
    }

    #[test]
    fn a_log_with_colours_is_text() {
        assert!(text(b"\x1b[32mINFO\x1b[0m started\n").is_ok());
    }

    #[test]
    fn declared_encodings_are_believed() {
        let page = b"<html><meta http-equiv=x content='text/html; charset=ISO-8859-1'>caf\xe9";
        assert!(html(page).unwrap().ends_with("café"));
        let page = b"<?xml version='1.0' encoding='windows-1252'?><html>\x80</html>";
        assert!(html(page).unwrap().contains('€'));
        let page = b"<html><body>caf\xe9";
        assert!(matches!(html(page), Err(ExtractError::NotUtf8 { .. })));
    }
}
