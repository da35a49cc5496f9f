'use strict';
// Runs when the job ends. Python decides what to stop and how.
const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');

const JOB_FAILED = 3; // as in stop.py
const env = process.env;
const folder = env.STATE_clinder_folder;
const script = path.join(__dirname, '..', 'src', 'clinder', 'action', '__main__.py');

function recordedPython() {
  try {
    return fs.readFileSync(path.join(folder, 'python'), 'utf8');
  } catch {
    return ''; // the start step failed before it recorded one
  }
}

function stop() {
  if (!folder) return; // main.js has reported why
  if (!fs.existsSync(folder)) {
    throw new Error(`${folder}, which names the session, was removed during the job`);
  }
  if (fs.readdirSync(folder).every((name) => name === 'python')) {
    console.log('There is no session to stop.');
    return;
  }
  // If the Python of the start step is gone by now, any other will do.
  for (const python of new Set([recordedPython(), 'python3', 'python'].filter(Boolean))) {
    const result = spawnSync(python, ['-I', '-S', script, 'stop'], {
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout: 90_000,
      env: {
        ...env,
        CLINDER_FOLDER: folder,
        CLINDER_SHARED: env.STATE_clinder_shared,
        CLINDER_HUB_TOKEN: env['INPUT_HUB-TOKEN'] || '', // no file holds it, not even the state
      },
    });
    if (result.status === 0) return;
    if (result.status === JOB_FAILED) {
      process.exitCode = 1; // the session is stopped; a cell or a launch has failed
      return;
    }
  }
  throw new Error('no Python could run the code that stops it');
}

function remove(directory) {
  if (directory) fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}

try {
  stop();
} catch (error) {
  // The hub culls idle sessions, so this is no reason to fail the job.
  const reason = error.message.replace(/[%\r\n]/g, (c) => encodeURIComponent(c));
  console.log(`::warning title=clinder::A session might keep running until its hub culls it: ${reason}`);
}
try {
  remove(folder);
  remove(env.STATE_clinder_created);
} catch (error) {
  console.log(`A folder could not be removed: ${error.code}`);
}
