// SPDX-License-Identifier: Apache-2.0
//
// The stacked time line, drawn by uPlot: classes of memory on top of each other up to RSS, events as
// marks, stored profiles as ticks below.
//
// uPlot draws each class from zero to its stacked top, the highest first, so that the lower ones
// cover it: no band has to be computed. Marks that would lie on top of each other are one mark.
// Events differ by shape (a triangle upwards for gc, downwards for scav), not only by colour.
import uPlot from 'uplot';
import { bytes, clock } from '../model/format.js';
import { TIME_LINE_PARTS } from '../model/parts.js';
import { stack } from '../model/history.js';
import { cssColor } from '../ui/theme.js';

const MARK_PX = 7;
// Whole seconds at least: labels have no fractions.
const TIME_STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
  604800,
];
const BINARY_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);
const FONT = '11px system-ui, sans-serif';

const pad = (value) => String(value).padStart(2, '0');

function timeLabel(seconds, step) {
  const t = new Date(seconds * 1000);
  if (step >= 86400) return `${pad(t.getMonth() + 1)}-${pad(t.getDate())}`;
  const minutes = `${pad(t.getHours())}:${pad(t.getMinutes())}`;
  return step >= 60 ? minutes : clock(seconds);
}

// Highest first, see above; RSS itself is a line over all.
function dataOf(series) {
  return [series.times, ...stack(series.parts).reverse(), series.rss];
}

function seriesOptions() {
  const parts = [...TIME_LINE_PARTS].reverse().map((part) => ({
    label: part.label,
    fill: cssColor(part.color),
    stroke: cssColor('--panel'),
    width: 0.75,
    points: { show: false },
  }));
  const rss = { label: 'RSS', stroke: cssColor('--ink'), width: 1.25, points: { show: false } };
  return [{}, ...parts, rss];
}

function axes() {
  const common = {
    stroke: cssColor('--muted'),
    font: FONT,
    grid: { stroke: cssColor('--grid'), width: 1 },
    ticks: { stroke: cssColor('--grid'), width: 1, size: 5 },
  };
  return [
    {
      ...common,
      space: 70,
      size: 30,
      incrs: TIME_STEPS,
      values: (u, splits, axis, space, step) => splits.map((s) => timeLabel(s, step)),
    },
    {
      ...common,
      space: 36,
      size: 70,
      incrs: BINARY_STEPS,
      values: (u, splits) => splits.map((s) => (s === null ? '' : bytes(s))),
    },
  ];
}

// One mark per place and kind.
function marksOf(plot, events) {
  const marks = new Map();
  for (const event of events) {
    const seconds = event.unix_ns / 1e9;
    if (seconds < plot.scales.x.min || seconds > plot.scales.x.max) continue;
    const slot = Math.round(plot.valToPos(seconds, 'x') / MARK_PX);
    const key = `${slot}${event.kind}`;
    const mark = marks.get(key);
    if (mark) mark.events.push(event);
    else marks.set(key, { kind: event.kind, seconds, events: [event] });
  }
  return [...marks.values()];
}

function drawMark(context, x, bottom, mark, ratio) {
  const size = (MARK_PX * ratio) / 2;
  const up = mark.kind === 'gc';
  const tip = up ? bottom - 2 * size - 2 : bottom - 2;
  const foot = up ? bottom - 2 : bottom - 2 * size - 2;
  context.beginPath();
  context.moveTo(x, tip);
  context.lineTo(x - size, foot);
  context.lineTo(x + size, foot);
  context.closePath();
  context.fillStyle = cssColor(up ? '--event-gc' : '--event-scav');
  context.fill();
  context.lineWidth = ratio;
  context.strokeStyle = cssColor('--panel');
  context.stroke();
}

export class TimeLine {
  // calls: {onCursor(index, seconds), onZoom(from, to), onReset(), onDraw()}
  constructor(host, calls) {
    this.host = host;
    this.calls = calls;
    this.events = [];
    this.profiles = [];
    this.plot = null;
  }

  create(width, height) {
    this.destroy();
    const options = {
      width,
      height,
      padding: [10, 22, 0, 0],
      legend: { show: false },
      series: seriesOptions(),
      axes: axes(),
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => this.calls.onReset() },
      },
      scales: {
        x: { time: true, range: (u, low, high) => this.rangeX(low, high) },
        y: { range: (u, low, high) => [0, Math.max(high * 1.06, 1)] },
      },
      hooks: {
        draw: [() => this.drawMarks()],
        setCursor: [
          (u) =>
            this.calls.onCursor(
              u.cursor.idx ?? -1,
              u.cursor.left >= 0 ? u.posToVal(u.cursor.left, 'x') : NaN,
            ),
        ],
        setSelect: [(u) => this.selected(u)],
      },
    };
    this.plot = new uPlot(options, dataOf(this.series), this.host);
  }

  // A process younger than the chosen range fills the width all the same; a zoom is taken literally.
  rangeX(low, high) {
    const { from, to, key } = this.range;
    const first = key === 'zoom' ? from : Math.max(from ?? low, low);
    const last = to ?? high;
    return last > first ? [first, last] : [first - 30, first + 30];
  }

  set({ series, events, profiles, range }, width, height) {
    Object.assign(this, { series, events, profiles, range });
    if (this.plot && this.plot.width === width && this.plot.height === height)
      this.plot.setData(dataOf(series));
    else this.create(width, height);
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    this.calls.onZoom(plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x'));
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  }

  drawMarks() {
    const { plot } = this;
    if (!plot) return;
    const { ctx, bbox } = plot;
    const ratio = window.devicePixelRatio || 1;
    ctx.save();
    ctx.fillStyle = cssColor('--muted');
    for (const { unix_s: at } of this.profiles) {
      if (at < plot.scales.x.min || at > plot.scales.x.max) continue;
      ctx.fillRect(
        Math.round(plot.valToPos(at, 'x', true)),
        bbox.top + bbox.height,
        ratio,
        4 * ratio,
      );
    }
    for (const mark of marksOf(plot, this.events)) {
      drawMark(ctx, plot.valToPos(mark.seconds, 'x', true), bbox.top + bbox.height, mark, ratio);
    }
    ctx.restore();
    this.calls.onDraw();
  }

  // Events near a time, as near as a mark is wide.
  eventsNear(seconds) {
    if (!this.plot || Number.isNaN(seconds)) return [];
    const reach = this.plot.posToVal(MARK_PX, 'x') - this.plot.posToVal(0, 'x');
    return this.events.filter((event) => Math.abs(event.unix_ns / 1e9 - seconds) <= reach);
  }

  moveCursor(steps) {
    const { plot, series } = this;
    const at = Math.min(
      Math.max((plot.cursor.idx ?? series.times.length - 1) + steps, 0),
      series.times.length - 1,
    );
    plot.setCursor({ left: plot.valToPos(series.times[at], 'x'), top: plot.over.clientHeight / 2 });
  }

  // Pixels from the host's left edge to a time, and back; both clamped to the plot.
  leftOf(seconds) {
    const { plot } = this;
    const x = plot.valToPos(Math.min(Math.max(seconds, plot.scales.x.min), plot.scales.x.max), 'x');
    return plot.over.offsetLeft + x;
  }

  timeAt(clientX) {
    const box = this.plot.over.getBoundingClientRect();
    return this.plot.posToVal(Math.min(Math.max(clientX - box.left, 0), box.width), 'x');
  }

  destroy() {
    if (this.plot) this.plot.destroy();
    this.plot = null;
  }
}
