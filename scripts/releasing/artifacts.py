"""What is released: packages, the chart, the gate's report, their checksums, and the notes."""

import hashlib
import pathlib
import shlex
import shutil

import gate as gates
import source
from common import Refused, answer, command_of, done, mark, say, work, write

PACKAGES = ("*.deb", "*.rpm")
SUMS = "SHA256SUMS"
READ_BYTES = 1 << 20


def digest(path):
    """The SHA-256 of a file, in hex."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            sha.update(block)
    return sha.hexdigest()


def folder_of(release):
    """Where everything lies that is attached to a release."""
    return release.folder / "artifacts"


def files(release):
    """All of it, the checksums last."""
    folder = folder_of(release)
    names = sorted(path.name for path in folder.glob("*") if path.is_file() and path.name != SUMS)
    return [folder / name for name in [*names, SUMS]]


def built_already(release, commands):
    """What an earlier try built with these commands, when nothing of it changed since."""
    mark_of_it = done(release).get("built")
    if not mark_of_it or mark_of_it["commands"] != commands:
        return None
    paths = {release.folder / name: sha for name, sha in mark_of_it["files"].items()}
    whole = all(path.is_file() and digest(path) == sha for path, sha in paths.items())
    return sorted(paths) if whole else None


def check_packages(release, folder):
    """There are packages of both kinds, and all are of this version."""
    for pattern in PACKAGES:
        found = sorted(folder.glob(pattern))
        if not found:
            raise Refused(f"{release.show(folder)} has no {pattern}", "the output of the build is above")
        for path in found:
            parts = path.name.replace("_", "-").split("-")
            if release.version not in parts:
                raise Refused(f"{path.name} is not of version {release.version}",
                              "see packaging/deb/changelog and packaging/rpm/alfred.spec")


def package_command(release):
    """Builds the packages into a folder of their own."""
    return command_of("RELEASE_PACKAGE_COMMAND", "scripts/package") + [
        "--output", release.show(release.folder / "packages")]


def chart_command(release):
    """Packs the chart, where there is one; None where there is none."""
    if not (release.root / source.CHART).exists():
        return None
    return command_of("RELEASE_CHART_COMMAND", "scripts/helm-repo") + [
        "--owner", source.owner_of_image(release), release.show(release.folder / "charts")]


def build_packages(release, command):
    """The packages, all of this version."""
    folder = release.folder / "packages"
    shutil.rmtree(folder, ignore_errors=True)
    code = work(release, "RELEASE_PACKAGE_COMMAND", command)
    if code:
        raise Refused(f"{shlex.join(command)} ended with {code}", "its output is above")
    check_packages(release, folder)
    return [path for pattern in PACKAGES for path in sorted(folder.glob(pattern))]


def build_chart(release, command):
    """The chart of this version."""
    folder = release.folder / "charts"
    shutil.rmtree(folder, ignore_errors=True)
    code = work(release, "RELEASE_CHART_COMMAND", command)
    charts = sorted(folder.rglob(f"*-{release.version}.tgz"))
    if code or not charts:
        raise Refused(f"{shlex.join(command)} ended with {code} and made {len(charts)} charts of "
                      f"{release.version}", "its output is above")
    return charts


def build(release, commands):
    """Packages and chart, built once for a commit."""
    built = built_already(release, commands)
    if built:
        say(f"built already: {', '.join(path.name for path in built)}")
        return built
    built = build_packages(release, commands[0])
    if commands[1]:
        built += build_chart(release, commands[1])
    names = {str(path.relative_to(release.folder)): digest(path) for path in built}
    mark(release, "built", {"commands": commands, "files": names})
    return built


def add_report(release, gate, into):
    """The page that shows the gate, and its verdict."""
    command = [gates.alfred(release), "report", str(gate.folder), "--format", "html", "-o",
               str(into / "gate-report.html")]
    code, _, error = answer(command, release.root)
    if code:
        raise Refused(f"{shlex.join(command)} ended with {code}: {error}", "see the run folder")
    shutil.copy(gate.folder / "verdict.json", into / "gate-verdict.json")


def step(release, gate):
    """Everything that is attached, in one folder, with checksums."""
    commands, into = [package_command(release), chart_command(release)], folder_of(release)
    if release.dry_run:
        for command in filter(None, commands):
            say(f"would build: {shlex.join(command)}")
        say(f"would put them, gate-report.html, gate-verdict.json and {SUMS} into {release.show(into)}")
        return
    built = build(release, commands)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for path in built:
        shutil.copy(path, into)
    add_report(release, gate, into)
    names = sorted(path.name for path in into.iterdir())
    write(into / SUMS, "".join(f"{digest(into / name)}  {name}\n" for name in names))
    say(f"{len(names)} files and {SUMS} in {release.show(into)}")


def notes_text(release, gate):
    """Release notes: what changed, what the gate measured, what to compare downloads with."""
    figures = "\n".join(f"- {line}" for line in gate.figures().splitlines())
    sums = (folder_of(release) / SUMS).read_text().rstrip()
    return (f"{source.changelog(release)}\n\n### Performance gate\n\n{figures}\n"
            f"- commit {release.commit}\n\n"
            f"`gate-report.html` shows the run.\n\n### SHA-256\n\n```\n{sums}\n```\n")


def notes_step(release, gate, given):
    """The notes: those that were given, or from the changelog."""
    path = release.folder / "notes.md"
    if given:
        say(f"as given: {given}")
        return pathlib.Path(given).absolute()
    if release.dry_run:
        say(f"would write {release.show(path)} from CHANGELOG.md, with the figures of the gate and the checksums")
        return path
    write(path, notes_text(release, gate))
    say(release.show(path))
    return path
