use super::*;

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alfred.toml");
    std::fs::write(&path, file).unwrap();
    let mut all = vec![("HOME", "/nonexistent")];
    all.extend_from_slice(variables);
    Config::load(Some(&path), &Environment::of(&all), &[])
}

fn message(result: Result<Config, ConfigError>) -> String {
    let failure: crate::failure::Failure = result.expect_err("must be refused").into();
    assert_eq!(failure.kind().exit_code(), 78);
    failure.render()
}

#[test]
fn defaults_resolve_with_nothing_set() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.raw.server.listen, ["127.0.0.1:8080"]);
    assert_eq!(config.raw.embedding.model, "all-MiniLM-L6-v2");
    assert!(config.show().iter().all(|shown| shown.source == "default"));
}

#[test]
fn the_last_layer_wins_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("alfred.toml");
    std::fs::write(&main, "[server]\nmax_in_flight = 1\nqueue_timeout_ms = 1\n").unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    let drop_in = folder.path().join("conf.d/10-limits.toml");
    std::fs::write(
        &drop_in,
        "server.max_in_flight = 2\nserver.drain_timeout_s = 2\n",
    )
    .unwrap();
    let environment = Environment::of(&[("ALFRED__SERVER__DRAIN_TIMEOUT_S", "3")]);
    let flags = [("log.level".to_owned(), "debug".to_owned())];
    let config = Config::load(Some(&main), &environment, &flags).unwrap();
    assert_eq!(config.raw.server.queue_timeout_ms, 1);
    assert_eq!(config.raw.server.max_in_flight, 2);
    assert_eq!(config.raw.server.drain_timeout_s, 3);
    assert_eq!(config.raw.log.level, "debug");
    let source = |key: &str| {
        config
            .show()
            .into_iter()
            .find(|s| s.key == key)
            .unwrap()
            .source
    };
    assert_eq!(
        source("server.queue_timeout_ms"),
        main.display().to_string()
    );
    assert_eq!(
        source("server.max_in_flight"),
        drop_in.display().to_string()
    );
    assert_eq!(
        source("server.drain_timeout_s"),
        "environment ALFRED__SERVER__DRAIN_TIMEOUT_S"
    );
    assert_eq!(source("log.level"), "flag");
}

#[test]
fn a_typo_names_the_key_the_file_and_the_closest_key() {
    let text = message(load("[server]\nmax_inflight = 3\n", &[]));
    assert!(
        text.contains("unknown key `server.max_inflight` in "),
        "{text}"
    );
    assert!(text.contains("alfred.toml"), "{text}");
    assert!(
        text.contains("did you mean `server.max_in_flight`?"),
        "{text}"
    );
    let text = message(load("[sever]\nlisten = []\n", &[]));
    assert!(text.contains("did you mean `server.listen`?"), "{text}");
    let text = message(load("", &[("ALFRED__STORE__PTAH", "/x")]));
    assert!(text.contains("environment ALFRED__STORE__PTAH"), "{text}");
}

#[test]
fn wrong_types_and_ranges_are_refused() {
    for (file, expected) in [
        ("server.max_in_flight = 0", "from 1 to 1024, got 0"),
        ("server.max_in_flight = \"many\"", "a whole number"),
        ("server.listen = \"127.0.0.1:1\"", "a list of texts"),
        ("log.level = \"loud\"", "one of \"error\""),
        ("ingest.overlap_tokens = 100", "at most a quarter"),
    ] {
        let text = message(load(file, &[]));
        assert!(text.contains(expected), "{file}: {text}");
    }
    assert!(message(load("server = [", &[])).contains("line 1"));
}

#[test]
fn traces_are_known_by_the_names_of_opentelemetry_too() {
    let none = load("", &[]).unwrap().raw.telemetry;
    assert_eq!(none.otlp_endpoint, "");
    assert!((none.otlp_sample_ratio - 1.0).abs() < f64::EPSILON);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hush"),
        ("ALFRED__TELEMETRY__OTLP_SAMPLE_RATIO", "0.25"),
    ];
    let config = load("telemetry.otlp_endpoint = \"http://file:1\"", &variables).unwrap();
    let telemetry = &config.raw.telemetry;
    assert_eq!(telemetry.otlp_endpoint, "http://collector:4318");
    assert_eq!(telemetry.otlp_headers.reveal(), "api-key=hush");
    assert!((telemetry.otlp_sample_ratio - 0.25).abs() < f64::EPSILON);
    let shown = format!("{:?} {telemetry:?}", config.show());
    assert!(!shown.contains("hush"), "{shown}");
    for good in ["0", "1", "0.5"] {
        load(&format!("telemetry.otlp_sample_ratio = {good}"), &[]).unwrap();
    }
    for bad in ["2", "-0.1", "1.1", "\"all\""] {
        let text = message(load(&format!("telemetry.otlp_sample_ratio = {bad}"), &[]));
        assert!(text.contains("a number from 0 to 1"), "{bad}: {text}");
    }
}

