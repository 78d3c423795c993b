// SPDX-License-Identifier: Apache-2.0
//
// The map of spans on a canvas: one cell a span (or several, when there are more spans than room),
// coloured by how much of it is live. The scale is cividis, which reads the same with and without
// colour vision: dark is empty, bright is full.
//
// Keys: arrows move by a cell and a row, Home and End to the first and last.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { layoutCells } from '../model/spans.js';
import { cssColor } from '../ui/theme.js';
import { useWidth } from '../ui/width.js';
import { cssOf, scaleOf } from './color.js';

const CIVIDIS = ['#00224e', '#2a3f6d', '#575d6d', '#7d7c78', '#a59c74', '#d2c060', '#fee838'];
const STEPS = 32;
const scale = scaleOf(CIVIDIS);
const COLORS = Array.from({ length: STEPS + 1 }, (_, i) => cssOf(scale(i / STEPS)));
const HEIGHT_PX = 420;

export const occupancyColor = (share) =>
  COLORS[Math.round(Math.max(0, Math.min(1, share)) * STEPS)];

function draw(canvas, cells, layout, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.height = `${height}px`;
  const context = canvas.getContext('2d', { alpha: false });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = cssColor('--panel');
  context.fillRect(0, 0, width, height);
  const side = layout.size - 1;
  for (let cell = 0; cell < layout.cells; cell++) {
    context.fillStyle = occupancyColor(cells[cell]);
    context.fillRect(
      (cell % layout.columns) * layout.size,
      Math.floor(cell / layout.columns) * layout.size,
      side,
      side,
    );
  }
}

// Occupancy per cell, by bytes.
function occupancies(spans, layout) {
  const cells = new Float64Array(layout.cells);
  for (let cell = 0; cell < layout.cells; cell++) {
    let bytes = 0;
    let free = 0;
    const end = Math.min(spans.length, (cell + 1) * layout.perCell);
    for (let i = cell * layout.perCell; i < end; i++) {
      bytes += spans[i].bytes;
      free += spans[i].free;
    }
    cells[cell] = bytes > 0 ? 1 - free / bytes : 1;
  }
  return cells;
}

// `onCell(cell, perCell)` tells which cell is pointed at or focused, -1 none.
export function SpanMap({ spans, theme, label, describe, onLayout, onCell }) {
  const host = useRef(null);
  const canvas = useRef(null);
  const width = useWidth(host);
  const [cell, setCell] = useState(-1);
  const layout = useMemo(() => layoutCells(spans.length, width, HEIGHT_PX), [spans.length, width]);
  const height = Math.max(1, Math.ceil(layout.cells / layout.columns)) * layout.size;
  useLayoutEffect(() => {
    if (width > 0) draw(canvas.current, occupancies(spans, layout), layout, width, height);
  }, [spans, layout, width, theme]);
  useEffect(() => onLayout(layout), [layout]);

  const point = (next) => {
    if (next === cell) return;
    setCell(next);
    onCell(next, layout.perCell);
  };
  const move = (event) => {
    const box = canvas.current.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / layout.size);
    const at = Math.floor((event.clientY - box.top) / layout.size) * layout.columns + column;
    point(column < layout.columns && at < layout.cells ? at : -1);
  };
  const keys = (event) => {
    const step = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -layout.columns,
      ArrowDown: layout.columns,
      Home: -Infinity,
      End: Infinity,
    }[event.key];
    if (!step) return;
    point(Math.min(Math.max((cell < 0 ? 0 : cell) + step, 0), layout.cells - 1));
    event.preventDefault();
  };
  const style = cell >= 0 && {
    left: `${(cell % layout.columns) * layout.size - 1}px`,
    top: `${Math.floor(cell / layout.columns) * layout.size - 1}px`,
    width: `${layout.size + 1}px`,
    height: `${layout.size + 1}px`,
  };
  return (
    <div
      class="spanmap"
      ref={host}
      tabIndex={0}
      role="application"
      aria-label={label}
      onKeyDown={keys}
      onMouseMove={move}
      onFocus={() => cell < 0 && host.current.matches(':focus-visible') && point(0)}
    >
      <canvas ref={canvas} />
      {cell >= 0 && <span class="spanmap-outline" style={style} />}
      <span class="visually-hidden" role="status">
        {cell >= 0 ? describe(cell, layout.perCell) : ''}
      </span>
    </div>
  );
}
