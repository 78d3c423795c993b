// SPDX-License-Identifier: Apache-2.0
//
// A leaking program appears, grows, is killed, and is still there with how it died.
import { check, contains, eventually, expect } from './check.mjs';

const UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

function bytesOf(text) {
  const [, number, unit] = /([\d.]+)\s(B|KiB|MiB|GiB)/.exec(text) || [];
  return Number(number) * UNITS[unit];
}

export async function story(host, page) {
  let victim;
  let id;
  const row = () =>
    page
      .locator('tbody tr')
      .filter({ has: page.locator(`td.column-pid:text-is("${victim.pid}")`) });

  await check('an empty list says how to start a process', async () => {
    await page.goto(`${host.url}/`);
    await page.locator('.empty-title').waitFor();
    contains(await page.locator('.empty').innerText(), 'mallard run');
  });
  await check('a leaking program appears', async () => {
    victim = host.leak('grow', 65536);
    await row().waitFor({ timeout: 15000 });
    contains(await row().innerText(), 'leak grow');
    contains(await row().locator('.state').innerText(), 'running');
    id = await host.idOf(victim);
  });
  await check('it grows while it is watched', async () => {
    const rss = async () => bytesOf(await row().locator('td.column-rss_bytes').innerText());
    const before = await rss();
    await eventually('RSS has not grown', async () => (await rss()) > before + 1024 ** 2);
  });
  await check('killed, it is still there, with how it died', async () => {
    await eventually(
      'no profile was stored',
      async () => (await host.api(`process?proc=${id}`)).profiles.length > 0,
    );
    victim.kill('SIGKILL');
    await eventually('the row does not say SIGKILL', async () =>
      (await row().innerText()).includes('SIGKILL'),
    );
    expect(!(await row().innerText()).includes('running'), 'it is said to run');
  });
  await check('the filter finds the dead by how they died', async () => {
    await page.getByRole('button', { name: 'dead', exact: true }).click();
    await page.locator('[data-search]').fill('sigkill leak');
    await row().waitFor();
    contains(page.url(), 'filter=sigkill');
  });
  await check('its last heap names the function that leaked', async () => {
    await row().locator('a').first().click();
    contains(await page.locator('.death-line').innerText(), 'SIGKILL');
    await page.getByRole('link', { name: 'Heap', exact: true }).click();
    await page.getByRole('button', { name: 'table', exact: true }).click();
    await page.getByRole('button', { name: 'load_session' }).waitFor();
  });
  await check('what nobody measured of it is not shown as 0', async () => {
    await page.getByRole('link', { name: 'Memory', exact: true }).click();
    const parts = await page.locator('.parts tbody').innerText();
    contains(parts, 'live objects');
    for (const name of ['thread stacks', 'code and files', 'the rest'])
      expect(!new RegExp(`${name}\\s+0 B`).test(parts), parts);
  });
  await check('its time line ends at its death', async () => {
    await page.getByRole('link', { name: 'Time line', exact: true }).click();
    await page.locator('.timechart canvas').waitFor();
    const last = await page.locator('.readout-time .mono').first().innerText();
    const { started_unix_ns: started, ended_unix_ns: ended } = await host.api(`process?proc=${id}`);
    const seconds = new Date(last.replace(' ', 'T')).getTime() / 1000;
    expect(seconds >= Math.floor(started / 1e9) && seconds <= ended / 1e9, `it ends ${last}`);
  });
  await check('nothing can be commanded to the dead', async () => {
    await page.getByRole('link', { name: 'Commands', exact: true }).click();
    contains(await page.locator('.knobs').innerText(), 'has ended');
  });
  await check('who runs is said to run, and who does not is not', async () => {
    expect((await host.wronglyJudged()).length === 0, (await host.wronglyJudged()).join('; '));
  });
  return id;
}
