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

/// The section of the map under a heading.
fn section(heading: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    let start = map.find(&format!("\n## {heading}\n")).expect(heading);
    let rest = &map[start + 4..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// What stands between backticks in the first column of the tables of a section.
fn listed(section: &str) -> BTreeSet<String> {
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| {
            let column = line.split(" |").next().unwrap_or_default();
            format!("`{column}")
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Whether code uses `word`: as a whole word, no comment, and not a part of a string such as `'unsafe-inline'`.
fn uses_word(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '\'');
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .any(|line| {
            line.match_indices(word).any(|(at, _)| {
                !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part)
            })
        })
}

#[test]
fn unsafe_code_is_where_the_map_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    assert_eq!(
        manifest["lints"]["rust"]["unsafe_code"].as_str(),
        Some("deny")
    );
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "fuzz/fuzz_targets"] {
        sources(&root.join(folder), &mut files);
    }
    let found: BTreeSet<String> = files
        .iter()
        // This file names it.
        .filter(|file| !file.ends_with(file!()))
        .filter(|file| {
            let code = std::fs::read_to_string(file).unwrap();
            uses_word(&code, "unsafe") || uses_word(&code, "unsafe_code")
        })
        .map(|file| {
            file.strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let said = section("Unsafe code");
    assert_eq!(
        found,
        listed(&said),
        "the map, on the right, does not say so"
    );
    for row in said.lines().filter(|line| line.starts_with("| `")) {
        let reason = row.rsplit(" | ").next().unwrap();
        assert!(reason.len() > 80, "why is it sound? {row}");
    }
}

#[test]
fn dependencies_are_counted_and_each_has_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| -> toml::Table {
        toml::from_str(&std::fs::read_to_string(root.join(file)).unwrap()).unwrap()
    };
    let manifest = read("Cargo.toml");
    let named: Vec<&String> = manifest["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .collect();
    let said = section("Why each dependency is there");
    let listed = listed(&said);
    let without: Vec<_> = named
        .iter()
        .filter(|name| !listed.contains(**name))
        .collect();
    assert!(without.is_empty(), "no reason is given for {without:?}");
    let gone: Vec<_> = listed.iter().filter(|name| !named.contains(name)).collect();
    // Features, and no crates.
    let kept = ["frame-pointer", "deflate"];
    let gone: Vec<_> = gone
        .into_iter()
        .filter(|name| !kept.contains(&&***name))
        .collect();
    assert!(
        gone.is_empty(),
        "these are no dependencies any more: {gone:?}"
    );
    let lock = read("Cargo.lock");
    let locked = lock["package"].as_array().unwrap().len();
    for sentence in [
        format!("`Cargo.toml` names {} crates", named.len()),
        format!("`Cargo.lock` holds {locked},"),
    ] {
        assert!(said.contains(&sentence), "it is not there: {sentence}");
    }
}

#[test]
fn every_dependency_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let code: String = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    // For their features alone, as the map says.
    let not_called = ["hashbrown", "num-bigint", "num-complex", "reqwest"];
    let unused: Vec<&String> = manifest["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .filter(|name| !not_called.contains(&name.as_str()))
        .filter(|name| {
            let name = name.replace('-', "_");
            ["::", ";", "!"]
                .iter()
                .all(|after| !code.contains(&format!("{name}{after}")))
        })
        .collect();
    assert!(unused.is_empty(), "nothing in src uses {unused:?}");
}

/// What packages carry: each crate that is linked, once, with the digest that `Cargo.lock` has of it.
#[test]
fn the_bill_of_materials_names_every_crate_that_is_linked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let printed = std::process::Command::new("python3")
        .arg(root.join("packaging/sbom.py"))
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&printed.stderr);
    let bom: serde_json::Value = serde_json::from_slice(&printed.stdout).expect(&said);
    assert_eq!(bom["specVersion"], "1.6");
    assert_eq!(bom["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    let components = bom["components"].as_array().unwrap();
    let urls: BTreeSet<&str> = components
        .iter()
        .map(|component| component["purl"].as_str().unwrap())
        .collect();
    assert_eq!(urls.len(), components.len(), "one is there twice");
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let mut crates = 0;
    for component in components {
        let text = |key: &str| component[key].as_str().unwrap();
        assert!(component["licenses"][0].is_object(), "{component}");
        if !text("purl").starts_with("pkg:cargo/") {
            continue;
        }
        crates += 1;
        let digest = component["hashes"][0]["content"].as_str().unwrap();
        let locked = format!(
            "name = \"{}\"\nversion = \"{}\"\n",
            text("name"),
            text("version")
        );
        let at = lock.find(&locked).unwrap_or_else(|| panic!("{component}"));
        let entry = lock[at..].split("\n\n").next().unwrap();
        assert!(entry.contains(digest), "{component}");
    }
    let manifest: toml::Table =
        toml::from_str(&std::fs::read_to_string(root.join("Cargo.toml")).unwrap()).unwrap();
    for name in manifest["dependencies"].as_table().unwrap().keys() {
        let url = format!("pkg:cargo/{name}@");
        assert!(
            urls.iter().any(|known| known.starts_with(&url)),
            "{name} is missing"
        );
    }
    // The figure is that of the machine that the packages are built for.
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        let said = section("Why each dependency is there");
        let sentence = format!("{crates} crates are linked");
        assert!(said.contains(&sentence), "it is not there: {sentence}");
    }
}
