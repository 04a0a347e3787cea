//! Where an API begins: `https://HOST[:PORT][/PATH][?QUERY]`.

use ureq::http::Uri;

/// A base URL that was understood. No credentials are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Scheme, host and path, without a slash at the end.
    start: String,
    /// What a server wants behind every path, as `?api-version=…`; else empty.
    query: String,
    host: String,
}

/// A base URL that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?} is not the URL of an API: {problem}")]
pub struct BadBaseUrl {
    /// The URL as it may be shown.
    pub shown: String,
    /// What is wrong with it.
    pub problem: String,
}

impl BaseUrl {
    /// Reads `text`; a slash at the end makes no difference.
    ///
    /// # Errors
    /// When it is no `http://` or `https://` URL with a host, or has a user or password in it.
    pub fn parse(text: &str) -> Result<Self, BadBaseUrl> {
        let text = text.trim();
        let authority = text.split("://").nth(1).unwrap_or(text);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or("");
        if authority.contains('@') {
            return Err(BadBaseUrl {
                shown: text.replace(authority, "***"),
                problem:
                    "there must be no user or password in it; the key has a setting of its own"
                        .to_owned(),
            });
        }
        let bad = |problem: &str| BadBaseUrl {
            shown: text.to_owned(),
            problem: problem.to_owned(),
        };
        let uri: Uri = text.parse().map_err(|error| bad(&format!("{error}")))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad("it must begin with http:// or https://"));
        }
        let Some(host) = uri.authority().filter(|host| !host.host().is_empty()) else {
            return Err(bad("it has no host"));
        };
        let scheme = uri.scheme_str().unwrap_or_default();
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            start: format!("{scheme}://{host}{path}"),
            query: uri
                .query()
                .map_or_else(String::new, |query| format!("?{query}")),
            host: host.to_string(),
        })
    }

    /// The URL of one route, as `embeddings`.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}/{path}{}", self.start, self.query)
    }

    /// Host, and port where one was said.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether this is OpenAI itself, which wants a key.
    #[must_use]
    pub fn is_openai(&self) -> bool {
        let host = self.host.split(':').next().unwrap_or("");
        host.eq_ignore_ascii_case("api.openai.com")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_with_and_without_a_slash_and_keeps_path_and_query() {
        let joined = |text: &str| BaseUrl::parse(text).unwrap().join("embeddings");
        let plain = "https://api.openai.com/v1/embeddings";
        assert_eq!(joined("https://api.openai.com/v1"), plain);
        assert_eq!(joined(" https://api.openai.com/v1// "), plain);
        assert_eq!(
            joined("http://[::1]:11434/v1"),
            "http://[::1]:11434/v1/embeddings"
        );
        assert_eq!(
            joined("http://localhost:8000"),
            "http://localhost:8000/embeddings"
        );
        assert_eq!(
            joined("https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21"),
            "https://x.openai.azure.com/openai/deployments/d/embeddings?api-version=2024-10-21"
        );
    }

    #[test]
    fn a_bad_one_is_named() {
        for bad in [
            "",
            "api.openai.com/v1",
            "ftp://x/v1",
            "https://",
            "http:///v1",
            "http://a b/",
        ] {
            let error = BaseUrl::parse(bad).unwrap_err();
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = BaseUrl::parse("https://me:sk-1@host/v1")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("https://***/v1") && !error.contains("sk-1"),
            "{error}"
        );
    }

    #[test]
    fn knows_openai_itself() {
        let is_openai = |text: &str| BaseUrl::parse(text).unwrap().is_openai();
        assert!(is_openai("https://api.openai.com/v1") && is_openai("https://API.openai.com:443/"));
        assert!(!is_openai("http://localhost:8000/api.openai.com"));
    }
}