#[test]
fn tls_takes_both_files_and_credentials_are_named_by_their_place() {
    for (said, lacking) in [("tls_cert", "tls_key"), ("tls_key", "tls_cert")] {
        let text = message(load(&format!("server.{said} = \"/x.pem\""), &[]));
        let expected = format!("`server.{lacking}` is not set, and `server.{said}` is");
        assert!(text.contains(&expected), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let credentials = ("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap());
    write("tls_cert", "\n");
    write("tls_key", "\n");
    assert!(!load("", &[credentials]).unwrap().speaks_tls());
    write("tls_cert", "a certificate");
    write("tls_key", "a key");
    let config = load("", &[credentials]).unwrap();
    let place = folder.path().join("tls_key").display().to_string();
    assert!(config.speaks_tls());
    assert_eq!(config.raw.server.tls_key, place);
}

#[test]
fn a_webhook_is_a_url_and_a_secret() {
    let url = "https://hooks.slack.com/services/T0/B0/hush";
    let config = load(&format!("notify.webhook_url = \"{url}\""), &[]).unwrap();
    assert_eq!(config.raw.notify.webhook_url.reveal(), url);
    assert_eq!(config.raw.notify.on, "always");
    let shown = format!("{:?} {:?}", config.show(), config.raw.notify);
    assert!(
        !shown.contains("hush") && shown.contains("********"),
        "{shown}"
    );
    let from_environment = load("", &[("ALFRED__NOTIFY__WEBHOOK_URL", url)]).unwrap();
    assert_eq!(from_environment.raw.notify.webhook_url.reveal(), url);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("webhook_url"), format!("{url}\n")).unwrap();
    let credentials = ("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap());
    let from_credential = load("", &[credentials]).unwrap();
    assert_eq!(from_credential.raw.notify.webhook_url.reveal(), url);
    let text = message(load("notify.webhook_url = \"hooks/hush\"", &[]));
    assert!(
        text.contains("notify.webhook_url") && text.contains("https://"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
    let text = message(load("notify.on = \"never\"", &[]));
    assert!(text.contains("one of \"always\", \"fail\""), "{text}");
}

#[test]
fn a_dsn_selects_postgres_where_no_kind_is_said() {
    let dsn = [("POSTGRES_DSN", "postgresql://u:hush@h/db")];
    let config = load("", &dsn).unwrap();
    assert_eq!(config.store_kind, StoreKind::Postgres);
    let shown = format!("{:?} {:?}", config.show(), config.raw.store);
    assert!(!shown.contains("hush"), "{shown}");
    assert!(shown.contains("environment POSTGRES_DSN"), "{shown}");
    let said = load("store.kind = \"embedded\"", &dsn).unwrap();
    assert_eq!(said.store_kind, StoreKind::Embedded);
    let text = message(load("store.kind = \"postgres\"", &[]));
    assert!(
        text.contains("`store.dsn` is not set") && text.contains("POSTGRES_DSN"),
        "{text}"
    );
}

#[test]
fn secrets_come_as_credentials_and_the_environment_wins() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("openai_api_key"), "sk-file\n").unwrap();
    // What the unit puts in the place of a credential that is not there says nothing.
    std::fs::write(folder.path().join("postgres_dsn"), "\n").unwrap();
    let directory = folder.path().to_str().unwrap();
    let config = load("", &[("CREDENTIALS_DIRECTORY", directory)]).unwrap();
    assert_eq!(config.raw.embedding.api_key.reveal(), "sk-file");
    assert_eq!(config.embedding_kind, None);
    assert_eq!(config.store_kind, StoreKind::Embedded);
    let variables = [
        ("CREDENTIALS_DIRECTORY", directory),
        ("OPENAI_API_KEY", "sk-env"),
    ];
    let config = load("", &variables).unwrap();
    assert_eq!(config.raw.embedding.api_key.reveal(), "sk-env");
    assert!(!format!("{:?}", config.show()).contains("sk-"));
}

#[test]
fn lists_and_numbers_come_from_the_environment() {
    let variables = [
        ("ALFRED__SERVER__LISTEN", "127.0.0.1:0, unix:/tmp/a"),
        ("ALFRED__STORE__PATH", "007"),
    ];
    let config = load("", &variables).unwrap();
    assert_eq!(config.raw.server.listen, ["127.0.0.1:0", "unix:/tmp/a"]);
    assert_eq!(config.raw.store.path, "007");
}

/// The shipped file is what people read: it must list each key, commented out at its default.
#[test]
fn the_shipped_file_lists_every_key_at_its_default() {
    let shipped = include_str!("../../etc/alfred.toml");
    let mut section = "";
    let mut listed = Vec::new();
    for line in shipped.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name;
        } else if let Some((key, default)) = line
            .strip_prefix('#')
            .filter(|rest| !rest.starts_with(' '))
            .and_then(|rest| rest.split_once(" = "))
        {
            listed.push((format!("{section}.{key}"), default.to_owned()));
        }
    }
    let known: Vec<_> = keys::KEYS
        .iter()
        .map(|key| (key.path.to_owned(), key.default.to_owned()))
        .collect();
    assert_eq!(listed, known);
    assert!(load(shipped, &[]).is_ok());
    let uncommented: Vec<&str> = shipped
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))
                .unwrap_or(line)
        })
        .collect();
    let config = load(&uncommented.join("\n"), &[]).unwrap();
    // An empty text says nothing; all others say what holds anyway.
    let defaults = load("", &[]).unwrap();
    assert_eq!(config.changes_since(&defaults), Changes::default());
}

#[test]
fn keys_are_beside_the_store_unless_said_and_a_credential_comes_first() {
    let config = load("store.path = \"/srv/alfred\"", &[]).unwrap();
    assert_eq!(config.keys_file(), Path::new("/srv/alfred/keys.toml"));
    assert_eq!(config.keys_credential, None);
    let folder = tempfile::tempdir().unwrap();
    let credential = folder.path().join("api_keys");
    let variables = [("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())];
    let file = "server.keys_file = \"/etc/alfred/keys.toml\"";
    // What the unit puts in the place of a credential that is not there.
    std::fs::write(&credential, "\n").unwrap();
    assert_eq!(load(file, &variables).unwrap().keys_credential, None);
    std::fs::write(&credential, "[[key]]\n").unwrap();
    let config = load(file, &variables).unwrap();
    assert_eq!(config.keys_file(), Path::new("/etc/alfred/keys.toml"));
    assert_eq!(config.keys_credential, Some(credential));
}
