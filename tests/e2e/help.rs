//! What `--help` says, of every command: a change shows in the golden file, and is meant.

use crate::support::Home;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Set to anything, it writes the file anew.
const REWRITE: &str = "ALFRED_REWRITE_GOLDEN";

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by its environment to write the golden file"
)]
fn help_is_as_it_was() {
    let home = Home::new();
    let mut text = String::new();
    add(&home, &[], &mut text);
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/golden/help.txt");
    if std::env::var_os(REWRITE).is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    let mut lines = text.lines().zip(expected.lines()).enumerate();
    let differing = lines.find(|(_, (is, was))| is != was);
    if let Some((number, (is, was))) = differing {
        panic!("line {}: {is:?}, was {was:?}; {}", number + 1, how());
    }
    assert_eq!(text.len(), expected.len(), "{}", how());
}

fn how() -> String {
    format!("if that is meant, run this test with {REWRITE}=1 and look at the difference")
}

/// The help of a command, then of those below it.
fn add(home: &Home, command: &[String], text: &mut String) {
    let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = home.alfred(&arguments).expect(0).stdout;
    writeln!(text, "$ alfred {}\n\n{help}", arguments.join(" ")).unwrap();
    let below = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|name| *name != "help" && name.starts_with(char::is_alphabetic));
    for name in below {
        let command: Vec<String> = command.iter().cloned().chain([name.to_owned()]).collect();
        add(home, &command, text);
    }
}
