//! The `AWS_…` variables of the environment to a client of one bucket.
//!
//! Names and meaning are those of AWS's own tools: `AWS_ENDPOINT_URL_S3` before
//! `AWS_ENDPOINT_URL`, `AWS_REGION` before `AWS_DEFAULT_REGION`, keys, then a web identity, then a
//! container's role, then the machine's. Where none of these is named, a server of one's own is
//! asked without a signature, and AWS as the machine's role. Profiles in `~/.aws` are not read.

use super::checked::Checked;
use super::error::ObjectError;
use crate::secret::Secret;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence of a server.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest that one request may take: the largest object at half a megabyte a second.
const TIMEOUT: Duration = Duration::from_mins(10);
/// How often a request is tried again after 5xx, 429 or a lost connection.
const RETRIES: usize = 3;
/// After this long a request is not tried again.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);

/// Variables that name credentials, besides the machine's role.
const CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// How object storage is reached.
#[derive(Clone, Debug)]
pub(super) struct Settings(BTreeMap<String, Secret>);

impl Settings {
    /// Checks what can be checked without asking anybody.
    pub(super) fn new(variables: &BTreeMap<String, Secret>) -> Result<Self, ObjectError> {
        let settings = Self(variables.clone());
        match settings.custom_endpoint() {
            Some((name, url)) if !url.starts_with("http://") && !url.starts_with("https://") => {
                let problem = format!("{name} must begin with http:// or https://");
                Err(ObjectError::Settings(problem))
            }
            _ => Ok(settings),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(Secret::reveal)
            .filter(|value| !value.is_empty())
    }

    fn custom_endpoint(&self) -> Option<(&'static str, &str)> {
        ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
            .into_iter()
            .find_map(|name| Some((name, self.get(name)?)))
    }

    /// Who is asked, for messages.
    pub(super) fn endpoint(&self) -> String {
        let Some((_, url)) = self.custom_endpoint() else {
            let region = self.get("AWS_REGION").or(self.get("AWS_DEFAULT_REGION"));
            return format!("https://s3.{}.amazonaws.com", region.unwrap_or("us-east-1"));
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        format!("{scheme}://{host}/{path}")
            .trim_end_matches('/')
            .to_owned()
    }

    /// Whether credentials are named, right or wrong.
    pub(super) fn has_credentials(&self) -> bool {
        CREDENTIALS.iter().any(|name| self.get(name).is_some())
    }

    /// Whether requests go out without a signature.
    pub(super) fn is_anonymous(&self) -> bool {
        let is_true = |name| {
            self.get(name)
                .is_some_and(|value| matches!(value, "1" | "true" | "yes" | "on"))
        };
        let has_no_role = self.custom_endpoint().is_some() || is_true("AWS_EC2_METADATA_DISABLED");
        is_true("AWS_SKIP_SIGNATURE") || (!self.has_credentials() && has_no_role)
    }

    /// `text` without the keys, should they be in it.
    pub(super) fn redact(&self, text: &str) -> String {
        let keys = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN"];
        keys.iter()
            .filter_map(|name| self.0.get(*name))
            .fold(text.to_owned(), |text, key| key.redact(&text))
    }

    /// A client of one bucket. Nobody is asked yet.
    pub(super) fn client(&self, bucket: &str) -> Result<AmazonS3, ObjectError> {
        use_ring();
        let wrong = |error: object_store::Error| {
            let text = error.to_string();
            let text = text.trim_start_matches("Generic S3 error: ");
            ObjectError::Settings(self.redact(text))
        };
        let mut builder = AmazonS3Builder::new()
            .with_client_options(self.client_options()?)
            .with_retry(RetryConfig {
                max_retries: RETRIES,
                retry_timeout: RETRY_TIMEOUT,
                backoff: BackoffConfig {
                    max_backoff: Duration::from_secs(5),
                    ..BackoffConfig::default()
                },
            });
        for (name, value) in &self.0 {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value.reveal());
            }
        }
        if self.is_anonymous() {
            builder = builder.with_skip_signature(true);
        }
        builder
            .with_http_connector(Checked)
            .with_bucket_name(bucket)
            .build()
            .map_err(wrong)
    }

    fn client_options(&self) -> Result<ClientOptions, ObjectError> {
        let is_plain = |(_, url): (_, &str)| url.starts_with("http://");
        let mut options = ClientOptions::new()
            .with_allow_http(self.custom_endpoint().is_some_and(is_plain))
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_read_timeout(READ_TIMEOUT)
            .with_timeout(TIMEOUT);
        if let Some(path) = self.get("AWS_CA_BUNDLE") {
            let wrong =
                |problem: String| ObjectError::Settings(format!("AWS_CA_BUNDLE {path}: {problem}"));
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
            for certificate in certificates {
                options = options.with_root_certificate(certificate);
            }
        }
        Ok(options)
    }
}

/// TLS needs the process to have chosen its cryptography before the first client is made; whoever
/// chose first has chosen.
fn use_ring() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let secret = |(name, value): &(&str, &str)| ((*name).to_owned(), Secret::new(*value));
        Settings::new(&variables.iter().map(secret).collect()).unwrap()
    }

    #[test]
    fn an_encrypted_client_is_made_without_further_ado() {
        settings(&[]).client("bucket").unwrap();
        settings(&[("AWS_ENDPOINT_URL", "https://127.0.0.1:9")])
            .client("bucket")
            .unwrap();
    }

    #[test]
    fn the_endpoint_is_shown_without_what_is_secret() {
        let endpoint = |variables: &[(&str, &str)]| settings(variables).endpoint();
        assert_eq!(endpoint(&[]), "https://s3.us-east-1.amazonaws.com");
        assert_eq!(
            endpoint(&[("AWS_DEFAULT_REGION", "eu-west-1")]),
            "https://s3.eu-west-1.amazonaws.com"
        );
        let both = [
            ("AWS_ENDPOINT_URL", "http://other"),
            ("AWS_ENDPOINT_URL_S3", "http://me:key@minio:9000/?token=x"),
        ];
        assert_eq!(endpoint(&both), "http://minio:9000");
    }

    #[test]
    fn who_is_asked_without_a_signature() {
        let own = ("AWS_ENDPOINT_URL", "http://minio:9000");
        assert!(settings(&[own]).is_anonymous());
        assert!(!settings(&[own, ("AWS_ACCESS_KEY_ID", "k")]).is_anonymous());
        assert!(!settings(&[]).is_anonymous());
        assert!(settings(&[("AWS_SKIP_SIGNATURE", "true")]).is_anonymous());
    }

    #[test]
    fn wrong_variables_are_named_and_keys_are_not_shown() {
        let of = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), Secret::new(value))]);
        let error = Settings::new(&of("AWS_ENDPOINT_URL", "minio:9000")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("AWS_ENDPOINT_URL must begin with")
        );
        let half = settings(&[("AWS_SECRET_ACCESS_KEY", "hush")]);
        let error = half.client("bucket").unwrap_err().to_string();
        assert!(
            error.contains("Missing AccessKeyId") && !error.contains("hush"),
            "{error}"
        );
        assert_eq!(half.redact("a hush b"), "a *** b");
        let error = settings(&[("AWS_CA_BUNDLE", "/nowhere.pem")]).client("b");
        assert!(error.unwrap_err().to_string().contains("/nowhere.pem"));
    }
}
