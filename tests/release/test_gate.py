"""What is refused of a verdict. The runs in `runs` were recorded by `alfred soak`: p95 10 ms, and 421 ms."""

import datetime
import json
import pathlib
import subprocess
import sys
import unittest

import scratch

HOUR = datetime.timedelta(hours=1)


class Gate(scratch.Scratch):
    def refused_run(self, folder, what, *flags):
        """This run is no ground for a release, which ends before anything is tested or built."""
        said = self.refused("--gate", str(folder), *flags, what=what)
        self.assertEqual(self.log(), [], said)
        return said

    def test_a_run_that_holds(self):
        said = self.made("--gate", str(self.given()))
        self.assertNotIn("gate gate-", "\n".join(self.log()))
        self.assertIn("PASS, judged again", said)

    def test_made_up_results(self):
        folder = self.given()
        for name in ("verdict.json", "run.json"):
            scratch.edit(folder / name, lambda value: value.update(mock=True))
            said = self.refused_run(folder, "is made up: it says \"mock\": true")
            self.assertIn("scripts/run", said)
            scratch.edit(folder / name, lambda value: value.pop("mock"))
        (folder / "results.json").write_text('{"mock": true}')
        self.refused_run(folder, "results.json is made up")

    def test_a_file_of_results(self):
        path = pathlib.Path(self.temporary.name) / "results.json"
        path.write_text('{"mock": true, "verdict": "PASS"}')
        self.refused_run(path, "results.json is made up")
        mock = scratch.ROOT / "perf/mock_performance_results.py"
        if mock.exists():
            subprocess.run([sys.executable, str(mock), "--out", str(path)], check=True, capture_output=True)
            self.refused_run(path, "results.json is made up")
        path.write_text('{"verdict": "PASS"}')
        self.refused_run(path, "results.json is no run folder of alfred soak")
        self.refused_run(path.with_name("nowhere"), "nowhere is no run folder of alfred soak")

    def test_another_commit(self):
        folder = self.given()
        self.commit("Second")
        self.refused_run(folder, "is not of this commit: its name is gate-")

    def test_another_version(self):
        folder = self.given()
        scratch.edit(folder / "run.json", lambda run: run.update(version="0.8.0"))
        self.refused_run(folder, "was made by alfred 0.8.0, not 0.9.0")

    def test_another_route(self):
        folder = self.given()
        for target in ("http://127.0.0.1:8080/healthz", "unix:/run/alfred/alfred.sock:/livez"):
            scratch.edit(folder / "run.json", lambda run: run.update(target=target))
            self.refused_run(folder, f"measured {target}, and the gate is of /v1/query")
        scratch.edit(folder / "run.json", lambda run: run.update(target="unix:/run/alfred/alfred.sock:/v1/query"))
        self.made("--dry-run", "--gate", str(folder))

    def test_an_old_one(self):
        self.refused_run(self.given(age=25 * HOUR), "is too old: it was measured at ")

    def test_one_from_the_future(self):
        self.refused_run(self.given(age=-HOUR), "is from the future")

    def test_one_that_did_not_end(self):
        folder = self.given()
        (folder / "verdict.json").unlink()
        self.refused_run(folder, "has no verdict.json: it is no finished run")

    def test_one_that_is_damaged(self):
        folder = self.given()
        scratch.edit(folder / "run.json", lambda run: run.pop("start"))
        self.refused_run(folder, "run.json is damaged")
        (folder / "run.json").write_text("{")
        self.refused_run(folder, "run.json cannot be read")

    def test_one_whose_records_are_damaged(self):
        folder = self.given()
        (folder / "latency.hlog").write_text("not a histogram\n")
        self.refused_run(folder, "cannot be judged again")

    def test_fail(self):
        self.refused_run(self.given(kind="fail"), "it ended in FAIL: p95<300ms was crossed")

    def test_fail_edited_to_pass(self):
        folder = self.given(kind="fail")
        scratch.edit(folder / "verdict.json", lambda verdict: verdict.update(verdict="PASS", reasons=[]))
        said = self.refused_run(folder, "p95<300ms (run) did not hold: 42")
        self.assertNotIn("it ended in", said)

    def test_fail_edited_to_pass_with_its_thresholds(self):
        folder = self.given(kind="fail")

        def good(verdict):
            verdict.update(verdict="PASS", reasons=[])
            verdict["thresholds"] = json.loads((scratch.RUNS / "pass/verdict.json").read_text())["thresholds"]
        scratch.edit(folder / "verdict.json", good)
        self.refused_run(folder, "p95<300ms (run) did not hold: 42")

    def test_figures_that_are_not_those_recorded(self):
        folder = self.given()
        scratch.edit(folder / "verdict.json", lambda verdict: verdict["response_ms"].update(p95=1.5))
        self.refused_run(folder, "verdict.json does not agree with what was recorded: response_ms")

    def test_loosened_thresholds(self):
        folder = self.given(kind="fail")
        scratch.edit(folder / "run.json", lambda run: run["scenario"].update(thresholds=["p95<900ms"]))
        scratch.edit(folder / "verdict.json", lambda verdict: verdict.update(verdict="PASS", reasons=[]))
        self.refused_run(folder, " ms, and has to be below 300 ms")

    def test_invalid(self):
        folder = self.given()
        scratch.edit(folder / "verdict.json", lambda verdict: verdict.update(
            verdict="INVALID", reasons=["the machine was suspended for 5 s"]))
        self.refused_run(folder, "it ended in INVALID: the machine was suspended for 5 s")

    def test_a_machine_that_slept(self):
        folder = self.given()
        scratch.edit(folder / "verdict.json", lambda verdict: verdict["coverage"].update(suspended_ms=5000))
        self.refused_run(folder, "the machine was suspended meanwhile")

    def test_a_run_that_is_too_short(self):
        folder = self.given()
        windows = (folder / "windows.jsonl").read_text().splitlines(keepends=True)
        (folder / "windows.jsonl").write_text("".join(windows[:2]))
        scratch.edit(folder / "run.json", lambda run: run["scenario"].update(duration_s=20.0))
        scratch.edit(folder / "verdict.json", lambda verdict: verdict["counts"].update(due=200, ok=200))
        self.refused_run(folder, "it is too short: 200 requests in 20 s")

    def test_windows_that_are_missing(self):
        folder = self.given()
        windows = (folder / "windows.jsonl").read_text().splitlines(keepends=True)
        (folder / "windows.jsonl").write_text("".join(windows[:5]))
        scratch.edit(folder / "verdict.json", lambda verdict: verdict["counts"].update(due=500, ok=500))
        self.refused_run(folder, "were not recorded")

    def test_no_program_that_judges(self):
        folder = self.given()
        said = self.refused("--gate", str(folder), what="", ALFRED=str(self.stand_ins / "nowhere"))
        self.assertIn("nowhere is not installed", said)

    def test_a_dry_run_looks_at_it_too(self):
        self.refused_run(self.given(kind="fail"), "it ended in FAIL", "--dry-run")


