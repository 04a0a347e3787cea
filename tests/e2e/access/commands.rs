//! `alfred key`, and the file that it writes.

use super::{key, reload, socket, to};
use crate::support::Home;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn keys_are_made_listed_and_revoked_and_each_change_is_in_force_at_once() {
    let home = Home::new();
    let none = home.alfred(&["key", "list"]).expect(0);
    assert!(none.stdout.contains("need none"), "{}", none.stdout);
    let daemon = home.serve(&[]);
    assert_eq!(
        to(&daemon).get("/v1/status").status,
        200,
        "open without keys"
    );
    let done = home.alfred(&["key", "new", "app"]).expect(0);
    let app = done.stdout.trim();
    assert!(app.starts_with("alfred_") && app.len() == 50, "{app}");
    assert!(done.stderr.contains("in force") && done.stderr.contains("first one"));
    assert!(!done.stderr.contains(app));
    assert_eq!(
        to(&daemon).get("/v1/status").status,
        401,
        "and closed with one"
    );
    let status = to(&daemon).with(app).get("/v1/status").body;
    assert_eq!(status["access"]["keys"], 1, "{status}");
    let made = [
        "key",
        "new",
        "ci",
        "--role",
        "write",
        "--collection",
        "b",
        "--collection",
        "a",
        "--json",
    ];
    let made = home.alfred(&made).expect(0).json();
    assert_eq!(made["collections"], json!(["a", "b"]));
    assert_eq!(made["reloaded"], true);
    assert!(
        made["created_at"].as_str().unwrap().ends_with('Z'),
        "{made}"
    );
    let ci = made["key"].as_str().unwrap();
    assert_eq!(to(&daemon).with(ci).get("/v1/collections").status, 200);
    let list = home.alfred(&["key", "list", "--json"]).expect(0);
    assert!(!list.stdout.contains(ci));
    let list = list.json();
    assert_eq!(list["keys"][0]["name"], "app");
    assert_eq!(list["keys"][1]["role"], "write");
    let text = home.alfred(&["key", "list"]).expect(0).stdout;
    assert!(
        text.contains("ci    write") && text.contains("a, b"),
        "{text}"
    );
    let file = home.path().join("store/keys.toml");
    let permissions = std::fs::metadata(&file).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o640);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!kept.contains(ci) && !kept.contains(&ci[7..]), "{kept}");

    let again = home.alfred(&["key", "new", "app"]).expect(1);
    assert!(again.stderr.contains("already"), "{}", again.stderr);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_revoked_key_opens_nothing_and_the_last_one_leaves_the_door_closed() {
    let home = Home::new();
    let (app, file) = (key(&home, "app", &[]), home.path().join("store/keys.toml"));
    let app = app.as_str();
    key(&home, "ci", &[]);
    let daemon = home.serve(&[]);
    home.alfred(&["key", "revoke", "app"]).expect(0);
    assert_eq!(to(&daemon).with(app).get("/v1/status").status, 401);
    let missing = home.alfred(&["key", "revoke", "app"]).expect(1);
    assert!(
        missing.stderr.contains("there are: ci"),
        "{}",
        missing.stderr
    );
    let last = home.alfred(&["key", "revoke", "ci"]).expect(0);
    assert!(last.stdout.contains("no key is left"), "{}", last.stdout);
    assert_eq!(to(&daemon).get("/v1/status").status, 401, "closed to all");
    std::fs::remove_file(&file).unwrap();
    reload(&home).expect(0);
    assert_eq!(to(&daemon).get("/v1/status").status, 200, "open again");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_is_wrong_with_a_new_key_is_said() {
    let home = Home::new();
    for (arguments, code, says) in [
        (vec!["key", "new", "a b"], 2, "1 to 64 characters"),
        (vec!["key", "new", "alfred_x"], 2, "must not begin"),
        (vec!["key", "new", "a", "--role", "root"], 2, "query"),
        (
            vec!["key", "new", "a", "--collection", "A b"],
            2,
            "--collection",
        ),
        (
            vec!["key", "new", "a", "--file", "no/such/keys.toml"],
            1,
            "folder",
        ),
        (vec!["key", "revoke", "a"], 1, "alfred key new"),
    ] {
        let done = home.alfred(&arguments).expect(code);
        assert!(done.stderr.contains(says), "{arguments:?}: {}", done.stderr);
    }
    assert!(!home.path().join("store/keys.toml").exists());
}

#[test]
fn a_broken_file_is_refused_and_the_old_keys_stay() {
    let home = Home::new();
    let app = key(&home, "app", &[]);
    let daemon = home.serve(&[]);
    let file = home.path().join("store/keys.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    for (broken, says) in [
        (good.replace("role", "rule"), "no field `rule`"),
        (
            format!("{good}\n[[key]]\nname = \"b\"\nrole = \"query\"\nsha256 = \"{app}\"\n"),
            "not the key itself",
        ),
        (format!("{good}\n{app}\n"), "line "),
        (format!("{good}{good}"), "there are two"),
    ] {
        std::fs::write(&file, broken).unwrap();
        let refused = reload(&home).expect(1);
        assert!(refused.stderr.contains(says), "{says}: {}", refused.stderr);
        assert!(refused.stderr.contains("keys.toml"), "{}", refused.stderr);
        assert!(!refused.stderr.contains(&app[7..]), "{}", refused.stderr);
        assert_eq!(to(&daemon).with(&app).get("/v1/collections").status, 200);
        assert_eq!(to(&daemon).get("/v1/collections").status, 401);
        let status = socket(&home).get("/v1/status").body;
        assert_eq!(status["reload"]["successful"], false);
        // A key that cannot be put in force says so, and why.
        home.alfred(&["key", "new", "more"]).expect(78);
    }
    std::fs::write(&file, &good).unwrap();
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&file, open).unwrap();
    let refused = reload(&home).expect(1);
    assert!(refused.stderr.contains("everybody may write it"));
    let start = home.alfred(&["serve", "--check"]).expect(78);
    assert!(start.stderr.contains("everybody may write it"));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_change_that_the_daemon_refuses_is_told() {
    let home = Home::new();
    let app = key(&home, "app", &[]);
    home.write("alfred.toml", "[server]\nlisten = [\"127.0.0.1:0\"]\n");
    let daemon = crate::support::Daemon::start(home.command(&["serve", "--config", "alfred.toml"]));
    home.write(
        "alfred.toml",
        "[server]\nlisten = [\"127.0.0.1:0\"]\nmax_in_flight = 0\n",
    );
    // From a configuration that is sound itself.
    home.write("other.toml", "");
    let late = ["key", "revoke", "app", "--config", "other.toml"];
    let refused = home.alfred(&late).expect(1);
    assert!(refused.stderr.contains("still takes it") && refused.stderr.contains("max_in_flight"));
    assert_eq!(to(&daemon).with(&app).get("/v1/collections").status, 200);
    let made = home
        .alfred(&["key", "new", "b", "--config", "other.toml"])
        .expect(1);
    assert!(made.stderr.contains("not in force"), "{}", made.stderr);
    assert_eq!(
        made.stdout.trim().len(),
        50,
        "the key is shown all the same"
    );
    let quiet = ["key", "new", "c", "--config", "other.toml", "--no-reload"];
    home.alfred(&quiet).expect(0);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_key_is_not_put_where_the_running_daemon_does_not_look() {
    let home = Home::new();
    key(&home, "app", &["--file", "elsewhere.toml"]);
    let file = home.path().join("elsewhere.toml");
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("ALFRED__SERVER__KEYS_FILE", &file);
    let daemon = crate::support::Daemon::start(command);
    let refused = home.alfred(&["key", "new", "b"]).expect(1);
    assert!(
        refused.stderr.contains("elsewhere.toml, not from"),
        "{}",
        refused.stderr
    );
    assert!(!home.path().join("store/keys.toml").exists());
    let b = key(&home, "b", &["--file", file.to_str().unwrap()]);
    assert_eq!(to(&daemon).with(&b).get("/v1/collections").status, 200);
    assert_eq!(daemon.stop(), 0);
    // A file that was named has to be there.
    let mut command = home.command(&["serve", "--check"]);
    command.env("ALFRED__SERVER__KEYS_FILE", home.path().join("none.toml"));
    let refused = crate::support::finish(command.spawn().unwrap()).expect(78);
    assert!(
        refused.stderr.contains("alfred key new"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_credential_is_read_instead_of_the_file() {
    let home = Home::new();
    let of_file = key(&home, "of-file", &[]);
    let folder = home.path().join("credentials");
    std::fs::create_dir(&folder).unwrap();
    let credential = folder.join("api_keys");
    let first = key(&home, "first", &["--file", credential.to_str().unwrap()]);
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("CREDENTIALS_DIRECTORY", &folder);
    let daemon = crate::support::Daemon::start(command);
    let status = |key: &str| to(&daemon).with(key).get("/v1/collections").status;
    assert_eq!((status(&first), status(&of_file)), (200, 401));
    // Changed in place, as a mounted secret is.
    let second = key(
        &home,
        "second",
        &["--file", credential.to_str().unwrap(), "--no-reload"],
    );
    assert_eq!((status(&first), status(&second)), (200, 401));
    let told = reload(&home).expect(0);
    assert!(
        told.stdout.contains("changed: server.keys_file"),
        "{}",
        told.stdout
    );
    assert_eq!((status(&first), status(&second)), (200, 200));
    home.alfred(&[
        "key",
        "revoke",
        "first",
        "--file",
        credential.to_str().unwrap(),
    ])
    .expect(0);
    assert_eq!((status(&first), status(&second)), (401, 200));
    assert_eq!(daemon.stop(), 0);
}
