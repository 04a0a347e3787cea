//! Section 1: a page for `alfred`, for each verb, and for each verb of a verb.

use super::roff_page::{MANUAL, plain_text, see_also, source, tagged};
use super::{Failure, Page};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::Roff;

const FILES: &[(&str, &str)] = &[
    (
        "/etc/alfred/alfred.toml",
        "The configuration; see alfred.toml(5).",
    ),
    (
        "/etc/alfred/soak.d/*.toml",
        "Scenarios of alfred-soak@.service.",
    ),
    (
        "/run/alfred/alfred.sock",
        "Where the daemon answers the command line. Members of the group alfred may use it.",
    ),
    (
        "/var/lib/alfred",
        "The store, the recorded soak runs, the keys.",
    ),
    (
        "/usr/share/alfred",
        "The embedding model, and questions to measure with.",
    ),
];

const STATUS: &[(&str, &str)] = &[
    ("0", "Done, or the verdict PASS."),
    ("1", "Failed."),
    ("2", "The command line makes no sense."),
    ("78", "The configuration is wrong."),
    ("98", "The verdict INVALID: the run cannot be judged."),
    ("99", "The verdict FAIL: a threshold was crossed."),
];

/// All pages.
///
/// # Errors
/// When a page cannot be rendered.
pub(super) fn pages(command: Command, date: &str) -> Result<Vec<Page>, Failure> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, None, date, &mut pages)
        .map_err(|error| Failure::failed("cannot render a manual page").because(error))?;
    Ok(pages)
}

fn add(
    command: &Command,
    above: Option<&str>,
    date: &str,
    pages: &mut Vec<Page>,
) -> std::io::Result<()> {
    pages.push(page(command, above, date)?);
    for below in visible(command) {
        add(below, Some(name(command)), date, pages)?;
    }
    Ok(())
}

/// `alfred-store-info`, which clap sets when it builds a command.
fn name(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
}

fn page(command: &Command, above: Option<&str>, date: &str) -> std::io::Result<Page> {
    let mut bytes = Vec::new();
    let man = Man::new(command.clone())
        .title(name(command).to_uppercase())
        .date(date)
        .source(source())
        .manual(MANUAL);
    man.render_title(&mut bytes)?;
    man.render_name_section(&mut bytes)?;
    man.render_synopsis_section(&mut bytes)?;
    man.render_description_section(&mut bytes)?;
    man.render_options_section(&mut bytes)?;
    if visible(command).next().is_some() {
        man.render_subcommands_section(&mut bytes)?;
    }
    let mut rest = Roff::new();
    if let Some(text) = command.get_after_long_help().or(command.get_after_help()) {
        after_help(&mut rest, &text.to_string());
    }
    if above.is_none() {
        tagged(&mut rest, "EXIT STATUS", STATUS);
        tagged(&mut rest, "FILES", FILES);
    }
    see_also(&mut rest, &neighbours(command, above));
    rest.to_writer(&mut bytes)?;
    Ok(Page {
        file: format!("{}.1", name(command)),
        roff: tidy(&String::from_utf8_lossy(&bytes)),
    })
}

/// What follows the options in `--help`: examples first, then remarks.
fn after_help(roff: &mut Roff, text: &str) {
    let examples = ["Examples:\n", "Example:\n"];
    let stripped = examples.iter().find_map(|head| text.strip_prefix(head));
    let heading = if stripped.is_some() {
        "EXAMPLES"
    } else {
        "NOTES"
    };
    roff.control("SH", [heading]);
    plain_text(roff, stripped.unwrap_or(text));
}

fn neighbours(command: &Command, above: Option<&str>) -> Vec<String> {
    let mut pages: Vec<String> = above.iter().map(|name| format!("{name}(1)")).collect();
    pages.extend(visible(command).map(|below| format!("{}(1)", name(below))));
    pages.push("alfred.toml(5)".to_owned());
    pages
}

/// Every piece that is rendered begins with the same two definitions, of which one pair is enough;
/// and breaks around empty lines and blanks at line ends are what `mandoc -T lint` objects to.
fn tidy(roff: &str) -> String {
    let mut preambles = 0;
    let mut kept = String::with_capacity(roff.len());
    for line in roff.replace(".br\n\n.br\n", ".sp\n").lines() {
        let preamble = line.starts_with(".ie \\n(.g") || line.starts_with(".el .ds Aq");
        preambles += usize::from(preamble);
        if !preamble || preambles <= 2 {
            kept.push_str(line.trim_end());
            kept.push('\n');
        }
    }
    kept
}
