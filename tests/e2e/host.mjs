// SPDX-License-Identifier: Apache-2.0
//
// A host to look at: a mallardd of its own on a free port, with folders of its own, and programs under
// the library. Everything that was started is ended by its pid, whatever happened in between.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { eventually } from './check.mjs';

const KEEP_SECONDS = '2';

const ended = (child) => child.exitCode !== null || child.signalCode !== null;

export async function startHost(out) {
  const build = resolve(out);
  const folder = await mkdtemp(join(tmpdir(), 'mallard-e2e-host.'));
  const boxes = join(folder, 'boxes');
  const keep = join(folder, 'keep');
  const children = [];
  await mkdir(boxes);

  function start(command, args, env, onLine) {
    const child = spawn(command, args, { cwd: folder, env: { ...process.env, MALLARD_DIR: boxes, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.on('data', (data) => onLine && onLine(String(data)));
    children.push(child);
    return child;
  }

  // grow: leaks; stacks: 16384 stacks. `rate` is the mean number of bytes between samples.
  function leak(mode, rate) {
    const env = { LD_PRELOAD: join(build, 'libmallard.so.0'), MALLARD_MEMPROFILERATE: String(rate) };
    return start(join(build, 'tests', 'bin', 'e2e', 'leak'), [mode], env);
  }

  async function api(path) {
    const response = await fetch(`${host.url}/api/${path}`);
    return response.json();
  }

  async function idOf(child) {
    const { processes } = await api('processes');
    const found = processes.find((process) => process.pid === child.pid);
    return found && found.id;
  }

  function mallard(...args) {
    return spawnSync(join(build, 'mallard'), [...args, '--keep', keep], { cwd: folder, encoding: 'utf8', env: { ...process.env, MALLARD_DIR: boxes } });
  }

  async function close() {
    for (const child of children.reverse()) {
      if (!ended(child)) child.kill('SIGTERM');
      await eventually('a program that does not end', () => ended(child), 10).catch(() => child.kill('SIGKILL'));
    }
    await rm(folder, { recursive: true, force: true });
  }

  let said = '';
  const daemon = start(join(build, 'mallardd'), ['--http', '127.0.0.1:0', '--dir', boxes, '--keep', keep, '--keep-every', KEEP_SECONDS], {},
    (line) => { said += line; });
  const host = { url: '', folder, leak, api, idOf, mallard, close };
  const ready = await eventually('mallardd says no address', () => ended(daemon) || /http:\/\/[^/\s]+/.exec(said));
  if (ready === true) throw new Error('mallardd ended at once');
  [host.url] = ready;
  return host;
}
