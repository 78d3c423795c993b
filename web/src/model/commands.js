// SPDX-License-Identifier: Apache-2.0
//
// The commands that show in a terminal exactly what is on the screen. `origin` is where the page
// came from; a process is named as in the page's own address, so the commands also work on the dead.
import { valueOf } from './profile.js';

const quote = (text) =>
  /^[\w:/.,=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

function heapUrl(origin, id, at) {
  const stored = at && at !== 'now' ? `?at=${encodeURIComponent(at)}` : '';
  return `${origin}/p/${encodeURIComponent(id)}/debug/pprof/heap${stored}`;
}

function pprof(options, ...urls) {
  return ['go tool pprof', ...options, ...urls.map(quote)].join(' ');
}

function heapCommands({ origin, id, params }) {
  const { at, base } = params;
  const value = valueOf(params.value).name;
  const now = heapUrl(origin, id, at);
  const index = `-sample_index=${value}`;
  const commands = [
    { label: 'the heaviest functions', text: pprof([index, '-top'], now) },
    { label: 'interactive, in a browser', text: pprof([index, '-http=localhost:0'], now) },
    { label: 'download this profile', text: `curl -sS -o heap.pb.gz ${quote(now)}` },
  ];
  if (base) {
    const before = heapUrl(origin, id, base);
    commands.unshift(
      {
        label: 'this comparison, differences only',
        text: pprof([index, '-base', quote(before), '-top'], now),
      },
      {
        label: 'this comparison, in percent of the base',
        text: pprof([index, '-diff_base', quote(before), '-top'], now),
      },
    );
  }
  if (params.search) {
    commands.push({
      label: 'only stacks that match the search',
      text: pprof([index, `-focus=${quote(params.search)}`, '-top'], now),
    });
  }
  if (params.fn) {
    commands.push({
      label: 'callers and callees of the function',
      text: pprof([index, `-peek=${quote(params.fn)}`], now),
    });
  }
  return commands;
}

const api = (origin, what, id, query = '') =>
  `curl -sS ${quote(`${origin}/api/${what}?proc=${encodeURIComponent(id)}${query}`)}`;

function timeCommands({ origin, id, params }) {
  const query = ['from', 'to']
    .filter((key) => params[key])
    .map((key) => `&${key}=${params[key]}`)
    .join('');
  return [
    { label: 'the rows of the time line', text: api(origin, 'history', id, query) },
    {
      label: 'the same, as it happens',
      text: `curl -sS ${quote(`${origin}/p/${encodeURIComponent(id)}/metrics`)}`,
    },
  ];
}

const BY_VIEW = {
  processes: ({ origin }) => [
    { label: 'this list', text: `curl -sS ${quote(`${origin}/api/processes`)}` },
    { label: 'on the host itself', text: 'mallard ps -a' },
  ],
  memory: ({ origin, id }) => [
    { label: 'these numbers', text: api(origin, 'process', id) },
    { label: 'on the host itself', text: `mallard stat ${quote(id)}` },
    { label: 'one file for a colleague', text: `mallard report ${quote(id)} -o report.html` },
  ],
  timeline: timeCommands,
  heap: heapCommands,
  classes: ({ origin, id }) => [
    { label: 'the size classes, in “classes”', text: api(origin, 'process', id) },
    { label: 'the map of spans', text: api(origin, 'spans', id) },
  ],
  trace: ({ origin, id }) => [
    { label: 'these lines', text: api(origin, 'trace', id) },
    { label: 'on the host itself', text: `mallard trace ${quote(id)}` },
  ],
};

export function commandsFor(view, context) {
  const make = BY_VIEW[view];
  return make ? make(context) : [];
}
