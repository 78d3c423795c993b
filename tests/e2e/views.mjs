// SPDX-License-Identifier: Apache-2.0
//
// Each view of a living process, with the mouse; and that what it says is so.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { check, contains, eventually, expect } from './check.mjs';

const tab = (page, name) => page.getByRole('link', { name, exact: true }).click();
const param = (page, name) => new URLSearchParams(page.url().split('?')[1] || '').get(name);

// How many colours a canvas shows; one is an empty picture.
function colors(page, selector) {
  return page
    .locator(selector)
    .first()
    .evaluate((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const seen = new Set();
      for (let i = 0; i < data.length; i += 4 * 13)
        seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
      return seen.size;
    });
}

const run = (host, command) =>
  spawnSync('sh', ['-c', command], {
    encoding: 'utf8',
    env: { ...process.env, PPROF_TMPDIR: host.folder },
  });

async function memory(host, page, id) {
  await check('memory: the parts add up to RSS', async () => {
    const { rss } = await host.api(`process?proc=${id}`);
    expect(
      rss.parts.reduce((sum, part) => sum + part.bytes, 0) === rss.resident_bytes,
      'the parts do not add up',
    );
    await page.goto(`${host.url}/#/p/${id}/memory`);
    contains(await page.locator('.sentence').innerText(), 'RSS ');
    expect((await page.locator('.part').count()) >= 3, 'the bar has fewer than three parts');
    expect(
      (await page.locator('.parts tbody tr').count()) === rss.parts.length,
      'the table has other parts than the server',
    );
    contains(await page.locator('.parts tfoot').innerText(), '100 %');
  });
}

async function timeline(host, page, id) {
  await check('time line: ranges and zoom are in the address', async () => {
    await tab(page, 'Time line');
    await page.locator('.timechart canvas').waitFor();
    await page.getByRole('button', { name: '10 m', exact: true }).click();
    expect(param(page, 'range') === '10m', page.url());
    await eventually(
      'the chart is empty',
      async () => (await colors(page, '.timechart canvas')) > 5,
    );
    const box = await page.locator('.u-over').boundingBox();
    await page.mouse.move(box.x + box.width * 0.3, box.y + 100);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.8, box.y + 110, { steps: 5 });
    await page.mouse.up();
    await eventually('dragging does not zoom', () => param(page, 'from') && param(page, 'to'));
    await page.getByRole('button', { name: 'zoom out' }).click();
    expect(!param(page, 'from'), 'zoomed in still');
  });
  await check('time line: the cursor reads the numbers', async () => {
    const box = await page.locator('.u-over').boundingBox();
    const before = await page.locator('.readout-time').innerText();
    await page.mouse.move(box.x + box.width * 0.2, box.y + 60);
    await eventually(
      'the numbers do not follow',
      async () => (await page.locator('.readout-time').innerText()) !== before,
    );
  });
  await check('time line: stacks and code are never nothing', async () => {
    const last = async () => page.locator('.readout .legend').innerText();
    await eventually('the legend has no rest', async () => /the rest\s/.test(await last()));
    const { rss } = await host.api(`process?proc=${id}`);
    expect(rss.measured, 'the process could not be measured');
    expect(!/the rest\s+(0 B|not known)/.test(await last()), await last());
  });
  await check('time line: it goes on by itself and does not blink', async () => {
    const points = async () => parseInt(await page.locator('.timechart + * + p').innerText(), 10);
    const before = await points();
    await page
      .locator('.timechart canvas')
      .evaluate((canvas) => canvas.setAttribute('data-seen', ''));
    await eventually('no new points', async () => (await points()) > before + 10, 30);
    expect((await page.locator('.timechart canvas[data-seen]').count()) === 1, 'it was drawn anew');
  });
  await check('time line: two points are chosen and compared', async () => {
    const handle = page.getByRole('slider', { name: /^A/ });
    const over = await page.locator('.u-over').boundingBox();
    const box = await handle.boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + 10);
    await page.mouse.down();
    await page.mouse.move(over.x + over.width * 0.3, box.y + 12, { steps: 4 });
    await page.mouse.up();
    await eventually('A is nowhere', () => param(page, 'base'));
    await page.getByRole('link', { name: /Compare A/ }).click();
    contains(await page.locator('.flame-head .total').first().innerText(), '+');
    expect(param(page, 'base'), 'the comparison is not in the address');
  });
}

