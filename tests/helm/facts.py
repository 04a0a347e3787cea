"""What is said in two places, and must be the same in both."""

import json
import os
import re
import textwrap
import tomllib

import yaml
from chart import CHART, ROOT, Rendered, check_schema, values
from registry import same, test

# Keys of alfred.toml that the chart sets itself, or has elsewhere: secrets, places, who may ask.
OWN = {"server.listen", "server.allow_anonymous", "server.tls_cert", "server.tls_key", "server.keys_file", "store.kind",
       "store.path", "store.dsn", "embedding.models_dir", "embedding.api_key", "embedding.redis_url", "telemetry.otlp_headers",
       "soak.runs_dir", "notify.webhook_url"}
BEGIN, END = "<!-- made of values.yaml by scripts/helm-test: begin -->", "<!-- made of values.yaml by scripts/helm-test: end -->"


@test
def the_version_is_that_of_cargo_toml():
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    same((about["version"], about["appVersion"]), (cargo["version"], cargo["version"]), "version and appVersion in Chart.yaml")
    same(about["annotations"]["artifacthub.io/license"], cargo["license"], "licence")


@test
def rules_and_queries_in_the_chart_are_copies():
    for copy, original in (("alerts.yml", "packaging/prometheus/alerts.yml"), ("recording.yml", "packaging/prometheus/recording.yml"),
                           ("queryset.txt", "perf/queryset.txt")):
        assert (CHART / "files" / copy).read_bytes() == (ROOT / original).read_bytes(), f"cp {original} {CHART / 'files' / copy}"


def described():
    """Comments of values.yaml by the path of the key below them."""
    found, parents, comment = {}, [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if text.startswith("#"):
            comment.append(text.lstrip("# "))
            continue
        key = re.match(r"([A-Za-z]\w*):", text)
        if key:
            parents = parents[: indent // 2] + [key[1]]
            if comment:
                found[".".join(parents)] = " ".join(comment)
        comment = []
    return found


def rows():
    """The rows of the table: path, default, words. A map without words inside is one value."""
    words = described()

    def walk(tree, path):
        for key, value in tree.items():
            here = f"{path}.{key}" if path else key
            if isinstance(value, dict) and any(other.startswith(f"{here}.") for other in words):
                yield from walk(value, here)
            else:
                yield here, value, words.get(here)
    return list(walk(values(), ""))


@test
def every_value_says_what_it_is_for():
    silent = [path for path, _, words in rows() if not words]
    same(silent, [], "values without a comment")
    for path, _, words in rows():
        assert words.endswith(".") and "|" not in words, f"{path}: {words}"
    return f"{len(rows())} values"


@test
def the_table_in_the_readme_is_made_of_values_yaml():
    lines = ["| value | default | what it is for |", "|---|---|---|"]
    for path, default, words in rows():
        shown = json.dumps(default, ensure_ascii=False) if default not in ("", None, [], {}) else {"": '""', "None": "null"}.get(str(default), str(default))
        lines.append(f"| `{path}` | `{shown if not isinstance(default, str) or not default else default}` | {words} |")
    readme = CHART / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"{readme} has no {BEGIN}"
    wanted = f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}"
    if os.environ.get("ALFRED_REWRITE_GOLDEN"):
        readme.write_text(wanted)
    assert readme.read_text() == wanted, "write it anew: ALFRED_REWRITE_GOLDEN=1 scripts/helm-test table"


@test
def the_schema_has_every_value_and_no_other():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def in_schema(node, path=""):
        for key, below in node.get("properties", {}).items():
            here = f"{path}.{key}" if path else key
            yield here
            if below.get("type") == "object":
                assert "properties" not in below or below.get("additionalProperties") is False, f"{here} takes unknown keys"
                yield from in_schema(below, here)

    def in_values(tree, path=""):
        for key, value in tree.items():
            here = f"{path}.{key}" if path else key
            yield here
            if isinstance(value, dict):
                yield from in_values(value, here)

    known, said = set(in_schema(schema)), set(in_values(values()))
    free = ("config.", "soak.scenario.", "postgresql.parameters.")  # more keys than defaults
    resources = re.compile(r"(^|\.)resources\.")
    same({path for path in said - known if not path.startswith(free) and not resources.search(path)}, set(), "not in the schema")
    same({path for path in known - said if not path.startswith(free) and not resources.search(path)}, {"global"}, "not in values.yaml")


@test
def the_schema_knows_the_keys_of_alfred_toml_and_their_types():
    shipped = tomllib.loads(re.sub(r"(?m)^#(?=\w+ = )", "", (ROOT / "etc/alfred.toml").read_text()))
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["config"]["properties"]
    wanted = {f"{section}.{key}": value for section, keys in shipped.items() for key, value in keys.items()}
    assert OWN < set(wanted), OWN - set(wanted)
    known = {f"{section}.{key}": about for section, body in schema.items() for key, about in body["properties"].items()}
    same(set(known), set(wanted) - OWN, "keys of config in values.schema.json")
    types = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}
    for path, about in known.items():
        default = wanted[path]
        if "enum" in about:
            assert default in about["enum"], path
        else:
            same(about["type"], types[type(default)], path)
        if about.get("type") == "integer":
            assert about["minimum"] <= default <= about["maximum"], path
    # Bounds are those of the program, where they are written.
    source = (ROOT / "src/config/keys.rs").read_text()
    for path in ("server.max_in_flight", "store.pool_size", "store.ef_search"):
        low, high = re.search(rf'"{path}", Integer\(([\d_]+), ([\d_]+)\)', source).groups()
        same((known[path]["minimum"], known[path]["maximum"]), (int(low.replace("_", "")), int(high.replace("_", ""))), path)


