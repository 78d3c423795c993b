// SPDX-License-Identifier: Apache-2.0
//
// The page in a real browser: node main.mjs OUT PICTURES, both folders; OUT has mallardd, the library
// and tests/bin/e2e/leak. Prints ok or FAIL per check and the counts last; exits 1 when one failed.
import { join } from 'node:path';
import { serve } from '../../web/test/serve.js';
import { openBrowser, PHONE, TABLET } from './browser.mjs';
import { check, eventually, expect, summary } from './check.mjs';
import { startHost } from './host.mjs';
import { keyboard } from './keyboard.mjs';
import { oneTree, phone, tablet, withoutScript, wrongAddress } from './plain.mjs';
import { report } from './report.mjs';
import { shootDialog, shots } from './shots.mjs';
import { speed } from './speed.mjs';
import { story } from './story.mjs';
import { views } from './views.mjs';

const [out, pictures] = process.argv.slice(2);
if (!out || !pictures) {
  console.error('usage: main.mjs OUT PICTURES');
  process.exit(2);
}

// Where to click in the flame graph of 16384 stacks: deeper each time.
const STACKS_FRAMES = [
  [300, 19 * 7 + 8],
  [300, 19 * 8 + 8],
  [300, 19 * 9 + 8],
];
const FIXTURE_FRAMES = [
  [100, 19 * 2 + 8],
  [100, 19 * 3 + 8],
  [100, 19 * 4 + 8],
];

function addressesOf(url, ids, base) {
  const p = (id, rest) => `${url}/#/p/${id}/${rest}`;
  return {
    processes: `${url}/`,
    memory: p(ids.grow, 'memory'),
    timeline: p(ids.grow, `timeline?range=10m&base=${base}`),
    flame: p(ids.grow, 'heap'),
    'flame-search': p(ids.grow, 'heap?search=session'),
    'flame-inverted': p(ids.grow, 'heap?order=up'),
    'flame-diff': p(ids.grow, `heap?base=${base}`),
    'flame-stacks': p(ids.stacks, 'heap'),
    table: p(ids.grow, 'heap?mode=table'),
    'table-diff': p(ids.grow, `heap?mode=table&base=${base}`),
    'one-function': p(ids.grow, 'heap?mode=sandwich&fn=cache_insert'),
    classes: p(ids.grow, 'classes?spans=class'),
    trace: p(ids.grow, 'trace'),
    commands: p(ids.grow, `commands?base=${base}`),
    dead: p(ids.dead, 'memory'),
    'dead-timeline': p(ids.dead, 'timeline?range=all'),
  };
}

async function picturesOf(browser, host, ids, reportPath) {
  const { profiles } = await host.api(`process?proc=${ids.grow}`);
  const addresses = {
    ...addressesOf(host.url, ids, profiles[0].unix_s),
    report: `file://${reportPath}`,
  };
  for (const scheme of ['light', 'dark']) {
    const page = await browser.visitor({ colorScheme: scheme });
    await shots(page, addresses, pictures, scheme);
    await shootDialog(page, addresses.commands, join(pictures, `dialog-${scheme}.png`));
    const small = await browser.visitor({
      colorScheme: scheme,
      viewport: PHONE,
      deviceScaleFactor: 2,
    });
    await shots(small, addresses, pictures, `phone-${scheme}`);
  }
}

async function everything(host, browser, fixtures) {
  const page = await browser.visitor();
  const ids = { dead: await story(host, page) };
  const grow = host.leak('grow', 65536);
  const stacks = host.leak('stacks', 1);
  ids.grow = await eventually('the second program does not appear', () => host.idOf(grow));
  ids.stacks = await eventually('the third program does not appear', () => host.idOf(stacks));
  await eventually(
    'no profiles are stored',
    async () => (await host.api(`process?proc=${ids.grow}`)).profiles.length > 2,
  );

  await views(host, page, ids.grow, fixtures);
  await keyboard(host, page, ids.grow);
  await speed(
    '16384 stacks of a process',
    page,
    `${host.url}/#/p/${ids.stacks}/heap`,
    STACKS_FRAMES,
  );
  await speed('10000 stacks of the fixtures', page, `${fixtures}/#/p/812.301/heap`, FIXTURE_FRAMES);
  await withoutScript(host, await browser.visitor({ javaScriptEnabled: false }), ids.grow);
  await oneTree(host, page);
  await phone(host, await browser.visitor({ viewport: PHONE }), ids.grow);
  await tablet(host, await browser.visitor({ viewport: TABLET }), ids.grow);
  const reportPath = await report(host, await browser.visitor(), ids.dead);
  await check('the programs that were started run still', async () => {
    const wrong = await host.wronglyJudged();
    expect(wrong.length === 0, wrong.join('; '));
    expect(
      grow.signalCode === null && stacks.signalCode === null,
      `grow ${grow.signalCode}, stacks ${stacks.signalCode}: ${stacks.said}`,
    );
  });
  await check('pictures of every view, light and dark', () =>
    picturesOf(browser, host, ids, reportPath),
  );
  await check('the console is silent: no error, no refusal by the policy', () => {
    expect(browser.complaints.length === 0, browser.complaints.join(' | '));
  });
  await wrongAddress(host, await browser.visitor());
}

const host = await startHost(out);
const browser = await openBrowser();
const fixtures = await serve(0);
try {
  await everything(host, browser, fixtures.url);
} catch (problem) {
  await check('the run', () => {
    throw problem;
  });
} finally {
  await browser.close();
  fixtures.server.close();
  await host.close();
}
process.exitCode = summary() ? 0 : 1;
