//! DSNs as people write them, and what becomes of them.

use super::servers::DEFAULT_SOCKET_FOLDER;
use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Dsn, DsnError> {
    Dsn::parse(&Secret::new(text))
}

fn tcp(name: &str, port: u16) -> Endpoint {
    Endpoint {
        host: Host::Tcp {
            name: name.to_owned(),
            address: None,
        },
        port,
    }
}

fn unix(folder: &str, port: u16) -> Endpoint {
    Endpoint {
        host: Host::Unix(PathBuf::from(folder)),
        port,
    }
}

/// DSN, what is shown of it, its servers.
type Case = (&'static str, &'static str, Vec<Endpoint>);

fn cases_of_urls() -> Vec<Case> {
    let socket = DEFAULT_SOCKET_FOLDER;
    vec![
        (
            "",
            "postgresql://%2Fvar%2Frun%2Fpostgresql",
            vec![unix(socket, 5432)],
        ),
        (
            "postgresql://",
            "postgresql://%2Fvar%2Frun%2Fpostgresql",
            vec![unix(socket, 5432)],
        ),
        (
            "postgres://localhost",
            "postgresql://localhost",
            vec![tcp("localhost", 5432)],
        ),
        (
            "postgresql://u:p@h:5433/d",
            "postgresql://u@h:5433/d",
            vec![tcp("h", 5433)],
        ),
        (
            "postgresql://u:p@a:1,b,c:3/d?target_session_attrs=prefer-standby",
            "postgresql://u@a:1,b,c:3/d",
            vec![tcp("a", 1), tcp("b", 5432), tcp("c", 3)],
        ),
        (
            "postgresql://u@%2Frun%2Fpg:5434/d",
            "postgresql://u@%2Frun%2Fpg:5434/d",
            vec![unix("/run/pg", 5434)],
        ),
        (
            "postgresql:///d?host=/run/pg&port=5435&user=u%40x",
            "postgresql://u%40x@%2Frun%2Fpg:5435/d",
            vec![unix("/run/pg", 5435)],
        ),
        (
            "postgresql://[::1]:6/d",
            "postgresql://[::1]:6/d",
            vec![tcp("::1", 6)],
        ),
        (
            "postgresql://u:p@ss@h/d",
            "postgresql://u@h/d",
            vec![tcp("h", 5432)],
        ),
    ]
}

fn cases_of_pairs() -> Vec<Case> {
    vec![
        (
            "host=a,b port=1,2 dbname=d user=u password='it\\'s'",
            "postgresql://u@a:1,b:2/d",
            vec![tcp("a", 1), tcp("b", 2)],
        ),
        (
            r"host = a  port= 7 user = 'o\'brien' dbname = 'x y' password=a\ b",
            "postgresql://o%27brien@a:7/x%20y",
            vec![tcp("a", 7)],
        ),
        (
            "host=a,b port=9",
            "postgresql://a:9,b:9",
            vec![tcp("a", 9), tcp("b", 9)],
        ),
        (
            "host=a,/run/pg port=,8",
            "postgresql://a,%2Frun%2Fpg:8",
            vec![tcp("a", 5432), unix("/run/pg", 8)],
        ),
        (
            "hostaddr=10.0.0.1 host=db",
            "postgresql://db",
            vec![Endpoint {
                host: Host::Tcp {
                    name: "db".to_owned(),
                    address: Some([10, 0, 0, 1].into()),
                },
                port: 5432,
            }],
        ),
    ]
}

#[test]
fn both_forms_name_the_servers() {
    for (text, shown, endpoints) in cases_of_urls().into_iter().chain(cases_of_pairs()) {
        let dsn = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(dsn.to_string(), shown, "{text}");
        assert_eq!(dsn.endpoints, endpoints, "{text}");
    }
}

