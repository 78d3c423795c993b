// SPDX-License-Identifier: Apache-2.0
//
// The report is one file: it is written, opened from the disk, and asks nobody for anything.
import { join } from 'node:path';
import { check, contains, eventually, expect } from './check.mjs';

export async function report(host, page, id) {
  const path = join(host.folder, 'report.html');
  const asked = [];
  page.on('request', (request) => request.url().startsWith('http') && asked.push(request.url()));
  await check('mallard report writes one file', () => {
    const result = host.mallard('report', id.split('.')[0], '-o', path);
    expect(result.status === 0, result.stderr);
  });
  await check('the report shows how it died, the time line, the heap and the trace', async () => {
    await page.goto(`file://${path}`);
    contains(await page.locator('.death-line').innerText(), 'SIGKILL');
    await page.locator('.timechart canvas').waitFor();
    await page.locator('.flame canvas').waitFor();
    await page.getByRole('button', { name: 'table', exact: true }).click();
    await eventually('no function', async () =>
      (await page.locator('.functions').innerText()).includes('load_session'),
    );
    expect(asked.length === 0, `it asked for ${asked}`);
  });
  return path;
}
