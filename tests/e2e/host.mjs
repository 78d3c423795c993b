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
  const program = join(build, 'tests', 'bin', 'e2e', 'leak');
  const children = [];
  process.on('exit', () =>
    children.filter((child) => !ended(child)).forEach((child) => child.kill('SIGKILL')),
  );
  await mkdir(boxes);

  // `said` of the child is all that it printed.
  function start(command, args, env) {
    const child = spawn(command, args, {
      cwd: folder,
      env: { ...process.env, MALLARD_DIR: boxes, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data) => {
        child.said += data;
      });
    children.push(child);
    return child;
  }

  async function addressOf(child) {
    const [address] = await eventually(`no address in “${child.said}”`, () =>
      ended(child) ? [''] : /http:\/\/[^/\s]+/.exec(child.said),
    );
    if (!address) throw new Error(`it ended: ${child.said}`);
    return address;
  }

  // grow: leaks; stacks: 16384 stacks. `rate` is the mean number of bytes between samples.
  function leak(mode, rate) {
    const env = {
      LD_PRELOAD: join(build, 'libmallard.so.0'),
      MALLARD_MEMPROFILERATE: String(rate),
    };
    return start(program, [mode], env);
  }

  // `mallard run` around the same program; its page's address.
  const wrapped = (mode) =>
    addressOf(
      start(join(build, 'mallard'), ['run', '--http', '127.0.0.1:0', '--', program, mode], {}),
    );

  async function api(path) {
    const response = await fetch(`${host.url}/api/${path}`);
    return response.json();
  }

  // Programs that run and are said to be dead, or the other way round.
  async function wronglyJudged() {
    const { processes } = await api('processes');
    const child = (pid) => children.find((candidate) => candidate.pid === pid);
    return processes
      .filter(({ pid }) => child(pid))
      .filter(({ pid, alive }) => alive === ended(child(pid)))
      .map(
        ({ pid, alive, death }) =>
          `${pid} ${alive ? 'alive' : death?.sentence}, but ${child(pid).signalCode}`,
      );
  }

  async function idOf(child) {
    const { processes } = await api('processes');
    const found = processes.find((process) => process.pid === child.pid);
    return found && found.id;
  }

  function mallard(...args) {
    return spawnSync(join(build, 'mallard'), [...args, '--keep', keep], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, MALLARD_DIR: boxes },
    });
  }

  async function close() {
    for (const child of children.reverse()) {
      if (!ended(child)) child.kill('SIGTERM');
      await eventually('a program that does not end', () => ended(child), 10).catch(() =>
        child.kill('SIGKILL'),
      );
    }
    await rm(folder, { recursive: true, force: true });
  }

  const daemon = start(
    join(build, 'mallardd'),
    ['--http', '127.0.0.1:0', '--dir', boxes, '--keep', keep, '--keep-every', KEEP_SECONDS],
    {},
  );
  const host = {
    url: await addressOf(daemon),
    folder,
    leak,
    wrapped,
    api,
    wronglyJudged,
    idOf,
    mallard,
    close,
  };
  return host;
}
