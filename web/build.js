// SPDX-License-Identifier: Apache-2.0
//
// Builds the page: node build.js [FOLDER]   (or OUT=FOLDER; default ../build/web/dist)
//
//   app-HASH.js, app-HASH.css   what the server's shell names; the hash is of the content, so they
//                               may be cached for ever
//   manifest.json               {"app.js":"app-HASH.js","app.css":"app-HASH.css"}
//   report.html                 one file with everything in it; `mallard report` puts the data at
//                               the word MALLARD_DATA
//
// Prints what each costs compressed and fails when the sum passes LIMIT_BYTES: the page is embedded
// in a binary that people install on small machines.
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const LIMIT_BYTES = 300 * 1024;
const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] || process.env.OUT || join(here, '..', 'build', 'web', 'dist');

const NOTICE =
  '/*! Mallard, Apache-2.0. Contains Preact (MIT, Copyright (c) 2015-present Jason Miller) and ' +
  'uPlot (MIT, Copyright (c) Leon Sorokin). */';

async function bundle(entry) {
  const result = await build({
    entryPoints: [join(here, 'src', entry)],
    outdir: out,
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: ['es2020'],
    charset: 'utf8',
    loader: { '.js': 'jsx' },
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    banner: { js: NOTICE, css: NOTICE },
    logLevel: 'warning',
  });
  const text = (end) => result.outputFiles.find((file) => file.path.endsWith(end)).text;
  return { js: text('.js'), css: text('.css') };
}

const hashed = (name, end, text) =>
  `${name}-${createHash('sha256').update(text).digest('hex').slice(0, 10)}.${end}`;

// "$" in the code must not be taken for a pattern, so replacements are functions.
async function reportPage() {
  const { js, css } = await bundle('report.js');
  const shell = await readFile(join(here, 'src', 'report.html'), 'utf8');
  return shell
    .replace('/* CSS */', () => css.replaceAll('</', '<\\/'))
    .replace('/* JS */', () => js.replaceAll('</script', '<\\/script'));
}

// Files of earlier builds would be embedded too.
async function emptyFolder() {
  await mkdir(out, { recursive: true });
  for (const name of await readdir(out)) {
    if (/^(app-[0-9a-f]+\.(js|css)|manifest\.json|report\.html)$/.test(name)) {
      await rm(join(out, name));
    }
  }
}

const app = await bundle('main.js');
const names = { 'app.js': hashed('app', 'js', app.js), 'app.css': hashed('app', 'css', app.css) };
const files = {
  [names['app.js']]: app.js,
  [names['app.css']]: app.css,
  'manifest.json': JSON.stringify(names, null, 2) + '\n',
  'report.html': await reportPage(),
};

await emptyFolder();
let total = 0;
for (const [name, text] of Object.entries(files)) {
  await writeFile(join(out, name), text);
  const compressed = gzipSync(text, { level: 9 }).length;
  total += compressed;
  console.log(`${name}: ${text.length} bytes, ${compressed} compressed`);
}
console.log(`total: ${total} of ${LIMIT_BYTES} bytes compressed`);
if (total > LIMIT_BYTES) {
  console.error(`web: the page is ${total} bytes compressed, ${LIMIT_BYTES} are allowed`);
  process.exit(1);
}
