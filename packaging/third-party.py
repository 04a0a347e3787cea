#!/usr/bin/env python3
"""Prints the licences of what is in alfred: a list, then every text once.

Reads `cargo metadata` and the unpacked crates, and what is kept in the source tree and built in; the
order depends on names and contents alone.
"""

import pathlib

from linked import KEPT, linked, metadata

TEXTS = ("license", "licence", "copying", "unlicense", "notice")


def texts(package):
    """The licence files at the top of a crate."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = [file for file in folder.iterdir() if file.name.lower().startswith(TEXTS)]
    for file in sorted(files):
        if file.is_file():
            yield file.read_text(encoding="utf-8", errors="replace").strip()


def main():
    packages = linked(metadata())
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
