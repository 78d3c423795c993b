// SPDX-License-Identifier: Apache-2.0
//
// Size classes: where the places between live objects are, and which call sites pin them.
import { useMemo } from 'preact/hooks';
import { usePage } from '../data/page.js';
import { bytes, count, percent } from '../model/format.js';
import { withParams } from '../model/route.js';
import { CellBar, Empty } from '../ui/basics.js';
import { Table } from '../ui/table.js';
import { Spans } from './spans.js';

const sum = (rows, key) => rows.reduce((total, row) => total + row[key], 0);
const fullness = (row) => (row.total_bytes > 0 ? row.live_bytes / row.total_bytes : 0);

// A span's bytes are live, free or cut off; classes that hold nothing are left out.
function filled(classes) {
  return classes
    .map((row) => ({ ...row, total_bytes: row.live_bytes + row.free_bytes + row.waste_bytes }))
    .filter((row) => row.total_bytes > 0);
}

function columnsFor(rows) {
  const largest = Math.max(1, ...rows.map((row) => row.total_bytes));
  return [
    {
      key: 'size_bytes',
      label: 'object size',
      cell: (row) => (row.size_bytes ? bytes(row.size_bytes) : 'larger objects'),
    },
    {
      key: 'total_bytes',
      label: 'in spans',
      cell: (row) => (
        <span class="with-bar">
          {bytes(row.total_bytes)}
          <CellBar
            share={row.live_bytes / largest}
            under={row.total_bytes / largest}
            color="--part-live"
          />
        </span>
      ),
    },
    { key: 'live_bytes', label: 'live', cell: (row) => bytes(row.live_bytes) },
    { key: 'live_objects', label: 'live objects', cell: (row) => count(row.live_objects) },
    { key: 'free_bytes', label: 'free', cell: (row) => bytes(row.free_bytes) },
    { key: 'free_objects', label: 'free objects', cell: (row) => count(row.free_objects) },
    { key: 'spans', label: 'spans', cell: (row) => count(row.spans) },
    {
      key: 'fullness',
      label: 'live share',
      cell: (row) => (
        <span class={fullness(row) < 0.5 ? 'grew' : ''}>
          {percent(row.live_bytes, row.total_bytes)}
        </span>
      ),
    },
    {
      key: 'waste_bytes',
      label: 'cached, cut off',
      title: 'objects in per-CPU caches, and the ends of spans where no object fits',
      cell: (row) => bytes(row.waste_bytes),
    },
  ];
}

function sorted(rows, key, dir) {
  const sign = dir === 'asc' ? 1 : -1;
  const read = key === 'fullness' ? fullness : (row) => row[key];
  return [...rows].sort((a, b) => sign * (read(a) - read(b)) || a.size_bytes - b.size_bytes);
}

function Foot({ rows }) {
  const total = Object.fromEntries(
    [
      'total_bytes',
      'live_bytes',
      'live_objects',
      'free_bytes',
      'free_objects',
      'spans',
      'waste_bytes',
    ].map((key) => [key, sum(rows, key)]),
  );
  return (
    <tr>
      <th scope="row" class="number">
        all
      </th>
      <td class="number">{bytes(total.total_bytes)}</td>
      <td class="number">{bytes(total.live_bytes)}</td>
      <td class="number">{count(total.live_objects)}</td>
      <td class="number">{bytes(total.free_bytes)}</td>
      <td class="number">{count(total.free_objects)}</td>
      <td class="number">{count(total.spans)}</td>
      <td class="number">{percent(total.live_bytes, total.total_bytes)}</td>
      <td class="number">{bytes(total.waste_bytes)}</td>
    </tr>
  );
}

export function ClassesView({ process }) {
  const { route, go } = usePage();
  const rows = useMemo(() => filled(process.classes || []), [process.classes]);
  const sort = route.params.sort || 'total_bytes';
  const dir = route.params.dir || 'desc';
  const shown = useMemo(() => sorted(rows, sort, dir), [rows, sort, dir]);
  return (
    <section aria-label="size classes">
      <Spans process={process} />
      <h2>Size classes</h2>
      {rows.length === 0 ? (
        <Empty title="No span is in use.">
          <p>The process has allocated nothing yet, or its numbers were lost with it.</p>
        </Empty>
      ) : (
        <Table
          class="classes"
          columns={columnsFor(rows)}
          rows={shown}
          rowKey={(row) => row.size_bytes}
          sort={sort}
          dir={dir}
          onSort={(key, direction) => go(withParams(route, { sort: key, dir: direction }))}
          caption="Size classes"
          foot={<Foot rows={rows} />}
        />
      )}
    </section>
  );
}
