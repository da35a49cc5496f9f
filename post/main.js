'use strict';
// Runs before anything remote exists: from now on post.js runs when the job ends, whatever happens.
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const env = process.env;

function put(variable, name, value) {
  const end = `clinder_${crypto.randomUUID()}`; // no value can smuggle in another name
  fs.appendFileSync(env[variable], `${name}<<${end}\n${value}\n${end}\n`);
}

// The first use makes the folder of all. Its post step is the last one, and removes it.
function shared() {
  const job = [__dirname, env.GITHUB_RUN_ID, env.GITHUB_RUN_ATTEMPT, env.GITHUB_JOB].join('\n');
  const name = crypto.createHash('sha256').update(job).digest('hex').slice(0, 16);
  const folder = path.join(env.RUNNER_TEMP, `clinder-job-${name}`);
  try {
    fs.mkdirSync(folder, { mode: 0o700 });
    put('GITHUB_STATE', 'clinder_made', folder);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    const there = fs.lstatSync(folder);
    const foreign = process.getuid && (there.uid !== process.getuid() || there.mode & 0o077);
    if (!there.isDirectory() || foreign) throw new Error(`${folder} is not ours`);
  }
  return folder;
}

try {
  for (const name of ['RUNNER_TEMP', 'GITHUB_STATE', 'GITHUB_OUTPUT']) {
    if (!env[name]) throw new Error(`${name} is not set: this runs in GitHub Actions only`);
  }
  const folder = fs.mkdtempSync(path.join(env.RUNNER_TEMP, 'clinder-use-')); // mode 0700
  put('GITHUB_STATE', 'clinder_folder', folder);
  const all = shared();
  put('GITHUB_STATE', 'clinder_shared', all);
  put('GITHUB_OUTPUT', 'folder', folder);
  put('GITHUB_OUTPUT', 'shared', all);
} catch (error) {
  const why = error.message.replace(/[%\r\n]/g, (c) => encodeURIComponent(c));
  console.log(`::error title=clinder::The step that stops the session cannot be registered: ${why}`);
  process.exitCode = 1;
}
