// A fixed rate, as the gate asks: QPS=10 DURATION=60 k6 run perf/k6-arrival-rate.js
//
// There are as many users as requests can be open at that rate and the timeout, so that a slow target
// delays none; one that is not sent all the same counts in dropped_iterations, and fails the run: its
// latency would be missing.
//
// Environment: TARGET_URL, QUERY_FILE (from the folder where k6 is started), QPS (10), DURATION (a bare
// number is seconds; 2m).
import http from 'k6/http';
import exec from 'k6/execution';
import { SharedArray } from 'k6/data';

const TIMEOUT_S = 10;
const url = __ENV.TARGET_URL || 'http://localhost:8080/v1/query';
const rate = Number(__ENV.QPS || 10);
const duration = /^\d+$/.test(__ENV.DURATION || '') ? `${__ENV.DURATION}s` : __ENV.DURATION || '2m';

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
  scenarios: {
    gate: {
      executor: 'constant-arrival-rate',
      // A rate of 0.5/s is 5 in 10 s: k6 takes whole numbers only.
      rate: Math.round(rate * 10),
      timeUnit: '10s',
      duration,
      preAllocatedVUs: Math.ceil(rate * TIMEOUT_S) + 1,
      gracefulStop: `${TIMEOUT_S}s`,
    },
  },
  thresholds: {
    http_req_failed: ['rate<0.01'],
    http_req_duration: ['p(95)<300'],
    dropped_iterations: ['count==0'],
  },
};

export default function () {
  // In turn, as the gate asks them.
  const query = queries[exec.scenario.iterationInTest % queries.length];
  http.post(url, JSON.stringify({ query, top_k: 3 }), {
    headers: { 'Content-Type': 'application/json' },
    timeout: `${TIMEOUT_S}s`,
  });
}
