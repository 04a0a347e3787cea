//! Which program for compose files is at hand, and works.

use crate::failure::Failure;
use crate::program::{Asked, ask_all};
use std::time::Duration;

/// Longest that a program may take to say its version; podman-compose asks podman for its own first.
const PATIENCE: Duration = Duration::from_secs(20);
/// A version, or a complaint.
const MAX_BYTES: u64 = 64 * 1024;
/// Oldest podman-compose with which this was tried to work; 1.0 does not.
const OLDEST_PODMAN_COMPOSE: (u32, u32) = (1, 1);

/// Whose command line a program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `docker compose`, also where it talks to Podman.
    Docker,
    /// `podman-compose`.
    Podman,
}

/// A program for compose files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    words: Vec<String>,
    name: String,
    flavour: Flavour,
}

impl Program {
    fn new(words: &[&str], flavour: Flavour) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            name: words.join(" "),
            flavour,
        }
    }

    /// What is run.
    #[must_use]
    pub fn executable(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Its first arguments.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.words.iter().skip(1).map(String::as_str)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose command line it has.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }
}

/// Asks programs; another one answers in tests.
trait Candidates {
    /// What `program arguments` printed; else why it does not work, for people.
    fn ask(&self, program: &str, arguments: &[&str]) -> Result<String, String>;
}

/// The programs in `PATH`.
struct InPath;

impl Candidates for InPath {
    fn ask(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let asked = Asked {
            program,
            arguments,
            environment: &[],
            stderr: true,
            patience: PATIENCE,
            max_bytes: MAX_BYTES,
        };
        ask_all(asked).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "not installed".to_owned(),
            _ => error.to_string(),
        })
    }
}

/// The first that works of `docker compose`, `docker-compose`, `podman compose` and `podman-compose`; or the one that
/// was `said`.
///
/// # Errors
/// When none works: what is wrong with each, and what to install.
pub fn find(said: Option<&str>) -> Result<Program, Failure> {
    choose(said, &InPath)
}

fn choose(said: Option<&str>, candidates: &dyn Candidates) -> Result<Program, Failure> {
    if let Some(said) = said {
        let words: Vec<&str> = said.split_whitespace().collect();
        let flavour = if said.contains("podman-compose") {
            Flavour::Podman
        } else {
            flavour_of(candidates, &words)
        };
        return Ok(Program::new(&words, flavour));
    }
    let tries: [(&str, Try); 4] = [
        ("docker compose", docker),
        ("docker-compose", standalone),
        ("podman compose", podman),
        ("podman-compose", podman_compose),
    ];
    let mut reasons = Vec::with_capacity(tries.len());
    for (name, works) in tries {
        match works(candidates) {
            Ok(program) => return Ok(program),
            Err(reason) => reasons.push(format!("{name}: {reason}")),
        }
    }
    Err(
        Failure::failed("no program was found that runs containers from a compose file")
            .because(reasons.join("; "))
            .hint(
                "install Docker with its compose plugin (https://docs.docker.com/engine/install), or Podman and \
                 podman-compose 1.1 or later (apt install podman pipx && pipx install podman-compose); \
                 `alfred up --engine systemd` needs none of them: it starts the services of this machine",
            ),
    )
}

/// A program, or why it is of no use.
type Try = fn(&dyn Candidates) -> Result<Program, String>;

fn flavour_of(candidates: &dyn Candidates, words: &[&str]) -> Flavour {
    let Some((program, arguments)) = words.split_first() else {
        return Flavour::Docker;
    };
    let arguments = [arguments, &["version"]].concat();
    let said = candidates.ask(program, &arguments).unwrap_or_default();
    if said.contains("podman-compose") {
        Flavour::Podman
    } else {
        Flavour::Docker
    }
}

/// The plugin and, behind it, an engine that answers.
fn docker(candidates: &dyn Candidates) -> Result<Program, String> {
    candidates.ask("docker", &["compose", "version"])?;
    candidates.ask("docker", &["version", "--format", "{{.Server.Version}}"])?;
    Ok(Program::new(&["docker", "compose"], Flavour::Docker))
}

/// Docker Compose as a program of its own, from 2 on, with an engine that answers: Docker's, or Podman's
/// at `DOCKER_HOST`.
fn standalone(candidates: &dyn Candidates) -> Result<Program, String> {
    let version = candidates.ask("docker-compose", &["version", "--short"])?;
    if version.trim().trim_start_matches('v').starts_with("1.") {
        return Err(format!("version {} is too old", version.trim()));
    }
    candidates.ask("docker-compose", &["ls", "--quiet"])?;
    Ok(Program::new(&["docker-compose"], Flavour::Docker))
}

