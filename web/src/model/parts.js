// SPDX-License-Identifier: Apache-2.0
//
// The classes of memory that resident memory is taken apart into: their order, names, colours and
// what each means. The bar, the table, the time line and the report all draw from this one list.
//
// Colours are variables of the style sheet, after Paul Tol's "muted" scheme, which stays apart for
// people who do not see red, green or blue; nothing is told by colour alone.

export const PARTS = [
  {
    key: 'live',
    label: 'live objects',
    color: '--part-live',
    means: 'What the program allocated and has not freed. The flame graph tells who.',
  },
  {
    key: 'free_in_spans',
    label: 'free in spans',
    color: '--part-span-free',
    means:
      'Free places between live objects. They can be used again, but a page goes back only when all of it is free: fragmentation.',
  },
  {
    key: 'cpu_caches',
    label: 'free in caches',
    color: '--part-caches',
    means: 'Free objects kept at hand per CPU, so that malloc need not ask further.',
  },
  {
    key: 'free_pages',
    label: 'free pages, not returned yet',
    color: '--part-free-pages',
    means: 'Whole free pages not given back to the kernel yet. “Free OS memory” returns them.',
  },
  {
    key: 'tables',
    label: 'allocator tables',
    color: '--part-tables',
    means: 'What Mallard needs to know about the heap: spans, page map, object states.',
  },
  {
    key: 'profiler',
    label: 'profiler',
    color: '--part-profiler',
    means: 'Stacks and samples of the profiler.',
  },
  {
    key: 'stacks',
    label: 'thread stacks',
    color: '--part-stacks',
    means: 'Stacks of the program’s threads.',
  },
  {
    key: 'code_files',
    label: 'code and files',
    color: '--part-code',
    means: 'Pages of the program, its libraries and mapped files.',
  },
  {
    key: 'rest',
    label: 'the rest',
    color: '--part-rest',
    means: 'What none of the above explains: memory the program mapped itself, and rounding.',
  },
];

const BY_KEY = new Map(PARTS.map((part) => [part.key, part]));

// The server's parts with our names for what we know; what is new to the page keeps its label.
export function describeParts(parts) {
  return parts.map((part) => {
    const known = BY_KEY.get(part.key) || { label: part.label, color: '--part-rest', means: '' };
    return { ...known, ...part };
  });
}

// What the one second ring of a process knows: no threads' stacks, no files. They are in "other".
const FROM_ROW = [
  ['live', (row) => row.heap_alloc_bytes],
  ['free_in_spans', (row) => row.span_free_bytes],
  ['cpu_caches', (row) => row.cache_bytes],
  ['free_pages', (row) => row.heap_idle_bytes - row.heap_released_bytes],
  ['tables', (row) => row.tables_bytes],
  ['profiler', (row) => row.profiler_bytes],
];

const OTHER = { key: 'other', label: 'stacks, code, the rest', color: '--part-rest' };

export const TIME_LINE_PARTS = [...FROM_ROW.map(([key]) => BY_KEY.get(key)), OTHER];

const MEASURED_ONLY = ['stacks', 'code_files', 'rest'];

// Statistics do not know these: without the kernel's account a zero of theirs says nothing.
export const isUnknown = (rss, part) =>
  !rss.measured && part.bytes === 0 && MEASURED_ONLY.includes(part.key);

// What the kernel counts now as stacks, code and the rest: in rows of the past it is told from the
// allocator's reserves by that. 0 where nothing was measured.
export function otherBytesOf(rss) {
  if (!rss || !rss.measured) return 0;
  return rss.parts
    .filter((part) => MEASURED_ONLY.includes(part.key))
    .reduce((sum, part) => sum + part.bytes, 0);
}

// One row of history in the order of TIME_LINE_PARTS. A row counts what was reserved, and RSS what was
// touched: where the classes would pass what RSS leaves them beside `otherBytes`, the live objects
// stay and the others shrink alike.
export function partsOfRow(row, otherBytes = 0) {
  const rss = Math.max(0, row.rss_bytes);
  const [live, ...others] = FROM_ROW.map(([, read]) => Math.max(0, read(row) || 0));
  const touched = Math.min(live, rss);
  const room = Math.max(0, rss - touched - otherBytes);
  const wanted = others.reduce((sum, part) => sum + part, 0);
  const scale = wanted > room ? room / wanted : 1;
  return [touched, ...others.map((part) => part * scale), rss - touched - wanted * scale];
}
