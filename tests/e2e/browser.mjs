// SPDX-License-Identifier: Apache-2.0
//
// A real browser for the tests: Debian's Chromium, driven by playwright-core, with a
// profile folder of its own that goes when it is closed. Whatever a page complains about on
// its console, a refusal by the Content-Security-Policy included, is collected in `complaints`.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

// Machines that test may be busy.
const PATIENCE_MS = 60000;

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const WIDE = { width: 1280, height: 860 };
export const TABLET = { width: 768, height: 1024 };
export const PHONE = { width: 360, height: 740 };

function collect(page, complaints) {
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()))
      complaints.push(`${message.type()}: ${message.text()} (${page.url()})`);
  });
  page.on('pageerror', (problem) =>
    complaints.push(`exception: ${problem.message} (${page.url()})`),
  );
}

export async function openBrowser() {
  const folder = await mkdtemp(join(tmpdir(), 'mallard-e2e-browser.'));
  const complaints = [];
  const contexts = [];

  // One context per kind of visitor: colour scheme, size, with or without JavaScript.
  async function visitor(options = {}) {
    const home = join(folder, String(contexts.length));
    const context = await chromium.launchPersistentContext(home, {
      executablePath: '/usr/bin/chromium',
      headless: true,
      args: FLAGS,
      viewport: WIDE,
      colorScheme: 'light',
      acceptDownloads: true,
      ...options,
    });
    contexts.push(context);
    const page = context.pages()[0] || (await context.newPage());
    page.setDefaultTimeout(PATIENCE_MS);
    collect(page, complaints);
    return page;
  }
  async function close() {
    for (const context of contexts) await context.close();
    await rm(folder, { recursive: true, force: true });
  }
  return { visitor, close, complaints };
}
