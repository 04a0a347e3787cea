use super::*;

fn corpus() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        "docs/a.md",
        "docs/deep/er/b.md",
        "docs/c.pdf",
        "docs/.git/x.md",
        "top.txt",
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    std::fs::write(folder.path().join("docs/d.bin"), "x").unwrap();
    folder
}

fn sources(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
    let found = find(&arguments, Path::new("."), folder).unwrap();
    found
        .files
        .into_iter()
        .map(|file| file.source.as_str().to_owned())
        .collect()
}

#[test]
fn quoted_and_unquoted_patterns_find_the_same() {
    let folder = corpus();
    let quoted = sources(folder.path(), &["./docs/**/*.md"]);
    assert_eq!(quoted, ["docs/a.md", "docs/deep/er/b.md"]);
    assert_eq!(
        quoted,
        sources(folder.path(), &["docs/deep/er/b.md", "./docs/a.md"])
    );
    let all = ["docs/a.md", "docs/c.pdf", "docs/deep/er/b.md"];
    assert_eq!(sources(folder.path(), &["docs", "docs/*.md"]), all);
}

#[test]
fn names_that_would_look_the_same_are_problems() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = corpus();
    let names: [&[u8]; 4] = [b"x\xfe.md", b"x\xff.md", b"d\\a.md", b"d/a.md"];
    std::fs::create_dir(folder.path().join("d")).unwrap();
    for name in names {
        let name = std::ffi::OsStr::from_bytes(name);
        std::fs::write(folder.path().join(name), "text").unwrap();
    }
    let found = find(&[".".to_owned()], Path::new("."), folder.path()).unwrap();
    let problems: Vec<&str> = found.problems.iter().map(|(_, p)| p.as_str()).collect();
    let count = |part| problems.iter().filter(|p| p.contains(part)).count();
    assert_eq!(count("not UTF-8"), 2, "{problems:?}");
    assert_eq!(count("known as d/a.md"), 1, "{problems:?}");
    assert_eq!(problems.len(), 3, "{problems:?}");
}

#[test]
fn what_is_skipped_is_counted_by_its_ending() {
    let folder = corpus();
    for name in ["a.PNG", "b.png", "c.zip", "Makefile", ".hidden.png"] {
        std::fs::write(folder.path().join(name), "four").unwrap();
    }
    let found = find(&[".".to_owned()], Path::new("."), folder.path()).unwrap();
    assert_eq!(found.skipped.total(), 5);
    let by_ending = found.skipped.by_name();
    let counts = [".png", ".zip", "no ending"].map(|ending| by_ending[ending]);
    assert_eq!(counts, [2, 1, 1], "{by_ending:?}");
    let named = find(&["c.zip".to_owned()], Path::new("."), folder.path()).unwrap();
    assert_eq!((named.skipped.total(), named.files[0].bytes), (0, 4));
}

#[test]
fn mistakes_are_named() {
    let folder = corpus();
    let mistake = |argument: &str| {
        find(&[argument.to_owned()], Path::new("docs"), folder.path()).expect_err(argument)
    };
    assert_eq!(
        mistake("nothing.md"),
        FilesError::Missing("nothing.md".into())
    );
    assert!(matches!(mistake("top.txt"), FilesError::OutsideRoot { .. }));
    assert!(matches!(mistake("docs/[a.md"), FilesError::Pattern { .. }));
    assert!(matches!(mistake("s3://b/p"), FilesError::Scheme(_)));
    assert!(matches!(mistake(""), FilesError::Missing(_)));
    let no_root = find(&["x".to_owned()], Path::new("nope"), folder.path());
    assert_eq!(no_root.unwrap_err(), FilesError::Root("nope".into()));
}

#[test]
fn a_pattern_without_a_match_is_told_with_the_folder_that_is_not_there() {
    let folder = corpus();
    let given = ["docs", "docs/*.md", "docs/*.html", "moved/**/*.md"].map(str::to_owned);
    let found = find(&given, Path::new("."), folder.path()).unwrap();
    let told: Vec<String> = found.unmatched.iter().map(ToString::to_string).collect();
    let missing = folder.path().join("moved");
    let expected = [
        "docs/*.html: matches nothing".to_owned(),
        format!(
            "moved/**/*.md: matches nothing: there is no folder {}",
            missing.display()
        ),
    ];
    assert_eq!((found.files.len(), told), (3, expected.to_vec()));
    assert!(!found.coverage.covers("moved/a.md") && found.coverage.covers("docs/gone.md"));
}

