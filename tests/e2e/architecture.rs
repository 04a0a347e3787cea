//! The direction of dependency: reads every `crate::` path in `src` and fails when one points up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Module → the modules it may use besides itself and the leaves.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "http",
            "ingest",
            "soak",
            "report",
            "notify",
            "search",
            "embed",
            "provider",
            "store",
            "extract",
            "chunking",
            "config",
            "domain",
            "telemetry",
            "client",
            "transfer",
            "access",
            "stack",
        ],
    ),
    (
        "http",
        &[
            "access",
            "ingest",
            "search",
            "store",
            "embed",
            "extract",
            "domain",
            "telemetry",
        ],
    ),
    (
        "ingest",
        &["embed", "store", "chunking", "extract", "domain"],
    ),
    (
        "search",
        &[
            "embed",
            "provider",
            "store",
            "extract",
            "answering",
            "terms",
            "domain",
        ],
    ),
    ("transfer", &["embed", "store", "domain"]),
    ("store", &["fusion", "terms", "domain"]),
    ("embed", &["provider", "domain"]),
    ("provider", &["domain"]),
    ("extract", &["domain", "sentences"]),
    ("chunking", &["domain", "sentences"]),
    ("answering", &["sentences", "domain"]),
    // Pure: who may come in.
    ("access", &["domain"]),
    ("sentences", &[]),
    ("terms", &[]),
    ("fusion", &["domain"]),
    // What fuzzing and its tests call; in no release.
    (
        "fuzzing",
        &[
            "http",
            "ingest",
            "soak",
            "report",
            "embed",
            "provider",
            "store",
            "extract",
            "chunking",
            "answering",
            "config",
            "access",
            "domain",
        ],
    ),
    // A client over HTTP: it would work against any server.
    ("soak", &["client"]),
    // Reads the run folder alone, through the types that wrote it.
    ("report", &["soak"]),
    // Words from what was judged, and retries as for a provider.
    ("notify", &["soak", "provider"]),
    // Starts services and asks them whether they answer; it knows nothing of what alfred does.
    ("stack", &["client"]),
    ("client", &[]),
    ("telemetry", &[]),
    ("config", &["domain"]),
    ("domain", &[]),
    ("clock", &[]),
    ("counted", &[]),
    ("failure", &[]),
    ("plain", &[]),
    ("program", &[]),
    ("secret", &[]),
    ("tls", &[]),
];

/// Anybody may use these. What happens is logged where it happens.
const LEAVES: [&str; 8] = [
    "clock",
    "counted",
    "failure",
    "plain",
    "program",
    "secret",
    "telemetry",
    "tls",
];

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level modules that a source file names: `crate::a`, `alfred::a`, `use crate::{a, b}`.
fn named(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        for part in line
            .split("crate::")
            .skip(1)
            .chain(line.split("alfred::").skip(1))
        {
            let list = part.strip_prefix('{').map_or_else(
                || {
                    part.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .take(1)
                        .collect()
                },
                |rest| {
                    rest.split('}')
                        .next()
                        .unwrap_or("")
                        .split(", ")
                        .collect::<Vec<_>>()
                },
            );
            let first = |item: &str| item.split("::").next().unwrap_or("").trim().to_owned();
            names.extend(list.into_iter().map(first).filter(|name| !name.is_empty()));
        }
    }
    names
}

#[test]
fn arrows_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for file in &files {
        let relative = file
            .strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let module = relative
            .split(['/', '.'])
            .next()
            .unwrap_or_default()
            .to_owned();
        if module == "lib" {
            continue;
        }
        let Some(may) = allowed.get(module.as_str()) else {
            wrong.push(format!(
                "{relative}: the module {module} has no place in ARROWS"
            ));
            continue;
        };
        for name in named(&std::fs::read_to_string(file).unwrap()) {
            let is_module = allowed.contains_key(name.as_str());
            arrows += usize::from(is_module);
            if is_module && name != module && !may.contains(&&*name) && !LEAVES.contains(&&*name) {
                wrong.push(format!("{relative} uses {name}"));
            }
        }
    }
    assert!(
        arrows > 50,
        "only {arrows} arrows were read: does this test still see the source?"
    );
    assert!(
        wrong.is_empty(),
        "arrows that point up:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn files_stay_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let long: Vec<String> = files
        .iter()
        .map(|file| (file, std::fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(
        long.is_empty(),
        "files past 500 lines:\n{}",
        long.join("\n")
    );
}

#[test]
fn the_arrow_reader_sees_through_groups() {
    let text =
        "use crate::{store, embed::Embedder};\nlet x = crate::domain::Query;\n// crate::no\n";
    let expected: BTreeSet<String> = ["store", "embed", "domain"].map(String::from).into();
    assert_eq!(named(text), expected);
}
