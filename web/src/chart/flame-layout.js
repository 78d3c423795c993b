// SPDX-License-Identifier: Apache-2.0
//
// Where the frames of a flame graph are: pure geometry, no canvas.
//
// Only what is wide enough to be seen is visited, so the cost depends on the picture's width and not
// on the number of stacks. Children that are too narrow to draw are drawn together as one sliver, so
// that a gap always means "allocated in the frame itself".
import { childrenOf, pathTo } from '../model/tree.js';

const NARROWEST_PX = 0.8;
const NO_NODE = -1;

// {rows: [[{x, width, node}]]}: row 0 is the root. The focused frame and all above it fill the width.
export function layoutFlame(tree, focus, widthPx) {
  const rows = [[{ x: 0, width: widthPx, node: 0 }]];
  for (const node of pathTo(tree, focus)) rows.push([{ x: 0, width: widthPx, node }]);
  if (tree.width[focus] > 0) layoutBelow(tree, rows, widthPx / tree.width[focus]);
  return { rows, widthPx };
}

function layoutBelow(tree, rows, scale) {
  for (let row = rows.length; ; row++) {
    const cells = [];
    for (const cell of rows[row - 1])
      if (cell.node !== NO_NODE) placeChildren(tree, cell, scale, cells);
    if (cells.length === 0) return;
    rows.push(cells);
  }
}

function placeChildren(tree, cell, scale, cells) {
  let x = cell.x;
  let left = 0;
  for (let child = tree.first[cell.node]; child >= 0; child = tree.next[child])
    left += tree.width[child];
  for (const child of childrenOf(tree, cell.node, NARROWEST_PX / scale)) {
    const width = tree.width[child] * scale;
    cells.push({ x, width, node: child });
    x += width;
    left -= tree.width[child];
  }
  if (left * scale >= NARROWEST_PX) cells.push({ x, width: left * scale, node: NO_NODE });
}

// The frame under a point, or null.
export function cellAt(layout, row, x) {
  const cells = layout.rows[row];
  if (!cells) return null;
  let low = 0;
  let high = cells.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const cell = cells[middle];
    if (x < cell.x) high = middle - 1;
    else if (x >= cell.x + cell.width) low = middle + 1;
    else return cell;
  }
  return null;
}

export function placeOf(layout, node) {
  for (let row = 0; row < layout.rows.length; row++) {
    const cell = layout.rows[row].find((candidate) => candidate.node === node);
    if (cell) return { row, cell };
  }
  return null;
}

// Where an arrow key leads: along the drawn frames of a row, to the parent, to the widest child.
export function neighbour(layout, tree, node, direction) {
  const place = placeOf(layout, node);
  if (!place) return 0;
  if (direction === 'parent') return node === 0 ? 0 : tree.parent[node];
  if (direction === 'child') {
    const below = layout.rows[place.row + 1];
    const child = below && below.find((cell) => cell.node > 0 && tree.parent[cell.node] === node);
    return child ? child.node : node;
  }
  const row = layout.rows[place.row].filter((cell) => cell.node >= 0);
  const at = row.indexOf(place.cell) + (direction === 'next' ? 1 : -1);
  return row[Math.min(Math.max(at, 0), row.length - 1)].node;
}
