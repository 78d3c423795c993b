// SPDX-License-Identifier: Apache-2.0
//
// A table whose columns sort. A column: {key, label, text (left-aligned, sorts upwards first),
// cell(row), title, sortable (default yes)}. The order is the caller's, so that it can be in the URL.

function nextDirection(column, sort, dir) {
  if (column.key !== sort) return column.text ? 'asc' : 'desc';
  return dir === 'asc' ? 'desc' : 'asc';
}

function Head({ column, sort, dir, onSort }) {
  const active = column.key === sort;
  const arrow = active ? (dir === 'asc' ? ' ↑' : ' ↓') : '';
  const order = active ? (dir === 'asc' ? 'ascending' : 'descending') : undefined;
  return (
    <th
      scope="col"
      class={`${column.text ? 'text' : 'number'} ${column.class || ''}`}
      aria-sort={order}
      title={column.title}
    >
      {onSort && column.sortable !== false ? (
        <button
          type="button"
          class="sort"
          onClick={() => onSort(column.key, nextDirection(column, sort, dir))}
        >
          {column.label}
          <span aria-hidden="true">{arrow}</span>
        </button>
      ) : (
        column.label
      )}
    </th>
  );
}

// Up and down move between rows, Enter opens: the rows' first link or button does the work.
function moveFocus(event) {
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  if (!step || event.target.tagName === 'INPUT') return;
  const targets = [...event.currentTarget.querySelectorAll('tbody [data-row]')];
  const at = targets.indexOf(document.activeElement);
  if (at < 0 && !event.currentTarget.contains(document.activeElement)) return;
  const target = targets[Math.min(Math.max(at + step, 0), targets.length - 1)];
  if (target) {
    target.focus();
    event.preventDefault();
  }
}

export function Table({
  columns,
  rows,
  rowKey,
  rowClass,
  sort,
  dir,
  onSort,
  caption,
  foot,
  class: extra = '',
}) {
  return (
    <div class={`table-scroll ${extra}`}>
      <table onKeyDown={moveFocus}>
        <caption class="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <Head key={column.key} column={column} sort={sort} dir={dir} onSort={onSort} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)} class={rowClass ? rowClass(row) : undefined}>
              {columns.map((column) => (
                <td
                  key={column.key}
                  class={`${column.text ? 'text' : 'number'} ${column.class || ''}`}
                  data-label={column.label}
                >
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
        {foot && <tfoot>{foot}</tfoot>}
      </table>
    </div>
  );
}