#[test]
fn passwords_are_decoded_and_not_shown() {
    let cases = [
        ("postgresql://u:p%40ss%3Aw%2Frd%25@h/d", "p@ss:w/rd%"),
        ("postgresql://u:p@ss:w0rd@h/d", "p@ss:w0rd"),
        ("postgresql://u@h/d?password=a%26b", "a&b"),
        (
            r"user=u host=h password='a \'quoted\' \\ one'",
            r"a 'quoted' \ one",
        ),
        ("user=u host=h password = plain", "plain"),
        ("password=first user=u host=h password=last", "last"),
    ];
    for (text, password) in cases {
        let dsn = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            dsn.password(&dsn.endpoints[0]),
            Some(Secret::new(password)),
            "{text}"
        );
        let shown = format!("{dsn} {dsn:?}");
        assert!(!shown.contains(password), "{shown}");
    }
}

#[test]
fn what_is_not_said_has_a_default() {
    let dsn = parse("postgresql://h").unwrap();
    assert_eq!(dsn.application_name, "alfred");
    assert_eq!(dsn.tls.mode, SslMode::Prefer);
    assert_eq!(dsn.target, SessionTarget::Any);
    assert_eq!(dsn.connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(dsn.tcp_user_timeout, Some(Duration::from_secs(10)));
    assert_eq!(dsn.keepalive.unwrap().idle, Duration::from_mins(1));
    assert_eq!(dsn.load_balance, None);
}

#[test]
fn what_is_said_counts() {
    let dsn = parse(
        "postgresql://h?connect_timeout=0&tcp_user_timeout=1500&keepalives=0&application_name=x\
         &fallback_application_name=y&options=-c%20search_path%3Da&load_balance_hosts=random\
         &channel_binding=require&target_session_attrs=primary&sslmode=verify-ca&sslsni=0\
         &sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem&ssl_min_protocol_version=TLSv1.3\
         &gssencmode=disable&krbsrvname=postgres&sslcompression=0&client_encoding=UTF8",
    )
    .unwrap();
    assert_eq!(dsn.connect_timeout, None);
    assert_eq!(dsn.tcp_user_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(dsn.keepalive, None);
    assert_eq!(dsn.application_name, "x");
    assert_eq!(dsn.options.as_deref(), Some("-c search_path=a"));
    assert_eq!(dsn.load_balance, Some(true));
    assert_eq!(
        dsn.channel_binding,
        postgres::config::ChannelBinding::Require
    );
    assert_eq!(dsn.target, SessionTarget::Primary);
    assert_eq!(dsn.tls.mode, SslMode::VerifyCa);
    assert_eq!(dsn.tls.roots, RootCertificates::File("/ca.pem".into()));
    assert_eq!(dsn.tls.certificate, Some("/c.pem".into()));
    assert!(dsn.tls.versions == Versions::Only13 && !dsn.tls.sni);
    let system = parse("host=h sslrootcert=system").unwrap();
    assert_eq!(system.tls.mode, SslMode::VerifyFull);
}

#[test]
fn what_cannot_be_obeyed_is_refused_with_the_reason() {
    let cases = [
        (
            "host=h service=prod",
            "`service`: service files are not read",
        ),
        (
            "host=h sslmode=verify",
            "`sslmode` is none of prefer, disable",
        ),
        ("host=h sslmod=require", "is `sslmode` meant?"),
        ("host=h ,", "not followed by `=`"),
        ("host=h password='open", "a single quote is not closed"),
        ("host=a,b port=1,2,3", "there are 2 hosts and 3 ports"),
        ("host=h port=0", "a port is no number from 1 to 65535"),
        (
            "host=h connect_timeout=soon",
            "`connect_timeout` is no number",
        ),
        ("hostaddr=db", "`hostaddr` is no IP address"),
        (
            "host=h sslrootcert=system sslmode=require",
            "needs `sslmode=verify-full`",
        ),
        ("host=h sslnegotiation=direct", "needs `sslmode=require`"),
        ("host=h gssencmode=require", "Kerberos is not supported"),
        ("host=h client_encoding=LATIN1", "UTF8 only"),
        ("host=h replication=database", "a replication connection"),
        (
            "host=h target_session_attrs=master",
            "`target_session_attrs` is none of any",
        ),
        ("mysql://h/d", "a URL starts with `postgresql://`"),
        ("postgresql://u:%zz@h/d", "write it `%25`"),
        ("postgresql://[::1/d", "is not closed"),
        ("postgresql://h/d?sslmode", "has no `=`"),
    ];
    for (text, reason) in cases {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_password_that_is_not_encoded_is_in_no_message() {
    // The password is `hush…` in each; some of its characters end a part of the DSN.
    let texts = [
        "postgresql://u:hush/hush@h/d",
        "postgresql://u:12/hush@h/d",
        "postgresql://u:12?hush=hush@h/d",
        "postgresql://u:hush?hush@h/d",
        "postgresql://u:hush%hush@h/d",
        "postgresql://u:hush@[h/d",
        "postgresql://u:1,hush:x/d",
        "user=u password=hush hush host=h",
        "user=u password=a hush=b host=h",
        "user=u password='hush",
        "user=u password=hush port=hush",
        "http://u:hush@h/d",
    ];
    for text in texts {
        let error = parse(text).expect_err(text).to_string();
        assert!(!error.contains("hush"), "{text}: {error}");
    }
}

#[test]
fn a_password_file_is_read_as_libpq_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    std::fs::write(
        &path,
        "# comment\nother:5432:*:*:no\nh:5433:*:u:port\nh:*:d:u:a\\:b:c\n*:*:*:*:any\n",
    )
    .unwrap();
    let look_up = |dsn: &str| {
        let dsn = parse(&format!("{dsn} passfile={}", path.display())).unwrap();
        dsn.password(&dsn.endpoints[0])
    };
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    assert_eq!(look_up("host=h user=u dbname=d"), None);
    mode(0o600);
    assert_eq!(
        look_up("host=h user=u dbname=d"),
        Some(Secret::new("a:b:c"))
    );
    assert_eq!(
        look_up("host=h port=5433 user=u"),
        Some(Secret::new("port"))
    );
    assert_eq!(look_up("host=x user=y"), Some(Secret::new("any")));
    assert_eq!(
        look_up("host=h user=u dbname=d password=p"),
        Some(Secret::new("p"))
    );
}

/// Percent-encodes every byte.
fn encoded(text: &str) -> String {
    let encoded: Vec<_> = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    encoded.concat()
}

/// As libpq's manual says.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

proptest! {
    #[test]
    fn any_user_and_password_survive_both_forms(
        user in "[^\0]{1,12}",
        password in "[^\0]{1,12}",
        port in 1u16..,
    ) {
        let texts = [
            format!("postgresql://{}:{}@h:{port}/d", encoded(&user), encoded(&password)),
            format!("user={} password={} host=h port={port} dbname=d", quoted(&user), quoted(&password)),
        ];
        for text in texts {
            let dsn = parse(&text).unwrap();
            prop_assert_eq!(dsn.user.as_deref(), Some(user.as_str()));
            let found = dsn.password(&dsn.endpoints[0]);
            prop_assert_eq!(found.as_ref().map(Secret::reveal), Some(password.as_str()));
            // What is shown is a DSN for the same place.
            let again = parse(&dsn.to_string()).unwrap();
            prop_assert_eq!(&again.endpoints, &dsn.endpoints);
            prop_assert_eq!(&again.user, &dsn.user);
        }
    }

    #[test]
    fn no_text_panics_and_no_error_shows_a_long_word_of_it(text in "\\PC{0,60}", secret in "[a-z]{12}") {
        let _ = parse(&text);
        for dsn in [format!("postgresql://u:{secret}{text}@h/d"), format!("password={secret}{text} host=h")] {
            if let Err(error) = parse(&dsn) {
                prop_assert!(!error.to_string().contains(&secret));
            }
        }
    }
}