/// From 4.7 on Podman calls another program for `compose`, and says so first.
fn podman(candidates: &dyn Candidates) -> Result<Program, String> {
    let said = candidates.ask("podman", &["compose", "version"])?;
    let flavour = if said.contains("podman-compose version") {
        Flavour::Podman
    } else {
        Flavour::Docker
    };
    Ok(Program::new(&["podman", "compose"], flavour))
}

fn podman_compose(candidates: &dyn Candidates) -> Result<Program, String> {
    candidates
        .ask("podman", &["--version"])
        .map_err(|why| format!("podman is {why}"))?;
    let said = candidates.ask("podman-compose", &["version"])?;
    let version = said
        .lines()
        .find_map(|line| line.strip_prefix("podman-compose version "))
        .unwrap_or_default()
        .trim();
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let is = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if is < OLDEST_PODMAN_COMPOSE {
        return Err(format!("version {version} is too old"));
    }
    Ok(Program::new(&["podman-compose"], Flavour::Podman))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Command line → what it prints; all others are not installed.
    struct Made(BTreeMap<&'static str, &'static str>);

    impl Candidates for Made {
        fn ask(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
            let line = format!("{program} {}", arguments.join(" "));
            let said = self.0.get(line.as_str());
            said.map(|text| (*text).to_owned())
                .ok_or_else(|| "not installed".to_owned())
        }
    }

    fn chosen(lines: &[(&'static str, &'static str)]) -> Result<Program, Failure> {
        choose(None, &Made(lines.iter().copied().collect()))
    }

    const PLUGIN: (&str, &str) = ("docker compose version", "Docker Compose version v2.40.0");
    const ENGINE: (&str, &str) = ("docker version --format {{.Server.Version}}", "28.2.2");
    const PODMAN: (&str, &str) = ("podman --version", "podman version 4.3.1");
    const PODMAN_COMPOSE: (&str, &str) = (
        "podman-compose version",
        "podman-compose version 1.6.0\npodman version 4.3.1\n",
    );

    #[test]
    fn the_first_that_works_is_taken() {
        let name = |lines: &[_]| chosen(lines).map(|program| program.name).unwrap();
        assert_eq!(
            name(&[PLUGIN, ENGINE, PODMAN, PODMAN_COMPOSE]),
            "docker compose"
        );
        // A client whose engine does not run is of no use.
        assert_eq!(name(&[PLUGIN, PODMAN, PODMAN_COMPOSE]), "podman-compose");
        let newer = [
            ("docker-compose version --short", "5.6.1\n"),
            ("docker-compose ls --quiet", ""),
        ];
        assert_eq!(name(&newer), "docker-compose");
    }

    #[test]
    fn podmans_own_verb_has_the_command_line_of_what_it_calls() {
        let with = |said| chosen(&[("podman compose version", said)]).unwrap().flavour;
        let executing =
            ">>>> Executing external compose provider <<<<\n\npodman-compose version 1.5.0\n";
        assert_eq!(with(executing), Flavour::Podman);
        assert_eq!(with("Docker Compose version v2.40.0\n"), Flavour::Docker);
    }

    #[test]
    fn what_is_too_old_or_missing_is_said_with_what_to_install() {
        let old = ("podman-compose version", "podman-compose version 1.0.3\n");
        let text = chosen(&[PODMAN, old, ("docker-compose version --short", "1.29.2")])
            .unwrap_err()
            .render();
        for part in [
            "docker compose: not installed",
            "docker-compose: version 1.29.2 is too old",
            "podman-compose: version 1.0.3 is too old",
            "--engine systemd",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let alone = chosen(&[PODMAN_COMPOSE]).unwrap_err().render();
        assert!(
            alone.contains("podman-compose: podman is not installed"),
            "{alone}"
        );
    }

    #[test]
    fn what_a_person_says_is_taken() {
        let said = |words| choose(Some(words), &Made(BTreeMap::new())).unwrap();
        let program = said("/opt/podman-compose --verbose");
        assert_eq!(program.executable(), "/opt/podman-compose");
        assert_eq!(program.arguments().collect::<Vec<_>>(), ["--verbose"]);
        assert_eq!(program.flavour(), Flavour::Podman);
        assert_eq!(said("nerdctl compose").flavour(), Flavour::Docker);
    }
}
