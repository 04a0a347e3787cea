"""Programs of the performance test plan that need Docker, a cluster, root or GitHub: stand-ins that only
note what they are called with.

Who has one of them for real removes its line from PROGRAMS; then the real one runs, and its own tests say
what it does. `alfred up` is the verb of alfred, `scripts/…` the script of the source tree.
"""

import json
import pathlib
import shlex
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = (
    "alfred up",
    "kind",
    "helm",
    "sudo",
    "scripts/package",
    "scripts/release",
)
# What scripts/package leaves: names for the patterns of the page.
PACKAGES = ("alfred_1%3a0.9.0-1_amd64.deb", "alfred-model-minilm_1%3a0.9.0-1_all.deb")


def put(folder, alfred):
    """Puts `bin/` and `scripts/` into the folder. `bin/alfred` is the program, but for its stood-in verbs."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "scripts").mkdir(exist_ok=True)
    stood_in = [name.split()[1] for name in PROGRAMS if name.startswith("alfred ")]
    verbs = "|".join(stood_in) or "none-of-them"
    script(folder / "bin/alfred", f'case "${{1:-}}" in\n{verbs}) verb=$1; shift; {note(folder, "alfred $verb")} ;;\n'
                                  f'*) exec {shlex.quote(alfred)} "$@" ;;\nesac\n')
    for name in ("kind", "helm", "sudo"):
        if name in PROGRAMS:
            script(folder / "bin" / name, note(folder, name) + "\n")
    for name in ("scripts/package", "scripts/release"):
        if name not in PROGRAMS:
            script(folder / name, f'exec {shlex.quote(str(TREE / name))} "$@"\n')
            continue
        leaves = " ".join(f"target/packages/{package}" for package in PACKAGES)
        made = f"mkdir -p target/packages && touch {leaves}\n" if name == "scripts/package" else ""
        script(folder / name, made + note(folder, name) + "\n")


def note(folder, name):
    """The command that notes a call."""
    noted = shlex.quote(str(folder / "bin/calls"))
    return f'{shlex.quote(sys.executable)} {shlex.quote(__file__)} {noted} "{name}" "$@"'


def script(path, text):
    path.write_text(f"#!/bin/sh\nset -eu\n{text}")
    path.chmod(0o755)


def calls(folder):
    """All calls so far: lists of a program and its arguments."""
    noted = folder / "bin/calls"
    return [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []


if __name__ == "__main__":
    with open(sys.argv[1], "a") as noted:
        noted.write(json.dumps(sys.argv[2:]) + "\n")
