// SPDX-License-Identifier: Apache-2.0
//
// Serves the built page over the fixtures, with the headers of the real server: node test/serve.js
// [PORT]. Prints its address. Used by people while they build the page and by tests that need data
// no real process gives within seconds.
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import * as fixtures from './fixtures.js';

const dist = process.env.OUT || fileURLToPath(new URL('../../build/web/dist', import.meta.url));

const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const TYPES = {
  js: 'text/javascript',
  css: 'text/css',
  html: 'text/html; charset=utf-8',
  json: 'application/json',
};

const API = {
  processes: (now) => fixtures.processesDocument(now),
  process: (now, query) => fixtures.processDocument(now, query.get('proc')),
  history: (now, query) =>
    fixtures.historyDocument(now, query.get('proc'), {
      from: Number(query.get('from')),
      to: Number(query.get('to')),
      points: Number(query.get('points')) || 2000,
    }),
  profile: (now, query) => fixtures.profileDocument(now, query.get('proc'), query.get('at')),
  spans: (now, query) => fixtures.spansDocument(now, query.get('proc')),
  trace: (now, query) => fixtures.traceDocument(now, query.get('proc'), query.get('cursor') || 0),
};

const KNOBS = {
  gc: { gc_cycles_total: 3 },
  'free-os-memory': { returned_bytes: 12582912 },
  rate: { previous: 524288 },
};

async function shell() {
  const names = JSON.parse(await readFile(join(dist, 'manifest.json'), 'utf8'));
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Mallard</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/assets/${names['app.css']}"><script type="module" src="/assets/${names['app.js']}"></script>
</head><body><main><h1>Mallard</h1><table><tr><th>process</th></tr><tr><td>plain table</td></tr></table></main></body></html>`;
}

function send(response, status, type, body) {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Security-Policy': CSP,
    'Content-Encoding': 'gzip',
  });
  response.end(gzipSync(body, { level: 1 }));
}

const sendJson = (response, status, document) =>
  send(response, status, TYPES.json, JSON.stringify(document));

function api(response, name, query) {
  const make = API[name];
  const document = make ? make(Date.now() / 1000, query) : null;
  if (document === null)
    sendJson(response, 404, { error: `no process ${query.get('proc') || ''} here` });
  else sendJson(response, 200, document);
}

async function answer(request, response) {
  const url = new URL(request.url, 'http://localhost');
  const [, first, second] = url.pathname.split('/');
  const knob = /^\/p\/[^/]+\/debug\/mallard\/([a-z-]+)$/.exec(url.pathname);
  if (url.pathname === '/') return send(response, 200, TYPES.html, await shell());
  if (first === 'api') return api(response, second, url.searchParams);
  if (knob && request.method === 'POST' && KNOBS[knob[1]])
    return sendJson(response, 200, KNOBS[knob[1]]);
  if (first === 'assets' && /^app-[0-9a-f]+\.(js|css)$/.test(second)) {
    response.writeHead(200, { 'Content-Type': TYPES[second.split('.').pop()] });
    return createReadStream(join(dist, second)).pipe(response);
  }
  return sendJson(response, 404, { error: 'not here' });
}

export function serve(port = 0) {
  const server = createServer((request, response) => {
    answer(request, response).catch((problem) =>
      sendJson(response, 500, { error: String(problem.message) }),
    );
  });
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () =>
      resolve({ server, url: `http://127.0.0.1:${server.address().port}` }),
    );
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve(Number(process.argv[2]) || 0);
  console.log(url);
}
