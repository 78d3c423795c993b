// SPDX-License-Identifier: Apache-2.0
//
// Other visitors: without JavaScript, on a phone, at a wrong address.
import { check, contains, eventually, expect } from './check.mjs';

export const VIEWS = [
  'memory',
  'timeline',
  'heap',
  'heap?mode=table',
  'heap?mode=sandwich&fn=cache_insert',
  'classes',
  'trace',
  'commands',
];

export async function withoutScript(host, page, id) {
  await check('without JavaScript the processes are a table', async () => {
    await page.goto(`${host.url}/`);
    const table = page.locator('table').first();
    contains(await table.innerText(), 'leak');
    contains(await table.innerText(), 'SIGKILL');
  });
  await check('without JavaScript the numbers of a process are tables', async () => {
    await page.goto(`${host.url}/p/${id}/`);
    const text = await page.locator('body').innerText();
    for (const word of ['live objects', 'RSS ', 'load_session']) contains(text, word);
  });
}

export async function phone(host, page, id) {
  await check('at 360 pixels no view scrolls sideways', async () => {
    for (const view of ['', ...VIEWS.map((name) => `#/p/${id}/${name}`)]) {
      await page.goto('about:blank');
      await page.goto(`${host.url}/${view}`);
      await page
        .locator('#main :is(table, canvas, .sentence, .trace, .empty, .commands)')
        .first()
        .waitFor();
      const over = await page.evaluate(
        () => document.documentElement.scrollWidth - window.innerWidth,
      );
      expect(over <= 0, `${view || 'the list'} is ${over} pixels too wide`);
    }
  });
}

export async function oneTree(host, page) {
  await check('mallard run serves the same page for its own programs', async () => {
    await page.goto(`${await host.wrapped('grow')}/`);
    await page.locator('tbody a').first().click();
    await page.locator('.sentence').waitFor();
    await page.getByRole('link', { name: 'Heap', exact: true }).click();
    await page.locator('.flame canvas, .empty').first().waitFor();
    await page.getByRole('link', { name: 'Time line', exact: true }).click();
    await eventually('not said that nothing is stored', async () =>
      (await page.locator('main').innerText()).includes('nothing to compare'),
    );
  });
}

// Between a phone, which has cards, and a desk.
export async function tablet(host, page, id) {
  await check('on a tablet the table of processes has room for names and for what they died of', async () => {
    await page.goto(`${host.url}/`);
    const row = page.locator('.processes tbody tr', { hasText: id.split('.')[0] });
    await row.waitFor();
    const width = async (name) => (await row.locator(`.column-${name}`).boundingBox()).width;
    expect((await width('name')) >= 150, `names have ${await width('name')} px`);
    expect((await width('state')) >= 150, `states have ${await width('state')} px`);
    const over = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(over <= 0, `the page is ${over} px too wide`);
  });
}

// Its complaints are not the page's: the browser logs each answer of 404.
export async function wrongAddress(host, page) {
  await check('a process that is not there is one sentence, not an empty page', async () => {
    await page.goto(`${host.url}/#/p/999999.1/heap`);
    await page.locator('.problem').waitFor();
    contains(await page.locator('main').innerText(), 'All processes');
  });
  await check('a server that went away is one sentence, and the numbers stay', async () => {
    await page.goto(`${host.url}/`);
    await page.locator('tbody tr').first().waitFor();
    await page.route('**/api/**', (route) => route.abort());
    await eventually('no sentence', async () => (await page.locator('.problem').count()) > 0);
    contains(await page.locator('.problem').innerText(), 'does not answer');
    expect((await page.locator('tbody tr').count()) > 0, 'the table went away');
  });
}
