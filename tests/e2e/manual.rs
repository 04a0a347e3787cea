//! Manual pages and completions: there for every command, complete, and without a complaint from
//! the tools that show them.

use crate::support::Home;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Every command and what its `--help` says, as the golden file has them.
fn commands() -> Vec<(Vec<&'static str>, &'static str)> {
    include_str!("golden/help.txt")
        .split("$ alfred ")
        .skip(1)
        .map(|part| {
            let (line, help) = part.split_once('\n').unwrap();
            let words = line.split_whitespace().filter(|word| *word != "--help");
            (words.collect(), help)
        })
        .collect()
}

fn generate(home: &Home, what: &str) -> PathBuf {
    let folder = home.path().join(what);
    let mut arguments = vec!["generate", what, folder.to_str().unwrap()];
    if what == "man" {
        arguments.extend(["--date", "2026-11-24"]);
    }
    home.alfred(&arguments).expect(0);
    folder
}

/// Runs a tool, which `scripts/test` installs, over a file.
fn tool(command: &[&str], file: &Path) -> Output {
    Command::new(command[0])
        .args(&command[1..])
        .arg(file)
        .env("MANROFFSEQ", "")
        .env("MANWIDTH", "80")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; scripts/test installs it", command[0]))
}

#[track_caller]
fn is_silent(output: &Output, file: &Path, stdout_too: bool) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}: {stdout}{stderr}",
        file.display()
    );
    assert_eq!(stderr, "", "{}", file.display());
    assert!(
        !stdout_too || stdout.is_empty(),
        "{}: {stdout}",
        file.display()
    );
}

#[test]
fn every_command_has_a_page_with_every_option() {
    let home = Home::new();
    let folder = generate(&home, "man");
    let all = commands();
    assert!(all.len() > 15, "{all:?}");
    for (words, help) in &all {
        let name = [&["alfred"][..], words].concat().join("-");
        let page = std::fs::read_to_string(folder.join(format!("{name}.1")))
            .unwrap_or_else(|error| panic!("{name}.1: {error}"));
        let options = help.lines().filter_map(|line| {
            let option = line
                .trim_start()
                .split([' ', '=', '['])
                .find(|word| word.starts_with("--"))?;
            line.starts_with(' ').then_some(option)
        });
        for option in options {
            let escaped = option.replace('-', "\\-");
            assert!(page.contains(&escaped), "{name}.1 does not have {option}");
        }
        assert!(
            page.contains("2026\\-11\\-24") || page.contains("2026-11-24"),
            "{page}"
        );
    }
    let pages = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(
        pages,
        all.len() + 1,
        "a page of no command, or a hidden one"
    );
}

#[test]
fn the_tools_that_show_pages_find_no_fault_in_them() {
    let home = Home::new();
    let folder = generate(&home, "man");
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        is_silent(
            &tool(&["mandoc", "-T", "lint", "-W", "warning"], &file),
            &file,
            true,
        );
        let man = ["man", "--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", "-Z"];
        is_silent(&tool(&man, &file), &file, false);
    }
}

#[test]
fn shells_read_the_completions_which_know_every_verb() {
    let home = Home::new();
    let folder = generate(&home, "completions");
    let files = [
        (&["bash", "-n"][..], "alfred.bash"),
        (&["zsh", "-n"], "_alfred"),
        (&["fish", "--no-execute"], "alfred.fish"),
    ];
    for (shell, name) in files {
        let file = folder.join(name);
        let text = std::fs::read_to_string(&file).unwrap();
        for (words, _) in commands() {
            assert!(
                words.iter().all(|word| text.contains(word)),
                "{words:?} in {name}"
            );
        }
        assert!(!text.contains("extract-worker"), "a hidden verb in {name}");
        is_silent(&tool(shell, &file), &file, true);
    }
}
