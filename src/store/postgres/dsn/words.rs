//! The text of a DSN as keys and values, in both of libpq's forms.
//!
//! No error here shows a value, nor a word that could be a part of a password that was not quoted.
//! Source: PostgreSQL's manual, "Connection Strings".

use super::DsnError;

/// Every key that libpq 18 knows, in order of its manual.
const KEYS: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "require_auth",
    "channel_binding",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "sslmode",
    "requiressl",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslkeylogfile",
    "sslpassword",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "min_protocol_version",
    "max_protocol_version",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "target_session_attrs",
    "load_balance_hosts",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
];

/// One setting as it was written; the last of a key counts.
pub(super) type Setting = (&'static str, String);

/// The settings in `text`, in order.
pub(super) fn settings(text: &str) -> Result<Vec<Setting>, DsnError> {
    let text = text.trim();
    if text.contains('\0') {
        return Err(DsnError::new("it holds a NUL byte"));
    }
    let url = ["postgresql://", "postgres://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    match url {
        Some(rest) => url_settings(rest),
        None if text.contains("://") => Err(DsnError::new(
            "a URL starts with `postgresql://`, and nothing else",
        )),
        None => pair_settings(text),
    }
}

/// The known key that `word` is.
fn key(word: &str) -> Result<&'static str, DsnError> {
    if let Some(known) = KEYS.iter().find(|known| **known == word) {
        return Ok(known);
    }
    let near = KEYS
        .iter()
        .map(|known| (strsim::levenshtein(word, known), *known))
        .min()
        .filter(|(distance, known)| *distance <= 2 && known.len() > 4);
    Err(match near {
        Some((_, known)) => DsnError::new(format!("it has an unknown key; is `{known}` meant?")),
        // Not shown: it may be what follows a space or `&` in a password.
        None => DsnError::new(
            "it has an unknown key; a value with spaces is put in single quotes, and in a URL \
             `&`, `=` and `@` of a value are percent-encoded",
        ),
    })
}

/// `key = value` pairs with libpq's quoting.
fn pair_settings(text: &str) -> Result<Vec<Setting>, DsnError> {
    let mut settings = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| c == '=' || c.is_ascii_whitespace())
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let Some(after) = after.trim_start().strip_prefix('=') else {
            return Err(DsnError::new(
                "a word is not followed by `=`; a value with spaces is put in single quotes",
            ));
        };
        let (value, after) = value(after.trim_start())?;
        settings.push((key(word)?, value));
        rest = after.trim_start();
    }
    Ok(settings)
}

/// One value, quoted or not, and what comes after it.
fn value(text: &str) -> Result<(String, &str), DsnError> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && c.is_ascii_whitespace() => return Ok((value, &text[at..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    if quoted {
        return Err(DsnError::new("a single quote is not closed"));
    }
    Ok((value, ""))
}

/// What follows `postgresql://`: `[user[:password]@][host[:port],…][/dbname][?key=value&…]`.
fn url_settings(rest: &str) -> Result<Vec<Setting>, DsnError> {
    let (address, query) = match rest.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match address.split_once('/') {
        Some((authority, path)) => (authority, Some(path)),
        None => (address, None),
    };
    if path.into_iter().chain(query).any(|part| part.contains('@')) {
        return Err(DsnError::new(
            "an `@` comes after a `/` or `?`; in a user or password these are written `%40`, \
             `%2F` and `%3F`",
        ));
    }
    let mut settings = Vec::new();
    let hosts = match authority.rsplit_once('@') {
        Some((user, hosts)) => {
            credentials(user, &mut settings)?;
            hosts
        }
        None => authority,
    };
    host_settings(hosts, &mut settings)?;
    if let Some(name) = path.filter(|name| !name.is_empty()) {
        settings.push(("dbname", decode(name)?));
    }
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        if pair.is_empty() {
            continue;
        }
        let Some((word, text)) = pair.split_once('=') else {
            return Err(DsnError::new("a parameter after `?` has no `=`"));
        };
        settings.push(match (decode(word)?.as_str(), decode(text)?) {
            // JDBC's word, which libpq takes too.
            ("ssl", value) if value == "true" => ("sslmode", "require".to_owned()),
            (word, value) => (key(word)?, value),
        });
    }
    Ok(settings)
}

fn credentials(text: &str, settings: &mut Vec<Setting>) -> Result<(), DsnError> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    };
    if !user.is_empty() {
        settings.push(("user", decode(user)?));
    }
    if let Some(password) = password {
        settings.push(("password", decode(password)?));
    }
    Ok(())
}

/// `host:port,[ipv6]:port,…`, in the two lists that the other form has.
fn host_settings(text: &str, settings: &mut Vec<Setting>) -> Result<(), DsnError> {
    if text.is_empty() {
        return Ok(());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for part in text.split(',') {
        let (host, port) = match part.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner
                    .split_once(']')
                    .ok_or_else(|| DsnError::new("a `[` before an IPv6 address is not closed"))?;
                let port = match after.strip_prefix(':') {
                    Some(port) => port,
                    None if after.is_empty() => "",
                    None => return Err(DsnError::new("a `]` is not followed by `:` and a port")),
                };
                (host, port)
            }
            None => part.split_once(':').unwrap_or((part, "")),
        };
        hosts.push(decode(host)?);
        ports.push(decode(port)?);
    }
    settings.push(("host", hosts.join(",")));
    if ports.iter().any(|port| !port.is_empty()) {
        settings.push(("port", ports.join(",")));
    }
    Ok(())
}

/// Percent-decoding; a `+` stays one, as in libpq.
fn decode(text: &str) -> Result<String, DsnError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let code = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(|code| *code != 0)
            .ok_or_else(|| {
                DsnError::new("a `%` is not followed by two hexadecimal digits; write it `%25`")
            })?;
        bytes.push(code);
        rest = after.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| DsnError::new("a percent-encoded part is not UTF-8"))
}
