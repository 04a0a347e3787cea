// The console of alfred: one page over the daemon's own HTTP API.

import * as access from "./access.js";
import * as ask from "./ask.js";
import * as documents from "./documents.js";
import * as runs from "./runs.js";
import * as status from "./status.js";

access.start();
ask.start();
documents.start();
runs.start();
status.start();
