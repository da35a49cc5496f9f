// A launch with BinderHub's own JavaScript client, like one that someone without clinder would
// write: node client.mjs HUB SPEC. The build log goes to stderr, the session's URI to stdout.

import process from "node:process";

// The client expects a browser.
globalThis.window = globalThis;
globalThis.document = { cookie: "", hidden: false, addEventListener() {}, removeEventListener() {} };
const { BinderRepository } = await import("@jupyterhub/binderhub-client/client.js");

const [hub, spec] = process.argv.slice(2);
const repository = new BinderRepository(spec, new URL("build/", hub));
let code = 1;
for await (const { phase, message, url, token } of repository.fetch()) {
  if (phase === "ready") {
    process.stdout.write(`${url}?token=${token}\n`);
    code = 0;
    break;
  }
  if (message) process.stderr.write(message);
  if (phase === "failed") break;
}
repository.close();
process.exitCode = code;
