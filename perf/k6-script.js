// Twenty-five users for two minutes: k6 run perf/k6-script.js
//
// Each user asks, waits for the answer, and pauses for 0.1 s (a closed loop). With answers in a few
// milliseconds these are some 240 requests a second, with answers in 300 ms some 60: the rate follows the
// target. For a fixed rate, as the gate has it, use k6-arrival-rate.js.
//
// Users begin at different moments. Started together they would ask together ever after when answers take
// always the same time, and k6 would measure how it sends and reads 25 requests at once.
//
// Environment: TARGET_URL, QUERY_FILE (from the folder where k6 is started). Users and time are k6's own:
// k6 run --vus 5 --duration 30s perf/k6-script.js
import exec from 'k6/execution';
import http from 'k6/http';
import { sleep } from 'k6';
import { SharedArray } from 'k6/data';

const url = __ENV.TARGET_URL || 'http://localhost:8080/v1/query';

// k6 takes a relative path from the folder of this script, wherever it is started.
const file = !__ENV.QUERY_FILE
  ? './queryset.txt'
  : __ENV.QUERY_FILE.startsWith('/')
    ? __ENV.QUERY_FILE
    : `${__ENV.PWD || '.'}/${__ENV.QUERY_FILE}`;
const queries = new SharedArray('queries', () => open(file).split('\n').filter(Boolean));

// As for `alfred soak`, any status outside 200 to 299 is a failure.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 299 }));

export const options = {
  vus: 25,
  duration: '2m',
  thresholds: {
    http_req_failed: ['rate<0.01'],
    http_req_duration: ['p(95)<300'],
  },
};

const pause_s = 0.1;

export default function () {
  if (exec.vu.iterationInInstance === 0) {
    sleep(Math.random() * 2 * pause_s);
  }
  const query = queries[Math.floor(Math.random() * queries.length)];
  http.post(url, JSON.stringify({ query, top_k: 3 }), {
    headers: { 'Content-Type': 'application/json' },
    timeout: '10s',
  });
  sleep(pause_s);
}
