//! Where a Redis is, from its URL, which may hold a password.

use crate::secret::Secret;
use redis::{Client, ConnectionAddr, IntoConnectionInfo as _};

/// A Redis server and how to log in there.
pub struct RedisAddress {
    client: Client,
    place: String,
    secrets: Vec<Secret>,
}

impl RedisAddress {
    /// Understands `redis://`, `rediss://` (TLS), both with `[USER][:PASSWORD]@HOST[:PORT][/DB]`,
    /// and `redis+unix:///PATH[?db=N&user=…&pass=…]`. Nothing is connected to.
    ///
    /// # Errors
    /// What is wrong with it, without the URL.
    pub fn parse(url: &Secret) -> Result<Self, String> {
        let mut secrets = vec![url.clone()];
        let info = url
            .reveal()
            .into_connection_info()
            .map_err(|error| url.redact(&error.to_string()))?;
        let place = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err("certificates are always checked, so #insecure is refused".to_owned());
            }
            addr => addr.to_string(),
        };
        // Its name and version on the server are of no use, and cost a message each time.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        secrets.extend(settings.password().map(Secret::new));
        let client = Client::open(info.set_redis_settings(settings))
            .map_err(|error| url.redact(&error.to_string()))?;
        Ok(Self {
            client,
            place,
            secrets,
        })
    }

    /// What connects.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Host and port, or the path of the socket: for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// `text` without URL and password.
    pub(super) fn redact(&self, text: &str) -> String {
        let redacted = |text: String, secret: &Secret| secret.redact(&text);
        self.secrets.iter().fold(text.to_owned(), redacted)
    }
}

impl std::fmt::Debug for RedisAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "RedisAddress({})", self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RedisAddress, String> {
        RedisAddress::parse(&Secret::new(url))
    }

    #[test]
    fn addresses_are_shown_without_who_logs_in() {
        for (url, place) in [
            ("redis://cache.internal", "cache.internal:6379"),
            (
                "rediss://me:hunter2@cache.internal:6380/3",
                "cache.internal:6380",
            ),
            (
                "redis+unix:///run/redis.sock?pass=hunter2",
                "/run/redis.sock",
            ),
        ] {
            let address = parse(url).unwrap();
            assert_eq!(address.place(), place);
            assert_eq!(format!("{address:?}"), format!("RedisAddress({place})"));
            let message = address.redact(&format!("bad hunter2 of {url}"));
            assert!(
                !url.contains("hunter2") || !message.contains("hunter2"),
                "{message}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_the_password() {
        for url in [
            "http://:hunter2@cache",
            "hunter2",
            "redis://:hunter2@cache/notanumber",
            "redis://:hunter2@cache:99999",
            "rediss://:hunter2@cache/#insecure",
            "redis://:hunter2@0.0.0.0",
        ] {
            let problem = parse(url).unwrap_err();
            assert!(
                !problem.contains("hunter2") && !problem.is_empty(),
                "{problem}"
            );
        }
    }
}
