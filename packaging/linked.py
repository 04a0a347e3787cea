"""What is in alfred: the crates that are linked into it, and what is kept in the source tree and built in."""

import json
import subprocess

# Not a crate: name, version, licence, and where its text is.
KEPT = [("uPlot", "1.6.32", "MIT", "src/report/html/vendor/uplot/LICENSE")]


def metadata():
    """What cargo says of the dependencies, as they are for this machine."""
    host = next(line.split(": ")[1] for line in
                subprocess.check_output(["rustc", "-vV"], text=True).splitlines()
                if line.startswith("host: "))
    return json.loads(subprocess.check_output(
        ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]))


def edges(node):
    """The packages that a package needs when it runs: by normal dependencies."""
    return [dependency["pkg"] for dependency in node["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])]


def linked(metadata):
    """The packages that normal dependencies reach from the root, without it. Some run in the compiler alone, or are
    there for tests alone, whose features cargo adds here."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    seen, todo = set(), [metadata["resolve"]["root"]]
    while todo:
        package = todo.pop()
        if package not in seen:
            seen.add(package)
            todo.extend(edges(nodes[package]))
    seen.discard(metadata["resolve"]["root"])
    packages = [package for package in metadata["packages"] if package["id"] in seen]
    return sorted(packages, key=lambda package: (package["name"], package["version"]))


def in_the_program():
    """Name and version of all that a build for this machine links, alfred too."""
    tree = subprocess.check_output(
        ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe",
         "--format", "{p}"], text=True)
    return {(words[0], words[1].removeprefix("v")) for words in map(str.split, tree.splitlines())}
