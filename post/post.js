'use strict';
// Runs when the job ends. What there is to stop, and how, is decided in Python.
const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const env = process.env;
const folder = env.STATE_clinder_folder;
const script = path.join(__dirname, '..', 'src', 'clinder', 'action', '__main__.py');

function recorded() {
  try {
    return fs.readFileSync(path.join(folder, 'python'), 'utf8');
  } catch {
    return ''; // the start step did not get so far
  }
}

function stop() {
  if (!folder) return; // main.js said why
  if (!fs.existsSync(folder)) {
    throw new Error(`${folder} was removed during the job, and with it what names the session`);
  }
  if (fs.readdirSync(folder).every((name) => name === 'python')) {
    console.log('No session was left to stop.');
    return;
  }
  // The Python of the start step may be gone by now: then any other will do.
  for (const python of new Set([recorded(), 'python3', 'python'].filter(Boolean))) {
    const ran = spawnSync(python, ['-I', '-S', script, 'stop'], {
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout: 90_000,
      env: { ...env, CLINDER_FOLDER: folder, CLINDER_SHARED: env.STATE_clinder_shared },
    });
    if (ran.status === 0) return;
  }
  throw new Error('no Python could run what stops it');
}

function remove(what) {
  if (what) fs.rmSync(what, { recursive: true, force: true, maxRetries: 3 });
}

try {
  stop();
} catch (error) {
  // The hub culls what nothing uses, so a good job does not turn red.
  const why = error.message.replace(/[%\r\n]/g, (c) => encodeURIComponent(c));
  console.log(`::warning title=clinder::A session may still run until its hub culls it: ${why}`);
}
try {
  remove(folder);
  remove(env.STATE_clinder_made);
} catch (error) {
  console.log(`A folder could not be removed: ${error.code}`);
}
