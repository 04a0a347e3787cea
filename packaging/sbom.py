#!/usr/bin/env python3
"""Prints the software bill of materials of alfred, as CycloneDX 1.6 in JSON.

It lists each crate that is linked into the program, with the digest of its source in the registry, and what is
kept in the source tree and built in. Its time is SOURCE_DATE_EPOCH, and its serial number comes from its content:
the same commit gives the same bits.
"""

import datetime
import json
import os
import pathlib
import re
import uuid

from linked import KEPT, edges, in_the_program, linked, metadata

ROOT = pathlib.Path(__file__).parent.parent


def reference(package):
    """The package URL of a crate."""
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, digest):
    """A crate as a component."""
    licence = (package["license"] or "").replace("/", " OR ")
    made = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("description"):
        made["description"] = " ".join(package["description"].split())
    if digest:
        made["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if licence:
        made["licenses"] = [{"expression": licence}]
    if package.get("repository"):
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def kept(name, version, licence):
    """What is no crate, as a component."""
    url = f"pkg:npm/{name.lower()}@{version}"
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url,
            "licenses": [{"license": {"id": licence}}]}


def digests():
    """SHA-256 of the source of each crate, by name and version, from Cargo.lock."""
    entry = re.compile(r'name = "(.*)"\nversion = "(.*)"\nsource = .*\nchecksum = "(.*)"')
    return {(name, version): digest
            for name, version, digest in entry.findall((ROOT / "Cargo.lock").read_text())}


def main():
    os.chdir(ROOT)
    known = metadata()
    by_id = {package["id"]: package for package in known["packages"]}
    root = by_id[known["resolve"]["root"]]
    program = in_the_program()
    crates = [package for package in linked(known) if (package["name"], package["version"]) in program]
    inside = {package["id"] for package in crates}
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    of_source = digests()
    components = [component(package, of_source.get((package["name"], package["version"]))) for package in crates]
    components += [kept(*of_kept[:3]) for of_kept in KEPT]
    vendored = [f"pkg:npm/{name.lower()}@{version}" for name, version, *_ in KEPT]
    dependencies = [
        {"ref": reference(package),
         "dependsOn": sorted(reference(by_id[id]) for id in edges(nodes[package["id"]]) if id in inside)
         + (vendored if package is root else [])}
        for package in [root, *crates]]
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    time = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    about = component(root, None) | {"type": "application"}
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": about},
        "components": components,
        "dependencies": dependencies,
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))
    bom["serialNumber"] = f"urn:uuid:{serial}"
    print(json.dumps(bom, indent=1, ensure_ascii=False))


main()