class Measured(scratch.Scratch):
    """Without --gate the release measures."""

    def test_it_measures_this_commit_as_the_plan_says(self):
        self.made()
        self.assertIn(f"gate gate-{self.head()} 10 60s", self.log())

    def test_a_gate_that_fails(self):
        said = self.refused(what="it ended in FAIL: p95<300ms was crossed", GATE_RUN="fail")
        self.assertIn("rm -r target/release-v0.9.0/gate/", said)
        # It is not thrown like dice: a second run does not measure until it passes.
        self.refused(what="it ended in FAIL")
        self.assertEqual([line for line in self.log() if line.startswith("gate ")],
                         [f"gate gate-{self.head()} 10 60s"])

    def test_a_gate_that_ends_without_a_verdict(self):
        self.refused(what="gate ended with 3 and no verdict", GATE_EXIT="3")

    def test_no_command_for_it(self):
        self.refused(what="there is no nowhere", RELEASE_GATE_COMMAND="nowhere")

    def test_a_verdict_of_yesterday_is_measured_again(self):
        self.made()
        run = next((self.repo / "target/release-v0.9.0/gate").glob("*/run.json"))
        scratch.edit(run, lambda run: run["start"].update(wall="2026-01-01T00:00:00Z"))
        run.parent.rename(run.parent.with_name("20260101T000000Z"))
        self.made()
        self.assertEqual(len([line for line in self.log() if line.startswith("gate ")]), 2)


if __name__ == "__main__":
    unittest.main()
