//! Request bodies, read whole within a limit of size and time.

use super::problem::Problem;
use super::service::RequestInfo;
use super::settings::Settings;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::StatusCode;
use std::pin::pin;

/// Reads the whole body of a request that must hold JSON.
pub(super) async fn read_json<B: Buf>(
    settings: &Settings,
    info: &RequestInfo,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Bytes, Problem> {
    check_media_type(info)?;
    let limit = settings.max_body_bytes;
    let timeout = settings.body_timeout();
    let read = tokio::time::timeout(timeout, read(limit, body)).await;
    let bytes = read.map_err(|_| {
        let detail = format!("the body did not arrive within {timeout:?}");
        Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_request", detail)
    })??;
    info.mark_body_read();
    Ok(bytes)
}

async fn read<B: Buf>(
    limit: usize,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Bytes, Problem> {
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| {
            let detail = "the body ended early, or its chunks are malformed";
            Problem::malformed("bad_body", detail)
        })?;
        let piece = piece.copy_to_bytes(piece.remaining());
        if first.len() + whole.len() + piece.len() > limit {
            return Err(Problem::body_too_large(limit));
        }
        if first.is_empty() && whole.is_empty() {
            first = piece;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}

fn check_media_type(info: &RequestInfo) -> Result<(), Problem> {
    if let Some(encoding) = &info.content_encoding
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(unsupported(
            "the body must not be compressed (content-encoding)".to_owned(),
        ));
    }
    let Some(value) = &info.content_type else {
        return Err(unsupported(
            "send `content-type: application/json`; there was none".to_owned(),
        ));
    };
    let text = value.to_str().unwrap_or_default();
    if is_json(text) {
        return Ok(());
    }
    let shown = crate::domain::query::shorten(text, 80);
    Err(unsupported(format!(
        "send `content-type: application/json`, not {shown:?}"
    )))
}

fn unsupported(detail: String) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        detail,
    )
}

/// Whether a content type is JSON in UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn only_json_in_utf_8_passes() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; profile=x",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application/json; charset=iso-8859-1",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