@test
def values_that_documentation_names_are_there():
    known = {path for path, _, _ in rows()}
    pages = [ROOT / "docs/helm.md", CHART / "README.md", CHART / "templates/NOTES.txt", CHART / "templates/_validate.tpl"]
    sections = {path.split(".")[0] for path in known}
    count = 0
    for page in pages:
        text = page.read_text()
        for name in re.findall(r"--set(?:-file|-string)? '?([a-zA-Z][\w.]*)(?:\[\d+\])?[\w.\\/\[\]]*=", text) + re.findall(r"`([a-z]\w*(?:\.\w+)+)`", text):
            head = name.split(".")[0]
            if head not in sections or name.endswith((".yaml", ".toml", ".md", ".json")):
                continue
            is_known = any(path == name or path.startswith(f"{name}.") or name.startswith(f"{path}.") for path in known)
            assert is_known, f"{page.name} names {name}, which is no value"
            count += 1
    assert count > 20, count
    return f"{count} names in {len(pages)} texts"


@test
def values_and_manifests_in_docs_are_taken():
    page = (ROOT / "docs/helm.md").read_text()
    [pod] = re.findall(r"<<'POD'\n(.*?)\n    POD\n", page, re.DOTALL)
    pod = yaml.safe_load(textwrap.dedent(pod))
    check_schema(pod)
    # It takes the place of the daemon: the same user, the same claim, the same place.
    rendered = Rendered()
    security = rendered.server()["securityContext"]
    same({key: security[key] for key in pod["spec"]["securityContext"]}, pod["spec"]["securityContext"], "who restores")
    same(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], rendered.one("PersistentVolumeClaim")["metadata"]["name"], "claim")
    count = 0
    for block in re.findall(r"(?:^    .*\n)+(?:\n(?:^    .*\n)+)*", page, re.MULTILINE):
        for part in textwrap.dedent(block).split("\n\n"):
            try:
                given = yaml.safe_load(part)
            except yaml.YAMLError:
                continue
            if isinstance(given, dict) and set(given) <= set(values()):
                for one in Rendered(given).objects:
                    check_schema(one)
                count += 1
    assert count >= 4, count
    return f"{count} sets of values"
