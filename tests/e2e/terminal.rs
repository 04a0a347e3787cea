//! A terminal: runs a command on a pseudo-terminal, and shows what a person would see.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail where a test would; clippy exempts only functions marked as tests"
)]

use std::process::{Command, Output, Stdio};

/// As much of a terminal as is needed: text, line ends, the cursor up, erasing.
pub(crate) struct Terminal {
    rows: usize,
    columns: usize,
    lines: Vec<String>,
    row: usize,
    column: usize,
    /// What went out at the top.
    pub(crate) scrolled: Vec<String>,
}

impl Terminal {
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            lines: vec![String::new(); rows],
            row: 0,
            column: 0,
            scrolled: Vec::new(),
        }
    }

    /// What is on it now.
    pub(crate) fn screen(&self) -> String {
        self.lines.join("\n")
    }

    pub(crate) fn feed(&mut self, text: &str) {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\r' => self.column = 0,
                '\n' => self.down(),
                '\u{1b}' => {
                    let (parameters, end) = sequence(&mut characters);
                    self.obey(&parameters, end);
                }
                character => self.put(character),
            }
        }
    }

    fn obey(&mut self, parameters: &str, end: char) {
        match end {
            'm' => {}
            'A' => self.row = self.row.saturating_sub(parameters.parse().unwrap_or(1)),
            'K' => self.cut(self.row),
            'J' => {
                self.cut(self.row);
                for line in &mut self.lines[self.row + 1..] {
                    line.clear();
                }
            }
            other => panic!("an unknown sequence: {parameters}{other}"),
        }
    }

    fn cut(&mut self, row: usize) {
        let kept = self.lines[row].chars().take(self.column).collect();
        self.lines[row] = kept;
    }

    fn put(&mut self, character: char) {
        if self.column == self.columns {
            self.column = 0;
            self.down();
        }
        let mut line: Vec<char> = self.lines[self.row].chars().collect();
        line.resize(line.len().max(self.column + 1), ' ');
        line[self.column] = character;
        self.lines[self.row] = line.into_iter().collect();
        self.column += 1;
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.rows {
            self.scrolled.push(self.lines.remove(0));
            self.lines.push(String::new());
            self.row -= 1;
        }
    }
}

/// What follows an escape: `[`, parameters, a letter.
fn sequence(characters: &mut std::str::Chars<'_>) -> (String, char) {
    assert_eq!(characters.next(), Some('['), "an unknown sequence");
    let mut parameters = String::new();
    loop {
        let next = characters.next().unwrap();
        if next.is_ascii_alphabetic() {
            return (parameters, next);
        }
        parameters.push(next);
    }
}

/// Runs `script` with sh on a pseudo-terminal of this size; its environment and folder are those of
/// `command`, whose program is `$ALFRED`.
pub(crate) fn on_a_terminal(command: &Command, script: &str, size: (usize, usize)) -> Output {
    let mut run = Command::new("script");
    let (rows, columns) = size;
    run.args(["-qec"])
        .arg(format!("stty rows {rows} cols {columns}; {script}"))
        .arg("/dev/null")
        .current_dir(command.get_current_dir().unwrap())
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR")
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .env("SHELL", "/bin/sh")
        .env("ALFRED", command.get_program())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
    }
    run.output().unwrap()
}
