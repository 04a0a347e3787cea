# Shared by the tests of packages. Sourced by scripts/package-test, which sets $packages and $work.
# shellcheck shell=bash
passed=0 failed=0
architecture=$(dpkg --print-architecture)
deb=$(compgen -G "$packages/alfred_*_$architecture.deb" | head -1)
model_deb=$(compgen -G "$packages/alfred-model-minilm_*_all.deb" | head -1)
rpm=$(compgen -G "$packages/alfred-[0-9]*.rpm" | head -1)
model_rpm=$(compgen -G "$packages/alfred-model-minilm-*.noarch.rpm" | head -1)
[ -n "$deb" ] && [ -n "$model_deb" ] && [ -n "$rpm" ] && [ -n "$model_rpm" ] ||
  fail "no packages in $packages" "run scripts/package first"

# check NAME COMMAND...: runs it, to its first failing command; its output is shown when it fails.
# (Not in a condition, where a shell would go on after a failure. Tests grep with -c, which reads all,
# since -q would end what writes to it.)
check() {
  local name=$1 status
  shift
  set +e
  (set -e && "$@") >"$work/check.log" 2>&1
  status=$?
  set -e
  if [ "$status" = 0 ]; then
    passed=$((passed + 1))
    printf 'ok    %s\n' "$name"
  else
    failed=$((failed + 1))
    printf 'FAIL  %s\n' "$name"
    sed 's/^/      /' "$work/check.log" | tail -40
  fi
}

# none COMMAND...: fails when the command succeeds, and shows what it found. (A "!" would not end a test.)
none() {
  if "$@"; then
    echo "not expected: $*"
    return 1
  fi
}

# same EXPECTED ACTUAL
same() { diff <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }

# The paths that the contract names, in every package of alfred.
contract_files="
/usr/share/alfred/sbom.cdx.json
/usr/bin/alfred
/usr/lib/systemd/system/alfred.service
/usr/lib/systemd/system/alfred.socket
/usr/lib/systemd/system/alfred-soak@.service
/usr/lib/systemd/system/alfred-soak@.timer
/usr/lib/systemd/system/alfred-ingest@.service
/usr/lib/systemd/system/alfred-ingest@.timer
/usr/lib/systemd/catalog/alfred.catalog
/usr/lib/sysusers.d/alfred.conf
/etc/alfred/alfred.toml
/etc/alfred/soak.d/smoke.toml
/etc/alfred/soak.d/nightly.toml
/usr/share/alfred/queryset.txt
/usr/share/alfred/relevance.tsv
/usr/share/alfred/harness_scaffold.py
/usr/share/alfred/mock_performance_results.py
/usr/share/alfred/k6-script.js
/usr/share/alfred/k6-arrival-rate.js
/usr/share/alfred/prometheus/prometheus.yml
/usr/share/alfred/prometheus/recording.yml
/usr/share/alfred/prometheus/alerts.yml
/usr/share/alfred/grafana/dashboards/alfred-overview.json
/usr/share/alfred/grafana/dashboards/alfred-soak.json
/usr/share/alfred/grafana/provisioning/datasources/alfred.yml
/usr/share/alfred/grafana/provisioning/dashboards/alfred.yml
/usr/share/alfred/loki/loki.yaml
/usr/share/alfred/loki/alloy/config.alloy
/usr/share/alfred/helm/agent-core/Chart.yaml
/usr/share/alfred/helm/agent-core/values.schema.json
/usr/share/alfred/helm/agent-core/templates/deployment.yaml
/usr/share/bash-completion/completions/alfred
"
# What was not there yet when this was written, and is asked for as soon as its source is.
for pair in systemd/alfred-soak-resume.service:/usr/lib/systemd/system/alfred-soak-resume.service; do
  [ ! -e "${pair%%:*}" ] || contract_files+=${pair#*:}$'\n'
done
verbs=$(sed -n 's/^\$ alfred \(.*\)--help$/\1/p' tests/e2e/golden/help.txt | sed 's/ *$//; s/ /-/g')
