'use strict';
// Runs before anything remote exists. From now on, post.js runs when the job ends, whatever happens.
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const env = process.env;

function append(variable, name, value) {
  const end = `clinder_${crypto.randomUUID()}`; // unpredictable, so that no value can add a name
  fs.appendFileSync(env[variable], `${name}<<${end}\n${value}\n${end}\n`);
}

// The first use creates the folder that all uses share. Its post step runs last and removes it.
function createShared() {
  const job = [__dirname, env.GITHUB_RUN_ID, env.GITHUB_RUN_ATTEMPT, env.GITHUB_JOB].join('\n');
  const name = crypto.createHash('sha256').update(job).digest('hex').slice(0, 16);
  const folder = path.join(env.RUNNER_TEMP, `clinder-job-${name}`);
  try {
    fs.mkdirSync(folder, { mode: 0o700 });
    append('GITHUB_STATE', 'clinder_created', folder);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    const stat = fs.lstatSync(folder);
    const foreign = process.getuid && (stat.uid !== process.getuid() || stat.mode & 0o077);
    if (!stat.isDirectory() || foreign) throw new Error(`${folder} belongs to somebody else`);
  }
  return folder;
}

try {
  for (const name of ['RUNNER_TEMP', 'GITHUB_STATE', 'GITHUB_OUTPUT']) {
    if (!env[name]) throw new Error(`${name} is not set; this step runs only in GitHub Actions`);
  }
  const folder = fs.mkdtempSync(path.join(env.RUNNER_TEMP, 'clinder-use-')); // mode 0700
  append('GITHUB_STATE', 'clinder_folder', folder);
  const shared = createShared();
  append('GITHUB_STATE', 'clinder_shared', shared);
  append('GITHUB_OUTPUT', 'folder', folder);
  append('GITHUB_OUTPUT', 'shared', shared);
} catch (error) {
  const reason = error.message.replace(/[%\r\n]/g, (c) => encodeURIComponent(c));
  console.log(`::error title=clinder::The step that stops the session cannot be registered: ${reason}`);
  process.exitCode = 1;
}
