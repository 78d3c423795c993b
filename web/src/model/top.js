// SPDX-License-Identifier: Apache-2.0
//
// The table of functions: flat is what was allocated in the function itself, cum what was allocated
// in it or in anything it called. A function that recurses counts once per stack.

const KEYS = ['flat', 'cum', 'flatBase', 'cumBase', 'variance', 'samples'];

function emptyTable(length) {
  const table = { length };
  for (const key of KEYS) table[key] = new Float64Array(length);
  return table;
}

function addCumulative(table, heap, row, seen) {
  for (const fn of heap.stacks[row]) {
    if (seen[fn] === row + 1) continue;
    seen[fn] = row + 1;
    table.cum[fn] += heap.value[row];
    table.cumBase[fn] += heap.base[row];
    table.variance[fn] += heap.variance[row];
    table.samples[fn] += heap.samples[row];
  }
}

function totals(heap) {
  const functions = emptyTable(heap.table.names.length);
  const seen = new Uint32Array(functions.length);
  for (let row = 0; row < heap.stacks.length; row++) {
    const stack = heap.stacks[row];
    if (stack.length === 0) continue;
    functions.flat[stack[0]] += heap.value[row];
    functions.flatBase[stack[0]] += heap.base[row];
    addCumulative(functions, heap, row, seen);
  }
  return functions;
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

// {total, totalBase, rows: [{fn, name, file, line, flat, cum, flatDelta, cumDelta, sigma, samples}]}
export function topOf(heap) {
  const functions = totals(heap);
  const rows = [];
  for (let fn = 0; fn < functions.length; fn++) {
    if (functions.cum[fn] === 0 && functions.cumBase[fn] === 0) continue;
    rows.push({
      fn,
      name: heap.table.names[fn],
      file: heap.table.files[fn],
      line: heap.table.lines[fn],
      flat: functions.flat[fn],
      cum: functions.cum[fn],
      flatDelta: functions.flat[fn] - functions.flatBase[fn],
      cumDelta: functions.cum[fn] - functions.cumBase[fn],
      sigma: Math.sqrt(functions.variance[fn]),
      samples: functions.samples[fn],
    });
  }
  return { total: sum(heap.value), totalBase: sum(heap.base), rows };
}

// Numbers largest first by size, so that in a comparison shrinking is as near the top as growing.
export function sortTop(rows, key, ascending) {
  const sign = ascending ? 1 : -1;
  const order =
    key === 'name'
      ? (a, b) => sign * a.name.localeCompare(b.name)
      : (a, b) => sign * (Math.abs(a[key]) - Math.abs(b[key]));
  return [...rows].sort((a, b) => order(a, b) || b.cum - a.cum || a.fn - b.fn);
}
