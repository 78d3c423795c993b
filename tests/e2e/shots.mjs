// SPDX-License-Identifier: Apache-2.0
//
// Pictures of every view, light and dark, for people to look at.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

const SETTLE_MS = 500;

async function shoot(page, address, path) {
  await page.goto('about:blank');
  await page.goto(address);
  await page
    .locator('main :is(table, canvas, .sentence, .trace, .empty, .commands)')
    .first()
    .waitFor();
  await page.waitForTimeout(SETTLE_MS);
  await page.screenshot({ path, fullPage: true });
}

// addresses: {name: address}
export async function shots(page, addresses, folder, suffix) {
  await mkdir(folder, { recursive: true });
  for (const [name, address] of Object.entries(addresses))
    await shoot(page, address, join(folder, `${name}-${suffix}.png`));
}

export async function shootDialog(page, address, path) {
  await page.goto(address);
  await page.getByRole('button', { name: 'Set the sampling rate…' }).click();
  await page.locator('dialog[open]').waitFor();
  await page.screenshot({ path });
}
