// SPDX-License-Identifier: Apache-2.0
//
// The list of processes: which are shown, in which order, and how a death reads.

export const COLUMNS = [
  { key: 'name', label: 'process', text: true },
  { key: 'pid', label: 'pid' },
  { key: 'rss_bytes', label: 'RSS' },
  { key: 'live_bytes', label: 'live heap' },
  { key: 'growth_bytes_per_hour', label: 'growth / h' },
  { key: 'started_unix_ns', label: 'up' },
  { key: 'state', label: 'state', text: true },
];

const HAYSTACK = ['name', 'cmdline', 'exe', 'id', 'user', 'unit', 'container', 'pod'];

function stateOf(process) {
  if (process.alive) return 'running';
  return process.death ? process.death.sentence || process.death.kind : 'ended, nobody saw how';
}

// Every word must be somewhere: "redis oom" finds the redis that was killed for memory.
function matches(process, words) {
  const text =
    `${HAYSTACK.map((key) => process[key] ?? '').join(' ')} ${stateOf(process)}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function keyOf(process, key) {
  if (key === 'state') return stateOf(process);
  return process[key];
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return typeof a === 'string' ? a.localeCompare(b) : a - b;
}

export function select(processes, { filter = '', show = 'all', sort = 'rss_bytes', dir = 'desc' }) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const sign = dir === 'asc' ? 1 : -1;
  return processes
    .filter((process) => show === 'all' || process.alive === (show === 'alive'))
    .filter((process) => matches(process, words))
    .sort((a, b) => sign * compare(keyOf(a, sort), keyOf(b, sort)) || a.pid - b.pid);
}
