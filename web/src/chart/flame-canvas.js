// SPDX-License-Identifier: Apache-2.0
//
// Draws a flame graph on a canvas.
//
// Why a canvas of our own: an element per frame (as d3-flame-graph makes) costs the browser seconds
// at ten thousand stacks and brings eight packages; a few thousand rectangles on a canvas take some
// milliseconds, so zooming needs no animation to hide behind. What elements would have given is given
// otherwise: keys move a visible frame, its numbers are read out as text, and the table beside holds
// the same functions.
//
// Colour. Alone, hue groups frames by file and carries no quantity; frames with fewer than ten
// samples are grey. In a comparison orange has grown and blue has shrunk (apart for every kind of
// colour blindness), the sign is in the label, and what is within the noise stays pale.
import { FEW_SAMPLES } from '../model/sampling.js';
import { formatOf, signed } from '../model/format.js';
import { hashText, nameOf } from '../model/tree.js';
import { cssColor } from '../ui/theme.js';
import { cssOf, inkOn, mix, parseHex } from './color.js';
import { layoutFlame } from './flame-layout.js';

export const ROW_PX = 19;
const FONT = '11px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace';
const PADDING_PX = 4;
const GROUPS = 6;
const CERTAIN_SIGMAS = 2;

function groupOf(name, file) {
  const hash = hashText(file || name);
  return ((hash ^ (hash >>> 15)) >>> 0) % GROUPS;
}

function paletteNow() {
  const color = (name) => parseHex(cssColor(name));
  const pair = (rgb) => ({ fill: cssOf(rgb), ink: inkOn(rgb) });
  return {
    groups: Array.from({ length: GROUPS }, (_, i) => pair(color(`--flame-${i + 1}`))),
    root: pair(color('--flame-root')),
    few: { fill: cssColor('--flame-few'), ink: cssColor('--flame-few-ink') },
    faint: { fill: cssColor('--flame-faint'), ink: cssColor('--flame-few-ink') },
    neutral: color('--diff-neutral'),
    more: color('--diff-more'),
    less: color('--diff-less'),
    sliver: cssColor('--flame-few'),
    pair,
  };
}

// Grown, shrunk or neither: a difference below two sigmas of both sides is noise.
export function changeOf(tree, node) {
  const delta = tree.value[node] - tree.base[node];
  const sure = Math.abs(delta) > CERTAIN_SIGMAS * Math.sqrt(tree.variance[node]);
  return { delta, sure, share: tree.width[node] > 0 ? delta / tree.width[node] : 0 };
}

export class FlameCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d', { alpha: false });
    this.layout = null;
  }

  // scene: {tree, table, compared, upwards, focus, marked (or null), valueName}
  draw(scene, widthPx) {
    this.scene = scene;
    this.palette = paletteNow();
    this.layout = layoutFlame(scene.tree, scene.focus, widthPx);
    this.format = formatOf(scene.valueName);
    this.resize(widthPx, this.layout.rows.length * ROW_PX);
    this.context.font = FONT;
    this.context.textBaseline = 'middle';
    this.letterPx = this.context.measureText('M').width;
    this.layout.rows.forEach((cells, row) =>
      cells.forEach((cell) => this.drawCell(cell, this.top(row))),
    );
  }

  resize(widthPx, heightPx) {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(widthPx * ratio));
    this.canvas.height = Math.max(1, Math.round(heightPx * ratio));
    this.canvas.style.height = `${heightPx}px`;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.fillStyle = cssColor('--panel');
    this.context.fillRect(0, 0, widthPx, heightPx);
  }

  top(row) {
    return (this.scene.upwards ? this.layout.rows.length - 1 - row : row) * ROW_PX;
  }

  rowAt(y) {
    const row = Math.floor(y / ROW_PX);
    return this.scene.upwards ? this.layout.rows.length - 1 - row : row;
  }

  drawCell(cell, top) {
    const { context, palette } = this;
    if (cell.node < 0) {
      context.fillStyle = palette.sliver;
      context.fillRect(cell.x, top + ROW_PX / 3, cell.width, ROW_PX / 3);
      return;
    }
    const style = this.styleOf(cell.node);
    const gap = cell.width > 3 ? 1 : 0;
    context.fillStyle = style.fill;
    context.fillRect(cell.x, top, cell.width - gap, ROW_PX - 1);
    if (this.scene.marked && this.scene.marked[cell.node]) this.markCell(cell, top, gap);
    this.drawLabel(cell, top, style);
  }

  // Matches keep their colour and are underlined; everything else fades.
  markCell(cell, top, gap) {
    this.context.fillStyle = cssColor('--mark');
    this.context.fillRect(cell.x, top + ROW_PX - 4, cell.width - gap, 3);
  }

  styleOf(node) {
    const { tree, table, compared, marked } = this.scene;
    const { palette } = this;
    if (node === 0 && !compared) return palette.root;
    if (marked && !marked[node]) return palette.faint;
    if (compared) return this.changeStyle(node);
    if (tree.samples[node] < FEW_SAMPLES) return palette.few;
    const fn = tree.fn[node];
    return palette.groups[groupOf(table.names[fn], table.files[fn])];
  }

  changeStyle(node) {
    const { palette } = this;
    const { delta, sure, share } = changeOf(this.scene.tree, node);
    const strength = delta === 0 ? 0 : sure ? 0.3 + 0.7 * Math.abs(share) : 0.14;
    return palette.pair(mix(palette.neutral, delta > 0 ? palette.more : palette.less, strength));
  }

  drawLabel(cell, top, style) {
    const room = Math.floor((cell.width - 2 * PADDING_PX) / this.letterPx);
    if (room < 3) return;
    const text = this.labelOf(cell.node);
    this.context.fillStyle = style.ink;
    this.context.fillText(
      text.length > room ? `${text.slice(0, room - 1)}…` : text,
      cell.x + PADDING_PX,
      top + ROW_PX / 2,
    );
  }

  labelOf(node) {
    const { tree, table, compared } = this.scene;
    const name = nameOf(tree, table, node);
    if (compared) return `${signed(this.format, tree.value[node] - tree.base[node])}  ${name}`;
    return node === 0 ? `${name}: ${this.format(tree.value[0])}` : name;
  }
}
