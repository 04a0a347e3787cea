"""What others see of a release: the tag, the push, the release on GitHub, the message."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import artifacts
import source
from common import SEND_TIMEOUT_S, Refused, answer, done, mark, say

WEBHOOK_VARIABLE = "ALFRED__NOTIFY__WEBHOOK_URL"
CONFIG_FILES = ("/etc/alfred/alfred.toml", "alfred.toml")
WEBHOOK_TIMEOUT_S = 10
# A first try and those after a pause of so many seconds.
PAUSES_S = (1, 2, 4)


def title(release):
    """The first line of the tag."""
    return f"agent-core {release.tag} – perf gate green"


def is_signing(release):
    """Whether git is configured to sign tags, or commits and nothing is said of tags."""
    def setting(name):
        code, out, _ = answer(["git", "config", "--type=bool", "--get", name], release.root)
        return out.strip() if code == 0 else None
    return (setting("tag.gpgSign") or setting("commit.gpgSign")) == "true"


def tag_step(release, gate):
    """An annotated tag with the figures; signed where git is configured to sign."""
    if source.local_tag(release):
        say(f"{release.tag} is there already, of this commit")
        return
    kind = "--sign" if is_signing(release) else "--annotate"
    if release.dry_run:
        say(f'would tag: git tag {kind} {release.tag} -m "{title(release)}", and the figures of the gate')
        return
    source.check_commit(release)
    message = f"{title(release)}\n\n{gate.figures()}\n"
    made = subprocess.run(["git", "tag", kind, "--file=-", release.tag, release.commit],
                          cwd=release.root, input=message, text=True, capture_output=True)
    if made.returncode:
        raise Refused(f"git tag {release.tag} failed: {made.stderr.strip()}",
                      "see git config user.name, user.signingKey and tag.gpgSign")
    say(source.git(release, "tag", "--list", "--format=%(refname:short)%0a%(contents)", release.tag).rstrip())


def push_step(release):
    """Branch and tag together, or neither."""
    refs = [f"{release.commit}:refs/heads/{source.BRANCH}", f"refs/tags/{release.tag}"]
    command = ["git", "push", "--atomic", release.remote, *refs]
    if release.dry_run:
        say(f"would push: {' '.join(command)}")
        return
    if source.is_published(release):
        say(f"{release.remote} has {release.tag} already")
        return
    code, _, error = answer(command, release.root, SEND_TIMEOUT_S)
    if code:
        raise Refused(f"{' '.join(command)} failed: {error}",
                      "mend that and run the same again: what is done is not done twice")
    say(f"{source.BRANCH} and {release.tag} are at {release.remote}")


def check_published(release, pushes, option):
    """What names a tag to others waits until they can get it."""
    if not pushes and not source.is_published(release):
        raise Refused(f"{option} needs {release.tag} at {release.remote}, and it is not there",
                      f"add --push: scripts/release {release.version} --push {option}")


def check_github(release):
    """There is a gh, and it is logged in."""
    if not shutil.which("gh"):
        raise Refused("--github needs gh, which is not installed", "https://cli.github.com, or leave out --github")
    code, _, error = answer(["gh", "auth", "status"], release.root)
    if code:
        raise Refused(f"gh is not logged in: {error}", "gh auth login, or set GH_TOKEN")


def github_step(release, notes, generated):
    """A release with notes and files; one that is there gets the files that it lacks."""
    shown = release.show(notes)
    create = ["gh", "release", "create", release.tag, "--verify-tag", "--title",
              f"agent-core {release.tag}", "--notes-file", str(notes)]
    create += ["--generate-notes"] if generated else []
    if release.dry_run:
        say(f"would run: gh release create {release.tag} --verify-tag --notes-file {shown}"
            f"{' --generate-notes' if generated else ''}, with {release.show(artifacts.folder_of(release))}/*")
        return
    sums = artifacts.digest(artifacts.folder_of(release) / artifacts.SUMS)
    if done(release).get("github") == sums:
        say(f"{release.tag} is released there already, with these files")
        return
    command = create
    if answer(["gh", "release", "view", release.tag], release.root)[0] == 0:
        # Made by an earlier try, or by the workflow release.yml: all of one build, or none.
        command = ["gh", "release", "upload", release.tag, "--clobber"]
    files = [str(path) for path in artifacts.files(release)]
    code, out, error = answer(command + files, release.root, SEND_TIMEOUT_S)
    if code:
        raise Refused(f"{' '.join(command[:4])} failed: {error}",
                      "mend that and run the same again: what is done is not done twice")
    mark(release, "github", sums)
    say(out.strip() or f"{len(files)} files are attached")


def webhook(config):
    """The address to post to and where it is from. It is a secret, and is shown nowhere."""
    if os.environ.get(WEBHOOK_VARIABLE):
        return checked(os.environ[WEBHOOK_VARIABLE], WEBHOOK_VARIABLE)
    for name in [config] if config else CONFIG_FILES:
        if not pathlib.Path(name).is_file():
            if config:
                raise Refused(f"there is no {config}", "name a configuration file of alfred: --config PATH")
            continue
        if address := webhook_in(pathlib.Path(name)):
            return checked(address, f"[notify] webhook_url of {name}")
    raise Refused("--notify needs a webhook, and none is configured",
                  f"set {WEBHOOK_VARIABLE}, or webhook_url in [notify] of alfred.toml (--config PATH)")


def webhook_in(path):
    """`[notify] webhook_url` of a configuration file."""
    try:
        import tomllib
    except ImportError:  # Python 3.10, of Ubuntu 22.04
        raise Refused(f"this Python cannot read {path}: it is older than 3.11", f"set {WEBHOOK_VARIABLE}")
    try:
        with path.open("rb") as file:
            return tomllib.load(file).get("notify", {}).get("webhook_url")
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}", f"set {WEBHOOK_VARIABLE}")
    except ValueError:
        raise Refused(f"{path} is not TOML", f"alfred config check --config {path}")


def checked(address, origin):
    """An address that can be posted to."""
    if not re.fullmatch(r"https?://[^\s/]+\S*", address):
        raise Refused(f"the webhook of {origin} is no http or https address", "copy it again from Slack")
    return address, origin


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A message goes where it was meant to go, or nowhere."""

    def redirect_request(self, *_):
        return None


def post(address, text):
    """Posts once. None when it was taken; else what went wrong and whether to try again. Nothing that
    urllib says is passed on: it may hold the address."""
    body = json.dumps({"text": text}).encode()
    opener = urllib.request.build_opener(NoRedirects)
    try:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with opener.open(request, timeout=WEBHOOK_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}", error.code in (408, 429) or error.code >= 500
    except ValueError:
        return "its address is not valid", False
    except OSError:
        return "there was no answer", True


def notify_step(release, config):
    """Tells the channel, once a release."""
    text = f"/v1/query stable on {release.tag} – ready for CRM workflow integration."
    address, origin = webhook(config)
    if release.dry_run:
        say(f"would post to the webhook of {origin}: {text}")
        return
    if done(release).get("notified"):
        say("told already")
        return
    for pause_s in (*PAUSES_S, None):
        wrong = post(address, text)
        if wrong is None:
            mark(release, "notified")
            say(f"told: {text}")
            return
        if pause_s is None or not wrong[1]:
            break
        time.sleep(pause_s)
    raise Refused(f"the webhook of {origin} did not take the message: {wrong[0]}",
                  "see that it is still valid, and run the same again: what is done is not done twice")
