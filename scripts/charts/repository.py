"""Packs a chart, and writes the index of the repository that it is put into. Called by scripts/helm-repo:

    repository.py CHART DIR OWNER

Packed here and not by `helm package`, which stamps the time of day: the time is SOURCE_DATE_EPOCH, the order that
of names, so that the same commit gives the same bits. Helm's own engine lints the chart before, and reads it after.
"""

import datetime
import fnmatch
import gzip
import hashlib
import io
import os
import pathlib
import re
import shutil
import sys
import tarfile
import tempfile

import helm_python
import yaml

ERROR = 3  # severity of Helm's linter


def fail(what, hint):
    """Ends as the shell scripts do."""
    sys.exit(f"error: {what}\nhint: {hint}")


def with_owner(chart, owner, folder):
    """A copy of the chart whose image is that of `owner`; nothing else is changed."""
    copy = folder / "chart"
    shutil.copytree(chart, copy)
    values = copy / "values.yaml"
    before = yaml.safe_load(values.read_text())
    text, count = re.subn(r"(?m)^(image:\n(?:  .*\n)*?  owner: ).*$", rf"\g<1>{owner}", values.read_text(), count=1)
    after = yaml.safe_load(text)
    before["image"]["owner"] = owner
    if count != 1 or after != before:
        fail(f"image.owner is not where it was in {chart}/values.yaml", "see with_owner in scripts/charts/repository.py")
    values.write_text(text)
    readme = copy / "README.md"
    readme.write_text(re.sub(r"(?m)^(\| `image\.owner` \| )`[^`]*`", rf"\g<1>`{owner}`", readme.read_text()))
    return copy


def ignored(path, patterns):
    """Whether .helmignore has a part of this path."""
    return any(fnmatch.fnmatch(part, pattern) for part in path.parts for pattern in patterns)


def pack(chart, name, epoch):
    """The chart as a .tgz, in bytes."""
    patterns = [line for line in (chart / ".helmignore").read_text().split() if not line.startswith("#")]
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        files = [path for path in chart.rglob("*") if path.is_file() and not ignored(path.relative_to(chart), patterns)]
        # Helm reads Chart.yaml first, as its own packages have it.
        for path in sorted(files, key=lambda path: (path.name != "Chart.yaml", str(path))):
            entry = tarfile.TarInfo(f"{name}/{path.relative_to(chart)}")
            data = path.read_bytes()
            entry.size, entry.mtime, entry.mode = len(data), epoch, 0o644
            archive.addfile(entry, io.BytesIO(data))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=epoch, compresslevel=9) as stream:
        stream.write(tar.getvalue())
    return packed.getvalue()


def entry(package):
    """What the index says of a package: its Chart.yaml, digest, time and place."""
    data = package.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        member = next(member for member in archive if re.fullmatch(r"[^/]+/Chart\.yaml", member.name))
        chart = yaml.safe_load(archive.extractfile(member).read())
    made = datetime.datetime.fromtimestamp(member.mtime, datetime.timezone.utc)
    # Relative to the index, so that the folder may be served at any address.
    return {**chart, "created": made.strftime("%Y-%m-%dT%H:%M:%SZ"), "digest": hashlib.sha256(data).hexdigest(),
            "urls": [package.name]}


def newest_first(version):
    """Order of the index: by SemVer, as far as numbers go; a pre-release comes after its release."""
    core, _, pre = version.partition("+")[0].partition("-")
    return [int(number) for number in core.split(".")], pre == "", pre


def write(path, data):
    """Whole or not at all: it may be served meanwhile."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    os.chmod(partial, 0o644)
    partial.replace(path)


def main(chart, folder, owner):
    """See above."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    folder = pathlib.Path(folder)
    with tempfile.TemporaryDirectory() as work:
        staged = with_owner(pathlib.Path(chart), owner, pathlib.Path(work))
        report = helm_python.lint(staged)
        problems = [f"{message['path']}: {message['error']}" for message in report["messages"] if message["severity"] >= ERROR]
        try:  # the linter lets `fail` pass
            with helm_python.Chart.load(staged) as read:
                read.render({}, name="core", namespace="default")
        except helm_python.HelmError as problem:
            problems.append(str(problem))
        if problems:
            fail(f"Helm finds fault with {chart}: {problems[0]}", "mend it: nothing was published")
        about = yaml.safe_load((staged / "Chart.yaml").read_text())
        data = pack(staged, about["name"], epoch)
    package = folder / f"{about['name']}-{about['version']}.tgz"
    if package.exists() and package.read_bytes() != data:
        fail(f"{package} is there with other content", "a version that was published stays as it is: raise the version, or remove the file")
    write(package, data)
    with helm_python.Chart.load(package) as read:
        if (read.name, read.version, read.values["image"]["owner"]) != (about["name"], about["version"], owner):
            fail(f"Helm reads something else from {package}", "this is a defect of scripts/charts/repository.py")
    charts = {}
    for found in sorted(folder.glob("*.tgz")):
        about = entry(found)
        charts.setdefault(about["name"], []).append(about)
    for versions in charts.values():
        versions.sort(key=lambda about: newest_first(about["version"]), reverse=True)
    generated = max(about["created"] for versions in charts.values() for about in versions)
    index = {"apiVersion": "v1", "entries": charts, "generated": generated}
    write(folder / "index.yaml", yaml.safe_dump(index, sort_keys=True, width=120).encode())
    print(f"{package.name} for ghcr.io/{owner}/alfred; {sum(map(len, charts.values()))} in {folder}/index.yaml")


if __name__ == "__main__":
    main(*sys.argv[1:])
