use super::*;
use proptest::prelude::*;

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";

fn refused(bytes: &[u8]) -> Refusal {
    match Framing::new(1024).advance(bytes) {
        Step::Refuse(refused) => refused.why,
        step => panic!("{step:?} for {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Runs `bytes` through in pieces of `size`; returns (heads, body bytes) or the refusal.
fn run(bytes: &[u8], size: usize) -> Result<(usize, usize), Refusal> {
    let mut framing = Framing::new(1024);
    let (mut pending, mut heads, mut body) = (Vec::new(), 0, 0);
    for piece in bytes.chunks(size) {
        pending.extend_from_slice(piece);
        while !pending.is_empty() {
            match framing.advance(&pending) {
                Step::Head(n) => {
                    heads += 1;
                    pending.drain(..n);
                }
                Step::Body(n) => {
                    body += n;
                    pending.drain(..n);
                }
                Step::More => break,
                Step::Refuse(refused) => return Err(refused.why),
            }
        }
    }
    Ok((heads, body))
}

#[test]
fn finds_requests_however_the_bytes_arrive() {
    let mut bytes = GET.to_vec();
    bytes.extend_from_slice(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    bytes
        .extend_from_slice(b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n");
    let chunked = b"5;x=y\r\nhello\r\n1 \r\n!\r\n0\r\na: b\r\n\r\n";
    bytes.extend_from_slice(chunked);
    bytes.extend_from_slice(b"GET /x HTTP/1.1\nhost: a\n\n");
    for size in [1, 2, 3, 7, 64, 4096] {
        assert_eq!(
            run(&bytes, size),
            Ok((4, 5 + chunked.len())),
            "pieces of {size}"
        );
    }
}

#[test]
fn refuses_what_can_be_read_in_two_ways() {
    let cases: &[(&str, &str)] = &[
        (
            "content-length: 3\r\ntransfer-encoding: chunked",
            "must not come together",
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 3",
            "must not come together",
        ),
        ("content-length: 3\r\ncontent-length: 4", "not one number"),
        ("content-length: +3", "not one number"),
        ("content-length: 3, 3", "not one number"),
        ("transfer-encoding: gzip, chunked", "must be `chunked`"),
        ("transfer-encoding: identity", "must be `chunked`"),
        ("host: b", "several `host`"),
    ];
    for (headers, problem) in cases {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n");
        let Refusal::BadHead(text) = refused(head.as_bytes()) else {
            panic!("{headers}: another refusal");
        };
        assert!(text.contains(problem), "{headers}: {text}");
    }
}

#[test]
fn refuses_malformed_heads() {
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        "\u{16}\u{3}\u{1}hello\r\n\r\n",
    ] {
        assert!(
            matches!(refused(head.as_bytes()), Refusal::BadHead(_)),
            "{head:?}"
        );
    }
    assert_eq!(
        run(b"GET / HTTP/1.0\r\n\r\n", 64),
        Ok((1, 0)),
        "HTTP/1.0 needs no host"
    );
}

#[test]
fn refuses_large_heads_before_and_after_their_end() {
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(2000));
    assert!(matches!(refused(long.as_bytes()), Refusal::HeadTooLarge(_)));
    assert!(matches!(
        refused((long + "\r\n\r\n").as_bytes()),
        Refusal::HeadTooLarge(_)
    ));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a:b\r\n".repeat(101));
    assert!(matches!(refused(many.as_bytes()), Refusal::HeadTooLarge(_)));
    assert!(
        matches!(refused(&b"\r\n".repeat(600)), Refusal::HeadTooLarge(_)),
        "blank lines"
    );
}

#[test]
fn keeps_the_request_id_of_a_refused_head() {
    let head = b"GET / HTTP/1.1\r\nx-request-id: abc\r\n\r\n";
    let Step::Refuse(refused) = Framing::new(1024).advance(head) else {
        panic!("not refused")
    };
    assert_eq!(refused.request_id.as_deref(), Some(&b"abc"[..]));
}

#[test]
fn refuses_bad_chunks() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "5\nhello\r\n",
        "5\r\nhelloX",
        "5\r\nhello\n0\r\n\r\n",
        "1000000000000000\r\n",
        "0\r\na\n\r\n",
    ] {
        let bytes = format!("{head}{body}");
        assert_eq!(
            run(bytes.as_bytes(), 4096),
            Err(Refusal::BadChunk),
            "{body:?}"
        );
    }
}

proptest! {
    #[test]
    fn never_panics_and_never_passes_more_than_there_is(bytes: Vec<u8>, size in 1usize..50) {
        if let Ok((_, body)) = run(&bytes, size) {
            prop_assert!(body <= bytes.len());
        }
    }
}
