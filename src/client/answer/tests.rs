//! Answers as servers send them and as they should not, split in every way; and the same for hyper.

use super::*;
use http::Method;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LIMITS: BodyLimits = BodyLimits {
    max_bytes: 1_000_000,
    keep_bytes: 1_000,
};

/// What an answer comes to: status, body, whether the connection may stay, bytes behind it.
type Read = (u16, Option<Vec<u8>>, bool, usize);

/// Feeds `pieces`, then the end of the connection.
fn read_pieces<'a>(
    method: &Method,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Read, String> {
    let mut answer = Answer::new(method, LIMITS);
    let mut rest = Vec::new();
    let mut is_done = false;
    for piece in pieces {
        rest.extend_from_slice(piece);
        if !is_done {
            let fed = answer.feed(&rest).map_err(|fault| format!("{fault:?}"))?;
            rest.drain(..fed.used);
            is_done = fed.is_done;
        }
    }
    if !is_done && !answer.end(&rest).map_err(|fault| format!("{fault:?}"))? {
        return Err("short".to_owned());
    }
    let body = answer.body().map(<[u8]>::to_vec);
    Ok((answer.status(), body, answer.keep_alive(), rest.len()))
}

fn read(bytes: &[u8]) -> Result<Read, String> {
    read_pieces(&Method::POST, [bytes])
}

fn body_of(bytes: &[u8]) -> Vec<u8> {
    read(bytes).unwrap().1.unwrap()
}

/// Answers of every kind, good and bad.
const ANSWERS: [&[u8]; 22] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nok and more",
    b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    b"\r\n\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 304 Not\r\ncontent-length: 100\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0 \t\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\ny: 2\r\n\r\nrest",
    b"HTTP/1.1 200 OK\r\nconnection: keep-alive, close\r\ncontent-length: 1\r\n\r\n1",
    b"HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 1\r\n\r\n1",
    b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n1",
    b"HTTP/1.1 200 OK\r\n\r\neverything until the end",
    b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
    b"HTTP/1.1 200 OK\r\nx: 1\r\n folded\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"220 mail.example.org ESMTP\r\n",
];

#[test]
fn bodies_are_framed_as_they_say() {
    assert_eq!(body_of(ANSWERS[0]), b"hello");
    assert_eq!(read(ANSWERS[2]), Ok((200, Some(b"ok".to_vec()), true, 9)));
    assert_eq!(body_of(ANSWERS[4]), b"ok");
    assert_eq!(read(ANSWERS[5]), Ok((204, Some(vec![]), true, 0)));
    assert_eq!(read(ANSWERS[6]), Ok((304, Some(vec![]), true, 0)));
    assert_eq!(body_of(ANSWERS[7]), b"abc0123456789");
    assert_eq!(read(ANSWERS[8]), Ok((200, Some(b"a".to_vec()), true, 4)));
    let stays: Vec<bool> = (9..13).map(|at| read(ANSWERS[at]).unwrap().2).collect();
    assert_eq!(stays, [false, true, false, false]);
    assert_eq!(body_of(ANSWERS[12]), b"everything until the end");
    let to_head = read_pieces(&Method::HEAD, [ANSWERS[0]]);
    assert_eq!(to_head, Ok((200, Some(vec![]), true, 5)));
}

#[test]
fn what_is_wrong_is_said() {
    for (at, fault) in [
        (13, "short"),
        (14, "ContentLength"),
        (15, "ContentLength"),
        (16, "a chunk size too large"),
        (17, "a chunk without its line end"),
        (18, "Head(HeaderName)"),
        (19, "TransferEncoding"),
        (20, "Head(Version)"),
        (21, "Head(Version)"),
    ] {
        let told = read(ANSWERS[at]).unwrap_err();
        assert!(told.contains(fault), "{at}: {told}");
    }
    assert_eq!(read(b""), Err("short".to_owned()));
    assert_eq!(read(b"HTTP/1.1 2"), Err("short".to_owned()));
}

#[test]
fn a_split_at_any_byte_changes_nothing() {
    for (at, bytes) in ANSWERS.iter().enumerate() {
        let whole = read(bytes);
        let single = read_pieces(&Method::POST, bytes.chunks(1));
        assert_eq!(single, whole, "{at} byte by byte");
        for split in 0..=bytes.len() {
            let halves = [&bytes[..split], &bytes[split..]];
            assert_eq!(read_pieces(&Method::POST, halves), whole, "{at} at {split}");
        }
    }
}

#[test]
fn header_sections_end_somewhere() {
    let mut answer = Answer::new(&Method::GET, LIMITS);
    let endless = [
        b"HTTP/1.1 200 OK\r\nx: ".as_slice(),
        &vec![b'y'; MAX_HEADER_BYTES],
    ]
    .concat();
    let fault = answer.feed(&endless).unwrap_err();
    assert_eq!(fault, Malformed::HeadTooLong.into());
    let mut answer = Answer::new(&Method::GET, LIMITS);
    let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(MAX_HEADER_BYTES / 28 + 1);
    let fault = answer.feed(&interim).unwrap_err();
    assert_eq!(fault, Malformed::HeadTooLong.into());
    let many = "a: b\r\n".repeat(101);
    let fault = read(format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes()).unwrap_err();
    assert!(fault.contains("TooManyHeaders"), "{fault}");
    let coded = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let extended = format!("{coded}1;{}", "x".repeat(20_000));
    assert!(
        read(extended.as_bytes())
            .unwrap_err()
            .contains("extensions")
    );
    let trailing = format!("{coded}0\r\n{}", "a: b\r\n".repeat(5_000));
    assert!(read(trailing.as_bytes()).unwrap_err().contains("trailers"));
}

