"""What the steps of a release share: refusals, commands with a time limit, what is done already."""

import dataclasses
import json
import os
import pathlib
import shlex
import subprocess

# Looking something up, and sending something over the network: packages with their debug data are some 100 MB.
LOOK_TIMEOUT_S = 60
SEND_TIMEOUT_S = 1800
# The tests, the gate or the packages, each with a first build.
WORK_TIMEOUT_S = 3 * 3600


class Refused(Exception):
    """Why there is no release: what is wrong, of what, and what to do next."""

    def __init__(self, what, hint):
        super().__init__(what)
        self.what, self.hint = what, hint


@dataclasses.dataclass
class Release:
    """What is released, and where its files are kept meanwhile."""

    root: pathlib.Path
    version: str
    commit: str
    remote: str
    owner: str
    dry_run: bool

    @property
    def tag(self):
        return f"v{self.version}"

    @property
    def folder(self):
        """Outside the sources, so that the tree stays clean."""
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", self.root / "target"))
        return (self.root / target) / f"release-{self.tag}"

    def read(self, path):
        """The text of a file of the sources; empty when there is none."""
        file = self.root / path
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    def show(self, path):
        """A path as a person types it from the root of the sources."""
        path = pathlib.Path(path)
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


def say(text=""):
    """A line for the person who releases; in order with what commands write."""
    print(text, flush=True)


def answer(command, cwd, timeout_s=LOOK_TIMEOUT_S):
    """What a command answers: its exit code and both outputs. It never asks anything."""
    environment = quiet_environment({"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"})
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout_s)
    except FileNotFoundError:
        return 127, "", f"{command[0]} is not installed"
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {timeout_s} s"
    return done.returncode, done.stdout, done.stderr.strip()


def quiet_environment(extra=None):
    """This environment for commands: without alfred's settings, above all without the webhook, which is
    told of the release alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALFRED__")}
    return kept | (extra or {})


def command_of(variable, default):
    """The command that does a step; another one where the environment names it."""
    return shlex.split(os.environ.get(variable) or default)


def work(release, variable, command, extra=None):
    """Runs a long command whose output is for the person, and refuses when it fails."""
    shown = shlex.join(command)
    if os.environ.get(variable):
        say(f"note: {variable} says how: {shown}")
    try:
        code = subprocess.run(command, cwd=release.root, env=quiet_environment(extra),
                              stdin=subprocess.DEVNULL, timeout=WORK_TIMEOUT_S).returncode
    except FileNotFoundError:
        raise Refused(f"there is no {command[0]}", f"see {variable}, or run it from a checkout")
    except subprocess.TimeoutExpired:
        raise Refused(f"{shown} did not end within {WORK_TIMEOUT_S // 3600} h",
                      "run it by itself and see where it stands still")
    return code


def done(release):
    """What is done already for this commit: a mark a step."""
    try:
        marks = json.loads((release.folder / "done.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return marks if marks.get("commit") == release.commit else {}


def mark(release, step, value=True):
    """Remembers that a step is done for this commit."""
    marks = done(release) | {"commit": release.commit, step: value}
    write(release.folder / "done.json", json.dumps(marks, indent=2) + "\n")


def write(path, text):
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
