// SPDX-License-Identifier: Apache-2.0
//
// The report is one file: it is written, opened from the disk, and asks nobody for anything.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { check, contains, eventually, expect } from './check.mjs';

// As `mallard report` writes it: "<" must not end the script element that holds the data.
async function writeByHand(host, id, template, path) {
  const names = ['process', 'history', 'profile', 'trace'];
  const documents = await Promise.all(names.map((name) => host.api(`${name}?proc=${id}`)));
  const data = JSON.stringify(Object.fromEntries(names.map((name, i) => [name, documents[i]]))).replaceAll('<', '\\u003c');
  const page = await readFile(template, 'utf8');
  expect(page.split('MALLARD_DATA').length === 2, 'the template has not exactly one place for data');
  await writeFile(path, page.replace('MALLARD_DATA', () => data));
}

export async function report(host, page, id, template) {
  const path = join(host.folder, 'report.html');
  const asked = [];
  page.on('request', (request) => request.url().startsWith('http') && asked.push(request.url()));
  await check('a report is written', () => writeByHand(host, id, template, path));
  await check('the report shows how it died, the time line, the heap and the trace', async () => {
    await page.goto(`file://${path}`);
    contains(await page.locator('.death-line').innerText(), 'SIGKILL');
    await page.locator('.timechart canvas').waitFor();
    await page.locator('.flame canvas').waitFor();
    await page.getByRole('button', { name: 'table', exact: true }).click();
    await eventually('no function', async () => (await page.locator('.functions').innerText()).includes('load_session'));
    expect(asked.length === 0, `it asked for ${asked}`);
  });
  return path;
}