#[test]
fn what_could_not_be_read_is_never_gone() {
    let folder = corpus();
    std::fs::rename(folder.path().join("docs/deep"), folder.path().join("away")).unwrap();
    std::os::unix::fs::symlink("unmounted", folder.path().join("docs/deep")).unwrap();
    let found = find(&["docs".to_owned()], Path::new("."), folder.path()).unwrap();
    assert_eq!(found.problems.len(), 1);
    assert!(!found.coverage.covers("docs/deep/er/b.md"));
    assert!(found.coverage.covers("docs/gone.md") && found.coverage.covers("docs/deeper.md"));
}

#[test]
fn links_out_of_the_root_and_loops_are_not_followed() {
    let outside = corpus();
    let folder = corpus();
    let link = |to: &Path, name: &str| {
        std::os::unix::fs::symlink(to, folder.path().join("docs").join(name)).unwrap();
    };
    link(&outside.path().join("top.txt"), "secret.txt");
    link(&folder.path().join("docs"), "loop");
    let found = find(&["docs".to_owned()], Path::new("."), folder.path()).unwrap();
    assert_eq!(found.files.len(), 3);
    let problems: Vec<&str> = found.problems.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(problems, ["it is a link to a file outside the root"]);
}

#[test]
fn a_link_to_a_folder_outside_is_one_problem_and_nothing_of_it_is_looked_at() {
    let (outside, folder) = (corpus(), corpus());
    std::os::unix::fs::symlink(outside.path(), folder.path().join("docs/out")).unwrap();
    let found = find(&["docs".to_owned()], Path::new("."), folder.path()).unwrap();
    assert_eq!(found.files.len(), 3);
    let problems: Vec<&str> = found.problems.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(problems, ["it is a link to a folder outside the root"]);
    // What a link led to before may come back: nothing there is gone.
    assert!(!found.coverage.covers("docs/out/top.txt"));
}

#[test]
fn folders_that_link_to_each_other_are_walked_a_few_times_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let level = |level: usize| folder.path().join(format!("{level:02}"));
    for at in 0..40 {
        std::fs::create_dir(level(at)).unwrap();
        std::fs::write(level(at).join("x.md"), "text").unwrap();
        for name in ["a", "b"] {
            let to = format!("../{:02}", at + 1);
            std::os::unix::fs::symlink(to, level(at).join(name)).unwrap();
        }
    }
    std::fs::create_dir(level(40)).unwrap();
    let found = find(&["00".to_owned()], Path::new("."), folder.path()).unwrap();
    let most = usize::from(WALKS_THROUGH_LINKS);
    assert!(found.files.len() > 40, "{}", found.files.len());
    assert!(found.files.len() <= 1 + 40 * most, "{}", found.files.len());
    assert!(
        found
            .problems
            .iter()
            .all(|(_, why)| why.contains("many links"))
    );
}

#[test]
fn a_folder_of_files_covers_no_url() {
    let folder = corpus();
    let everything = [".".to_owned(), "**/*.md".to_owned()];
    let found = find(&everything, Path::new("."), folder.path()).unwrap();
    assert!(found.coverage.covers("gone.md"));
    assert!(!found.coverage.covers("s3://bucket/gone.md"));
}

#[test]
fn coverage_knows_what_would_have_been_found() {
    let folder = corpus();
    let arguments = ["docs/deep".to_owned(), "*.txt".to_owned()];
    let coverage = find(&arguments, Path::new("."), folder.path())
        .unwrap()
        .coverage;
    assert!(coverage.covers("docs/deep/gone.md") && coverage.covers("gone.txt"));
    assert!(!coverage.covers("docs/gone.md") && !coverage.covers("docs/deeper/gone.md"));
    assert!(!coverage.covers("docs/deep/gone.bin") && !coverage.has_plain_files);
}
