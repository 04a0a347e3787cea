#!/usr/bin/env python3
"""Prints the licences of what is in alfred: a list, then every text once.

Reads `cargo metadata` and the unpacked crates, and what is kept in the source tree and built in; the
order depends on names and contents alone.
"""

import json
import pathlib
import subprocess

# Not a crate: name, version, licence, and where its text is.
KEPT = [("uPlot", "1.6.32", "MIT", "src/report/html/vendor/uplot/LICENSE")]
TEXTS = ("license", "licence", "copying", "unlicense", "notice")


def linked(metadata):
    """The packages that normal dependencies reach from the root, without it."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    seen, todo = set(), [metadata["resolve"]["root"]]
    while todo:
        package = todo.pop()
        if package in seen:
            continue
        seen.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    seen.discard(metadata["resolve"]["root"])
    packages = [package for package in metadata["packages"] if package["id"] in seen]
    return sorted(packages, key=lambda package: (package["name"], package["version"]))


def texts(package):
    """The licence files at the top of a crate."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = [file for file in folder.iterdir() if file.name.lower().startswith(TEXTS)]
    for file in sorted(files):
        if file.is_file():
            yield file.read_text(encoding="utf-8", errors="replace").strip()


def main():
    host = next(line.split(": ")[1] for line in
                subprocess.check_output(["rustc", "-vV"], text=True).splitlines()
                if line.startswith("host: "))
    metadata = json.loads(subprocess.check_output(
        ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]))
    packages = linked(metadata)
    print("alfred is linked with these libraries, each under its own licence.\n")
    holders = {}
    root = pathlib.Path(__file__).parent.parent
    for name, version, licence, path in KEPT:
        print(f"{name} {version}: {licence}")
        text = (root / path).read_text(encoding="utf-8").strip()
        holders.setdefault(" ".join(text.split()), (text, []))[1].append(f"{name} {version}")
    for package in packages:
        name = f"{package['name']} {package['version']}"
        print(f"{name}: {package['license'] or 'see its text'}")
        for text in texts(package):
            holders.setdefault(" ".join(text.split()), (text, []))[1].append(name)
    for text, names in holders.values():
        print("\n" + "-" * 78 + "\n" + ", ".join(dict.fromkeys(names)) + "\n\n" + text)


main()
