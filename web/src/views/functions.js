// SPDX-License-Identifier: Apache-2.0
//
// The table of functions, flat and cumulative. It holds everything the flame graph shows, for those
// who read tables and those who cannot see pictures.
import { useMemo, useState } from 'preact/hooks';
import { count, formatOf, percent, signed } from '../model/format.js';
import { FEW_SAMPLES } from '../model/sampling.js';
import { sortTop, topOf } from '../model/top.js';
import { CellBar } from '../ui/basics.js';
import { Table } from '../ui/table.js';

const FIRST_ROWS = 60;

function nameColumn(set) {
  return {
    key: 'name',
    label: 'function',
    text: true,
    class: 'function-name',
    cell: (row) => (
      <>
        <button
          type="button"
          class="link mono"
          data-row
          title={`callers and callees of ${row.name}`}
          onClick={() => set({ mode: 'sandwich', fn: row.name })}
        >
          {row.name}
        </button>
        <span class="file mono">
          {row.file}
          {row.file && row.line ? `:${row.line}` : ''}
        </span>
      </>
    ),
  };
}

const samplesColumn = {
  key: 'samples',
  label: 'samples',
  title: 'live samples behind cum',
  cell: (row) => (
    <span
      class={row.samples < FEW_SAMPLES ? 'few' : ''}
      title={row.samples < FEW_SAMPLES ? 'too few to rely on' : undefined}
    >
      {count(row.samples)}
    </span>
  ),
};

function plainColumns(top, format, set) {
  return [
    {
      key: 'flat',
      label: 'flat',
      title: 'allocated in the function itself',
      cell: (row) => (
        <span class="with-bar">
          {format(row.flat)}
          <CellBar share={row.flat / top.total} />
        </span>
      ),
    },
    {
      key: 'flat-share',
      label: 'flat %',
      sortable: false,
      class: 'share',
      cell: (row) => percent(row.flat, top.total),
    },
    {
      key: 'cum',
      label: 'cum',
      title: 'allocated in it and in what it called',
      cell: (row) => (
        <span class="with-bar">
          {format(row.cum)}
          <CellBar share={row.cum / top.total} />
        </span>
      ),
    },
    {
      key: 'cum-share',
      label: 'cum %',
      sortable: false,
      class: 'share',
      cell: (row) => percent(row.cum, top.total),
    },
    {
      key: 'sigma',
      label: '± 1σ',
      title: 'how far the sampled cum may be off',
      cell: (row) => format(row.sigma),
    },
    samplesColumn,
    nameColumn(set),
  ];
}

function changeColumns(format, set) {
  const change = (key) => (row) => (
    <span class={Math.abs(row[key]) <= 2 * row.sigma ? 'few' : row[key] > 0 ? 'grew' : 'shrank'}>
      {signed(format, row[key])}
    </span>
  );
  return [
    { key: 'flatDelta', label: 'flat change', class: 'roomy', cell: change('flatDelta') },
    { key: 'cumDelta', label: 'cum change', cell: change('cumDelta') },
    { key: 'cum', label: 'cum now', cell: (row) => format(row.cum) },
    {
      key: 'sigma',
      label: '± 1σ',
      title: 'at most; what both profiles share is more certain',
      cell: (row) => format(row.sigma),
    },
    samplesColumn,
    nameColumn(set),
  ];
}

export function FunctionTable({ heap, params, set, matches, limit = FIRST_ROWS }) {
  const [all, setAll] = useState(false);
  const format = formatOf(heap.valueName);
  const top = useMemo(() => topOf(heap), [heap]);
  const usual = heap.compared ? 'cumDelta' : 'flat';
  const columns = heap.compared ? changeColumns(format, set) : plainColumns(top, format, set);
  const sort = columns.some((column) => column.key === params.sort) ? params.sort : usual;
  const rows = useMemo(
    () =>
      sortTop(
        matches ? top.rows.filter((row) => matches[row.fn]) : top.rows,
        sort,
        params.dir === 'asc',
      ),
    [top, matches, sort, params.dir],
  );
  const shown = all ? rows : rows.slice(0, limit);
  return (
    <>
      <Table
        class="functions"
        columns={columns}
        rows={shown}
        rowKey={(row) => row.fn}
        sort={sort}
        dir={params.dir || 'desc'}
        onSort={(key, dir) => set({ sort: key, dir })}
        caption="Functions by what they allocated"
      />
      {rows.length === 0 && <p class="muted">No function matches the search.</p>}
      {rows.length > shown.length && (
        <p>
          <button type="button" onClick={() => setAll(true)}>
            show all {count(rows.length)} functions
          </button>
        </p>
      )}
    </>
  );
}
