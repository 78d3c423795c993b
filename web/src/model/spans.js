// SPDX-License-Identifier: Apache-2.0
//
// The map of spans: cells to draw, and who pins what.
//
// A span is pinned when few live objects keep all of its pages from going back. Each span names the
// stack of one sampled object in it (`pin`), so the free bytes behind a call site can be summed:
// "free these, and so much comes back".

export const ORDERS = [
  { key: 'address', label: 'address' },
  { key: 'class', label: 'size class' },
  { key: 'occupancy', label: 'occupancy' },
];

// The server's rows as objects; free is what the span holds that no live object uses.
export function spansOf(map) {
  return map.spans.map(([page, pages, cls, live, capacity, pin]) => {
    const bytes = pages * map.page_bytes;
    const occupancy = capacity > 0 ? Math.min(1, live / capacity) : 1;
    return {
      page,
      pages,
      cls,
      live,
      capacity,
      pin,
      bytes,
      occupancy,
      free: bytes * (1 - occupancy),
    };
  });
}

const SORTS = {
  address: (a, b) => a.page - b.page,
  class: (a, b) => a.cls - b.cls || a.occupancy - b.occupancy || a.page - b.page,
  occupancy: (a, b) => a.occupancy - b.occupancy || b.bytes - a.bytes || a.page - b.page,
};

export const sortSpans = (spans, order) => [...spans].sort(SORTS[order] || SORTS.address);

const SMALLEST_CELL = 5;
const LARGEST_CELL = 18;

// {size, columns, perCell}: as large as fits; several spans share a cell once cells would be dots.
export function layoutCells(count, width, height) {
  if (count === 0 || width < 1) return { size: LARGEST_CELL, columns: 1, perCell: 1, cells: 0 };
  for (let size = LARGEST_CELL; size >= SMALLEST_CELL; size--) {
    const columns = Math.max(1, Math.floor(width / size));
    if (Math.ceil(count / columns) * size <= height)
      return { size, columns, perCell: 1, cells: count };
  }
  const columns = Math.max(1, Math.floor(width / SMALLEST_CELL));
  const rows = Math.max(1, Math.floor(height / SMALLEST_CELL));
  const perCell = Math.ceil(count / (columns * rows));
  return { size: SMALLEST_CELL, columns, perCell, cells: Math.ceil(count / perCell) };
}

// Bytes decide: a cell of one full and one empty page is half full.
export function cellOf(spans, cell, perCell) {
  const members = spans.slice(cell * perCell, (cell + 1) * perCell);
  const bytes = members.reduce((sum, span) => sum + span.bytes, 0);
  const free = members.reduce((sum, span) => sum + span.free, 0);
  return { members, bytes, free, occupancy: bytes > 0 ? 1 - free / bytes : 1 };
}

export function stackNames(pins, pin) {
  if (pin < 0 || !pins.stacks[pin]) return [];
  return pins.stacks[pin].map((frame) => {
    const [fn, line] = pins.frames[frame];
    const [name, file] = pins.functions[fn];
    return { name: name || '?', file: file || '', line };
  });
}

// The call sites behind the most free bytes: [{pin, spans, free, bytes}], most first.
export function pinners(spans) {
  const sites = new Map();
  for (const span of spans) {
    if (span.pin < 0 || span.occupancy >= 1) continue;
    const site = sites.get(span.pin) || { pin: span.pin, spans: 0, free: 0, bytes: 0 };
    site.spans++;
    site.free += span.free;
    site.bytes += span.bytes;
    sites.set(span.pin, site);
  }
  return [...sites.values()].sort((a, b) => b.free - a.free);
}
