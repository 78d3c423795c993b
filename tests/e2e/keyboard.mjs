// SPDX-License-Identifier: Apache-2.0
//
// The whole page without a mouse.
import { check, contains, eventually, expect } from './check.mjs';

const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return `${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`;
  });

// Presses Tab until the focus is on what the selector matches.
async function tabTo(page, selector, most = 40) {
  for (let i = 0; i < most; i++) {
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`${most} times Tab do not lead to ${selector}, but to ${await focused(page)}`);
}

async function outlined(page) {
  const style = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  expect(style !== 'none', `no visible focus on ${await focused(page)}`);
}

export async function keyboard(host, page, id) {
  const { keyboard: keys } = page;
  await check('keys: from the list to a process', async () => {
    await page.goto(`${host.url}/`);
    await page.locator('tbody tr').first().waitFor();
    await keys.press('/');
    await keys.type(id);
    await eventually(
      'the filter does not filter',
      async () => (await page.locator('tbody tr').count()) === 1,
    );
    await tabTo(page, 'tbody a');
    await outlined(page);
    await keys.press('Enter');
    await page.locator('.sentence').waitFor();
  });
  await check('keys: through the flame graph', async () => {
    await keys.press('3');
    await page.locator('.flame canvas').waitFor();
    await tabTo(page, '.flame');
    await outlined(page);
    for (let i = 0; i < 5; i++) await keys.press('ArrowDown');
    const name = await page.locator('.detail-name').innerText();
    expect(name !== 'all stacks', 'the arrows do not move');
    await keys.press('Enter');
    await eventually('Enter does not zoom', () => page.url().includes('focus='));
    await keys.press('Home');
    await eventually('Home does not zoom out', () => !page.url().includes('focus='));
    await keys.press('s');
    await eventually('s shows no function', () => page.url().includes('mode=sandwich'));
  });
  await check('keys: the cursor of the time line and its handles', async () => {
    await keys.press('2');
    await page.locator('.timechart canvas').waitFor();
    await tabTo(page, '.timechart-plot');
    const before = await page.locator('.readout-time').innerText();
    await keys.press('PageUp');
    await eventually(
      'the cursor stands still',
      async () => (await page.locator('.readout-time').innerText()) !== before,
    );
    await tabTo(page, '.handle-a');
    await outlined(page);
    await keys.press('ArrowRight');
    await eventually('A stands still', () => page.url().includes('base='));
  });
  await check('keys: the map of spans', async () => {
    await keys.press('4');
    await page.locator('.spanmap canvas').waitFor();
    await tabTo(page, '.spanmap');
    await keys.press('ArrowRight');
    contains(await page.locator('.map-detail').innerText(), 'live');
  });
  await check('keys: a dialog opens, keeps the focus and closes', async () => {
    await keys.press('6');
    await tabTo(page, '.knobs button');
    await keys.press('Enter');
    await page.locator('dialog[open]').waitFor();
    for (let i = 0; i < 4; i++) await keys.press('Tab');
    expect(
      await page.evaluate(
        () =>
          !document.activeElement.closest('main') ||
          document.activeElement.closest('dialog') !== null,
      ),
      'the focus left the dialog',
    );
    await keys.press('Escape');
    await page.locator('dialog').waitFor({ state: 'detached' });
    contains(await focused(page), 'BUTTON');
  });
  await check('keys: theme and help', async () => {
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    for (const choice of ['light', 'dark', 'system']) {
      await keys.press('t');
      await page.getByRole('button', { name: `theme: ${choice}` }).waitFor();
      const wanted = choice === 'dark' ? 'dark' : 'light';
      await eventually(`not ${wanted}`, async () => (await theme()) === wanted);
    }
    for (let i = 0; i < 4; i++) await keys.press('t');
    await page.getByRole('button', { name: 'theme: light' }).waitFor();
    for (let i = 0; i < 2; i++) await keys.press('t');
    await page.getByRole('button', { name: 'theme: system' }).waitFor();
    await keys.press('?');
    await page.locator('dialog[open]').waitFor();
    await keys.press('Escape');
    await keys.press('g');
    await page.locator('#processes-title').waitFor();
  });
}
