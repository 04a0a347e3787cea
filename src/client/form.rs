//! What a request looks like on the wire: everything but path and body is written down once.

use http::{HeaderMap, Method, header};
use std::io::Write as _;

/// A request without its path and its body.
#[derive(Clone, Debug)]
pub struct Form {
    method: Method,
    /// From the blank after the path to the last of the header fields.
    rest: Vec<u8>,
    chunked: bool,
}

impl Form {
    /// With these `headers`, `Host` among them. A `Content-Length` among them gives way to the true
    /// one; with `Transfer-Encoding: chunked` the body goes out as one chunk.
    #[must_use]
    pub fn new(method: Method, headers: &HeaderMap) -> Self {
        let mut rest = b" HTTP/1.1\r\n".to_vec();
        for (name, value) in headers {
            if name != header::CONTENT_LENGTH {
                rest.extend_from_slice(name.as_str().as_bytes());
                rest.extend_from_slice(b": ");
                rest.extend_from_slice(value.as_bytes());
                rest.extend_from_slice(b"\r\n");
            }
        }
        let coding = headers
            .get_all(header::TRANSFER_ENCODING)
            .iter()
            .next_back();
        let chunked = coding.is_some_and(|coding| {
            let coding = coding.as_bytes().to_ascii_lowercase();
            coding.trim_ascii().ends_with(b"chunked")
        });
        Self {
            method,
            rest,
            chunked,
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Appends the whole request to `into`. `path` is in origin form and has been checked.
    pub fn write(&self, into: &mut Vec<u8>, path: &str, body: &[u8]) {
        into.extend_from_slice(self.method.as_str().as_bytes());
        into.push(b' ');
        into.extend_from_slice(path.as_bytes());
        into.extend_from_slice(&self.rest);
        let length = body.len();
        // Writing to a vector never fails.
        if self.chunked {
            let _ = write!(into, "\r\n");
            if length > 0 {
                let _ = write!(into, "{length:x}\r\n");
                into.extend_from_slice(body);
                let _ = write!(into, "\r\n");
            }
            let _ = write!(into, "0\r\n\r\n");
            return;
        }
        let is_bodyless = matches!(self.method, Method::GET | Method::HEAD | Method::CONNECT);
        if length > 0 || !is_bodyless {
            let _ = write!(into, "content-length: {length}\r\n");
        }
        into.extend_from_slice(b"\r\n");
        into.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(method: Method, fields: &[(&'static str, &'static str)], body: &[u8]) -> String {
        let fields = fields.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        });
        let mut into = Vec::new();
        Form::new(method, &fields.collect()).write(&mut into, "/a?b", body);
        String::from_utf8(into).unwrap()
    }

    #[test]
    fn the_length_is_always_the_true_one() {
        assert_eq!(
            written(
                Method::POST,
                &[("host", "x"), ("content-length", "9")],
                b"hello"
            ),
            "POST /a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
        );
        assert_eq!(
            written(Method::GET, &[("host", "x")], b""),
            "GET /a?b HTTP/1.1\r\nhost: x\r\n\r\n"
        );
        assert!(written(Method::POST, &[], b"").contains("\r\ncontent-length: 0\r\n\r\n"));
    }

    #[test]
    fn a_chunked_body_is_one_chunk() {
        let coded = [("transfer-encoding", "chunked")];
        assert_eq!(
            written(Method::POST, &coded, b"0123456789abcdef0"),
            "POST /a?b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
             11\r\n0123456789abcdef0\r\n0\r\n\r\n"
        );
        assert!(written(Method::POST, &coded, b"").ends_with("\r\n\r\n0\r\n\r\n"));
    }
}
