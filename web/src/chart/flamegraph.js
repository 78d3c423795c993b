// SPDX-License-Identifier: Apache-2.0
//
// The flame graph as a part of the page: the canvas, the outlines of the frame under the pointer and
// of the frame the keys are on, and what keys and clicks do.
//
//   arrows   move: to the caller, to the widest callee, to the neighbours as drawn
//   Enter    zoom in on the frame;   Escape, Backspace  zoom out by one;   Home  all
//   s        the function's callers and callees
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { useWidth } from '../ui/width.js';
import { FlameCanvas, ROW_PX } from './flame-canvas.js';
import { cellAt, neighbour, placeOf } from './flame-layout.js';

// When it was drawn last, for those who measure.
const DRAWN = 'mallard:flame-drawn';

const DOWNWARDS = {
  ArrowUp: 'parent',
  ArrowDown: 'child',
  ArrowLeft: 'previous',
  ArrowRight: 'next',
};
const UPWARDS = { ...DOWNWARDS, ArrowUp: 'child', ArrowDown: 'parent' };

function Outline({ canvas, node, kind }) {
  const place = canvas && canvas.layout && node >= 0 ? placeOf(canvas.layout, node) : null;
  if (!place) return null;
  const style = {
    left: `${place.cell.x}px`,
    top: `${canvas.top(place.row)}px`,
    width: `${Math.max(3, place.cell.width)}px`,
    height: `${ROW_PX}px`,
  };
  return <span class={`flame-outline ${kind}`} style={style} />;
}

// `onDetail(node)` tells whose numbers to show, -1 nobody's; `onZoom(node)`; `onSandwich(node)`.
export function FlameGraph({ scene, theme, label, describe, onDetail, onZoom, onSandwich }) {
  const host = useRef(null);
  const element = useRef(null);
  const canvas = useRef(null);
  const width = useWidth(host);
  const [hovered, setHovered] = useState(-1);
  const [selected, setSelected] = useState(-1);
  const [, redrawn] = useState(0);

  useLayoutEffect(() => {
    if (width === 0) return;
    canvas.current = canvas.current || new FlameCanvas(element.current);
    canvas.current.draw(scene, width);
    performance.clearMarks(DRAWN);
    performance.mark(DRAWN);
    redrawn((n) => n + 1);
  }, [scene, width, theme]);
  useEffect(() => {
    setHovered(-1);
    setSelected(-1);
  }, [scene.tree]);

  const nodeAt = (event) => {
    const box = element.current.getBoundingClientRect();
    const cell = cellAt(
      canvas.current.layout,
      canvas.current.rowAt(event.clientY - box.top),
      event.clientX - box.left,
    );
    return cell ? cell.node : -1;
  };
  const hover = (node) => {
    if (node === hovered) return;
    setHovered(node);
    onDetail(node >= 0 ? node : selected);
  };
  const select = (node) => {
    setSelected(node);
    onDetail(node);
  };
  const click = (event) => {
    const node = nodeAt(event);
    if (node < 0) return;
    select(node);
    onZoom(node);
  };
  const keys = (event) => {
    const { tree, focus, upwards } = scene;
    const current = selected >= 0 ? selected : focus;
    const direction = (upwards ? UPWARDS : DOWNWARDS)[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (direction) select(neighbour(canvas.current.layout, tree, current, direction));
    else if (event.key === 'Enter' || event.key === ' ') onZoom(current);
    else if (event.key === 'Escape' || event.key === 'Backspace')
      onZoom(Math.max(0, tree.parent[focus]));
    else if (event.key === 'Home') onZoom(0);
    else if (event.key === 's' && current > 0) onSandwich(current);
    else return;
    event.preventDefault();
  };

  return (
    <div
      class="flame"
      ref={host}
      tabIndex={0}
      role="application"
      aria-label={label}
      aria-describedby="flame-keys"
      onKeyDown={keys}
      onMouseLeave={() => hover(-1)}
      onFocus={() => selected < 0 && host.current.matches(':focus-visible') && select(scene.focus)}
    >
      <canvas ref={element} onMouseMove={(event) => hover(nodeAt(event))} onClick={click} />
      <Outline canvas={canvas.current} node={selected} kind="selected" />
      <Outline canvas={canvas.current} node={hovered} kind="hovered" />
      <span class="visually-hidden" role="status">
        {selected >= 0 ? describe(selected) : ''}
      </span>
    </div>
  );
}