async function heap(host, page, id) {
  await check('heap: a comparison is coloured and has signs', async () => {
    await page.locator('.flame canvas').waitFor();
    expect((await colors(page, '.flame canvas')) > 2, 'the flame graph is empty');
    contains(await page.locator('.detail').innerText(), 'has grown');
    await page.getByRole('button', { name: 'table', exact: true }).click();
    contains(await page.locator('.functions thead').innerText(), 'change');
    await page.getByRole('button', { name: 'flame graph', exact: true }).click();
  });
  await check('heap: the comparison’s own command works in a terminal', async () => {
    await page.locator('.foot-commands summary').click();
    const command = await page.locator('.foot-commands code').first().innerText();
    const result = run(host, command);
    contains(command, '-base');
    expect(result.status === 0, result.stderr);
    contains(result.stdout, 'load_session');
  });
  await check('heap: click zooms, back takes it back', async () => {
    await page.goto(`${host.url}/#/p/${id}/heap`);
    await page.locator('.flame canvas').waitFor();
    const box = await page.locator('.flame canvas').boundingBox();
    await page.mouse.click(box.x + 40, box.y + 19 * 5 + 8);
    await eventually('no frame in the address', () => param(page, 'focus'));
    contains(await page.locator('.crumbs').innerText(), 'all');
    await page.goBack();
    await eventually('still zoomed in', () => !param(page, 'focus'));
    await page.goForward();
    await eventually('forward does not zoom in again', () => param(page, 'focus'));
    await page.getByRole('button', { name: 'all', exact: true }).click();
  });
  await check('heap: a search tells the matched share', async () => {
    await page.locator('[data-search]').fill('load_sess|copy_name');
    await eventually('no share', async () =>
      /matched\s*[\d.]+ %/.test(await page.locator('.flame-head').innerText()),
    );
    contains(decodeURIComponent(page.url()), 'search=load_sess|copy_name');
    await page.locator('[data-search]').fill('');
  });
  await check('heap: hovering tells bytes, objects, samples and ±', async () => {
    const box = await page.locator('.flame canvas').boundingBox();
    await page.mouse.move(box.x + 30, box.y + 19 * 6 + 8);
    await eventually(
      'no name',
      async () => !(await page.locator('.detail-name').innerText()).includes('all stacks'),
    );
    const detail = await page.locator('.detail').innerText();
    for (const word of ['bytes', 'objects', 'samples', '± 1σ']) contains(detail, word);
  });
  await check('heap: inverted, allocated and objects', async () => {
    await page.getByRole('button', { name: 'inverted' }).click();
    expect(param(page, 'order') === 'up', page.url());
    await page.getByLabel('measure').selectOption('alloc_objects');
    await eventually('not allocated objects', async () =>
      (await page.locator('.flame-head').innerText()).includes('allocated'),
    );
    await page.getByLabel('measure').selectOption('inuse_space');
  });
  await check(
    'heap: the table sorts, a function opens between its callers and callees',
    async () => {
      await page.getByRole('button', { name: 'table', exact: true }).click();
      await page.locator('.functions').getByRole('button', { name: /^cum/ }).click();
      expect(param(page, 'sort') === 'cum', page.url());
      await page.getByRole('button', { name: 'cache_insert' }).click();
      expect(param(page, 'fn') === 'cache_insert', page.url());
      expect((await page.locator('.flame canvas').count()) === 2, 'there are not two graphs');
      expect((await colors(page, '.flame canvas')) > 2, 'the callers are not drawn');
    },
  );
}

async function download(host, page, id) {
  await check('a profile is downloaded and opened by go tool pprof', async () => {
    await page.goto(`${host.url}/#/p/${id}/heap`);
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: /download/ }).click(),
    ]);
    const path = join(host.folder, 'downloaded.pb.gz');
    await file.saveAs(path);
    const result = run(host, `go tool pprof -top '${path}'`);
    expect(result.status === 0, result.stderr);
    contains(result.stdout, 'load_session');
  });
}

