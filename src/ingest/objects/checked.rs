//! Lists that are lists.
//!
//! The client takes any well-formed answer to a list for one without objects, and a page that is
//! cut short for the last one. A portal's login page, or a server that is not S3, would then be an
//! empty bucket, of which `--prune` deletes everything. So what comes back is looked at first.

use futures_util::StreamExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use std::pin::Pin;

/// Largest page: 1,000 keys of 1,024 bytes, each byte escaped, with room for the markup.
const MAX_PAGE_BYTES: usize = 16 << 20;

/// Makes clients that check lists.
#[derive(Debug)]
pub(super) struct Checked;

impl HttpConnector for Checked {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(CheckedClient(client)))
    }
}

#[derive(Debug)]
struct CheckedClient(HttpClient);

type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for CheckedClient {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Answer<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let query = request.uri().query().unwrap_or_default();
            let is_list = query.split('&').any(|pair| pair == "list-type=2");
            let response = self.0.execute(request).await?;
            if !is_list || !response.status().is_success() {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let mut page = Vec::new();
            let mut body = body.bytes_stream();
            while let Some(part) = body.next().await {
                page.extend_from_slice(&part?);
                if page.len() > MAX_PAGE_BYTES {
                    return Err(HttpError::new(HttpErrorKind::Decode, NoList::TooLarge));
                }
            }
            check(&String::from_utf8_lossy(&page))
                .map_err(|problem| HttpError::new(HttpErrorKind::Decode, problem))?;
            Ok(HttpResponse::from_parts(parts, page.into()))
        })
    }
}

/// Why an answer is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NoList {
    #[error("what came is not S3's list of objects")]
    Other,
    #[error("its list of objects is cut short, with no way to go on")]
    CutShort,
    #[error("its list of objects is over {MAX_PAGE_BYTES} bytes")]
    TooLarge,
}

fn check(page: &str) -> Result<(), NoList> {
    if !page.contains("<ListBucketResult") {
        return Err(NoList::Other);
    }
    let is_last = !page.contains("<IsTruncated>true</IsTruncated>");
    if is_last || page.contains("<NextContinuationToken>") {
        Ok(())
    } else {
        Err(NoList::CutShort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_is_no_empty_bucket() {
        let list =
            |inner: &str| format!("<ListBucketResult xmlns=\"x\">{inner}</ListBucketResult>");
        let more = "<IsTruncated>true</IsTruncated>";
        let token = "<NextContinuationToken>t</NextContinuationToken>";
        assert_eq!(check("<html>Log in</html>"), Err(NoList::Other));
        assert_eq!(check(""), Err(NoList::Other));
        assert_eq!(check(&list("")), Ok(()));
        assert_eq!(check("<ListBucketResult/>"), Ok(()));
        assert_eq!(check(&list("<IsTruncated>false</IsTruncated>")), Ok(()));
        assert_eq!(check(&list(more)), Err(NoList::CutShort));
        assert_eq!(check(&list(&format!("{more}{token}"))), Ok(()));
    }
}