#[test]
fn a_slow_header_section_costs_no_more_than_its_lines() {
    // Byte by byte, one long line: looked at again only as it doubles.
    let mut answer = Answer::new(&Method::GET, LIMITS);
    let head = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'y'; 100_000]].concat();
    for length in 1..head.len() {
        assert_eq!(answer.feed(&head[..length]).unwrap().used, 0);
    }
    assert!(answer.looked > head.len() / 2 && answer.looked < head.len());
}

#[test]
fn bodies_have_limits() {
    let with = |max_bytes, keep_bytes, body: &str| {
        let limits = BodyLimits {
            max_bytes,
            keep_bytes,
        };
        let mut answer = Answer::new(&Method::GET, limits);
        let head = "HTTP/1.1 200 OK\r\n\r\n";
        answer.feed(format!("{head}{body}").as_bytes())?;
        answer.end(&[])?;
        Ok::<_, Fault>(answer.body().map(<[u8]>::to_vec))
    };
    assert_eq!(with(4, 4, "1234"), Ok(Some(b"1234".to_vec())));
    assert_eq!(with(4, 3, "1234"), Ok(None));
    assert_eq!(with(3, 0, "1234"), Err(Fault::TooLarge));
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n";
    assert_eq!(read(announced), Err("TooLarge".to_owned()));
}

#[test]
fn one_reader_reads_one_answer_after_the_other() {
    let mut answer = Answer::new(&Method::GET, LIMITS).with_headers();
    for (at, text) in [(7, "abc0123456789"), (0, "hello"), (1, "")] {
        assert!(answer.feed(ANSWERS[at]).unwrap().is_done);
        assert_eq!(answer.body(), Some(text.as_bytes()));
        answer.restart(LIMITS);
    }
    answer.feed(ANSWERS[0]).unwrap();
    assert_eq!(answer.into_parts().0["content-length"], "5");
}

/// What hyper makes of the same bytes: status and body.
fn hyper_reads(bytes: &[u8]) -> Result<(u16, Vec<u8>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let bytes = bytes.to_vec();
        let server = async move {
            let mut request = [0; 1_000];
            let _ = far.read(&mut request).await;
            let _ = far.write_all(&bytes).await;
            drop(far);
        };
        let client = async {
            let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
                .max_header_size(MAX_HEADER_BYTES)
                .handshake(TokioIo::new(near))
                .await
                .map_err(|error| format!("{error:?}"))?;
            let exchange = async {
                let request = http::Request::post("/").body(Empty::<bytes::Bytes>::new());
                let response = sender.send_request(request.unwrap()).await;
                let response = response.map_err(|error| format!("{error:?}"))?;
                let status = response.status().as_u16();
                let body = response.into_body().collect().await;
                let body = body.map_err(|error| format!("{error:?}"))?;
                Ok((status, body.to_bytes().to_vec()))
            };
            let (exchanged, _) = tokio::join!(exchange, connection);
            exchanged
        };
        tokio::join!(server, client).1
    })
}

fn agrees_with_hyper(bytes: &[u8]) {
    let ours = read(bytes).map(|(status, body, ..)| (status, body.unwrap()));
    let its = hyper_reads(bytes);
    let is_same = match (&ours, &its) {
        (Ok(ours), Ok(its)) => ours == its,
        (Err(_), Err(_)) => true,
        _ => false,
    };
    let shown = String::from_utf8_lossy(bytes);
    assert!(is_same, "{shown:?}: {ours:?}, hyper {its:?}");
}

#[test]
fn hyper_reads_the_same() {
    for bytes in ANSWERS {
        agrees_with_hyper(bytes);
    }
}

/// Pieces that answers are made of, so that many of the made ones are right and many nearly.
fn any_answer() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 404 N\r\n",
        "HTTP/1.1 204 N\r\n",
        "\r\nHTTP/1.1 500 \r\n",
    ]);
    let field = prop::sample::select(vec![
        "content-length: 3\r\n",
        "content-length: 11\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: gzip\r\n",
        "Connection: close\r\n",
        "x: \r\n",
        "x y: 1\r\n",
        "x: 1\n",
        "x : 1\r\n",
    ]);
    let piece = prop::sample::select(vec![
        "3\r\nabc\r\n",
        "1 \r\nz\r\n",
        "2;a\r\nzz\r\n",
        "0\r\n",
        "\r\n",
        "t: 1\r\n",
        "abc",
        "\n",
        "F",
    ]);
    (
        line,
        prop::collection::vec(field, 0..4),
        prop::collection::vec(piece, 0..6),
    )
        .prop_map(|(line, fields, pieces)| {
            format!("{line}{}\r\n{}", fields.concat(), pieces.concat()).into_bytes()
        })
}

proptest! {
    #[test]
    fn splits_change_nothing(
        bytes in any_answer(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        prop_assert_eq!(read_pieces(&Method::POST, pieces), read(&bytes));
    }

    #[test]
    fn made_answers_are_read_as_hyper_does(bytes in any_answer()) {
        agrees_with_hyper(&bytes);
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..22_usize) {
        let _ = read(&bytes);
        let _ = read(&[ANSWERS[at], &bytes].concat());
    }
}