async function classes(host, page) {
  await check('size classes: a table, and a map that tells who pins what', async () => {
    await tab(page, 'Size classes');
    await page.locator('.spanmap canvas').waitFor();
    expect((await colors(page, '.spanmap canvas')) >= 3, 'the map has one colour');
    expect((await page.locator('.classes tbody tr').count()) > 3, 'hardly any class');
    await page.getByRole('button', { name: 'occupancy', exact: true }).click();
    expect(param(page, 'spans') === 'occupancy', page.url());
    const box = await page.locator('.spanmap canvas').boundingBox();
    await page.mouse.move(box.x + 5, box.y + 5);
    await eventually('the map is silent', async () =>
      /live/.test(await page.locator('.map-detail').innerText()),
    );
    contains(await page.locator('section').innerText(), 'import_row');
  });
}

async function knobs(host, page) {
  await check('knobs ask before they act, and cancel does nothing', async () => {
    const posted = [];
    page.on('request', (request) => request.method() === 'POST' && posted.push(request.url()));
    await tab(page, 'Commands');
    await page.getByRole('button', { name: 'Free OS memory…' }).click();
    await page.locator('dialog[open]').waitFor();
    await page.getByRole('button', { name: 'cancel' }).click();
    await page.locator('dialog').waitFor({ state: 'detached' });
    expect(posted.length === 0, `posted ${posted}`);
  });
  await check('a knob acts and shows the answer', async () => {
    await page.getByRole('button', { name: 'Free OS memory…' }).click();
    await page.locator('dialog').getByRole('button', { name: 'Free OS memory' }).click();
    await eventually('no answer', async () =>
      (await page.locator('.answer').innerText()).includes('went back to the kernel'),
    );
  });
  await check('a rate that is no number is refused in a sentence', async () => {
    await page.getByRole('button', { name: 'Set the sampling rate…' }).click();
    await page.locator('dialog input').fill('often');
    await page.locator('dialog').getByRole('button', { name: 'Set the sampling rate' }).click();
    contains(await page.locator('dialog .problem').innerText(), 'often');
    await page.locator('dialog input').fill('131072');
    await page.locator('dialog').getByRole('button', { name: 'Set the sampling rate' }).click();
    await eventually('no answer', async () =>
      (await page.locator('.answer').innerText()).includes('64.0 KiB before'),
    );
  });
}

// The fixtures always have lines; a process writes some when there was something to give back.
async function trace(host, page, id, fixtures) {
  await check(
    'the trace shows the lines that the process wrote, or says that there are none',
    async () => {
      await page.goto(`${host.url}/#/p/${id}/trace`);
      await page.locator('.trace li, .empty').first().waitFor();
      const { lines } = await host.api(`trace?proc=${id}`);
      const shown = await page.locator('.trace li').allInnerTexts();
      expect(lines.length === 0 || shown.includes(lines[0]), `“${lines[0]}” is not shown`);
    },
  );
  await check('the trace filters and pauses', async () => {
    await page.goto(`${fixtures}/#/p/4711.880/trace`);
    await page.locator('.trace li').first().waitFor();
    await page.locator('[data-search]').fill('no such line');
    await eventually('lines remain', async () => (await page.locator('.trace li').count()) === 0);
    await page.locator('[data-search]').fill('');
    await page.getByRole('button', { name: 'pause' }).click();
    contains(await page.locator('.tools').innerText(), 'paused');
    await page.getByRole('button', { name: 'resume' }).click();
  });
}

export async function views(host, page, id, fixtures) {
  await memory(host, page, id);
  await timeline(host, page, id);
  await heap(host, page, id);
  await download(host, page, id);
  await classes(host, page);
  await knobs(host, page);
  await trace(host, page, id, fixtures);
  await check('a pasted address shows the same', async () => {
    const address = `${host.url}/#/p/${id}/heap?mode=table&search=load_session&sort=cum`;
    await page.goto('about:blank');
    await page.goto(address);
    await eventually(
      'not one row',
      async () => (await page.locator('.functions tbody tr').count()) === 1,
    );
  });
}
