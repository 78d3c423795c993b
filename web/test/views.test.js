// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectorAt, collectorNumbers } from '../src/model/collector.js';
import { commandsFor } from '../src/model/commands.js';
import {
  growthOf,
  nearestProfile,
  rangeOf,
  seriesOf,
  stack,
  stepProfile,
} from '../src/model/history.js';
import { KNOBS, knobsOf, problemWith, requestOf } from '../src/model/knobs.js';
import { describeParts, isUnknown, otherBytesOf, partsOfRow, PARTS } from '../src/model/parts.js';
import { select } from '../src/model/processes.js';
import {
  cellOf,
  layoutCells,
  pinners,
  sortSpans,
  spansOf,
  stackNames,
} from '../src/model/spans.js';
import * as fixtures from './fixtures.js';

const NOW = 1.8e9;
const { processes } = fixtures.processesDocument(NOW);
const ids = (options) => select(processes, options).map((process) => process.pid);

test('processes are filtered by every word and by life', () => {
  assert.deepEqual(ids({ filter: 'redis oom' }), []);
  assert.deepEqual(ids({ filter: 'IMPORTER cgroup' }), [2001]);
  assert.deepEqual(ids({ show: 'dead' }), [2001, 2002]);
  assert.deepEqual(ids({ filter: 'SIGKILL' }), [2002]);
  assert.equal(ids({ show: 'alive' }).length, 4);
});

test('processes sort by numbers and by names, what is unknown last', () => {
  assert.equal(ids({})[0], 4711);
  assert.equal(ids({ sort: 'name', dir: 'asc' })[0], 2001);
  assert.equal(ids({ sort: 'growth_bytes_per_hour', dir: 'desc' }).at(-1), 77);
});

test('a row of the time line never passes RSS', () => {
  const parts = partsOfRow({
    rss_bytes: 100,
    heap_alloc_bytes: 80,
    span_free_bytes: 30,
    cache_bytes: 5,
    heap_idle_bytes: 9,
    heap_released_bytes: 9,
    tables_bytes: 1,
    profiler_bytes: 1,
  });
  assert.ok(Math.abs(parts.reduce((a, b) => a + b, 0) - 100) < 1e-9);
  assert.equal(parts[0], 80);
  assert.ok(Math.abs(parts[1] - (20 * 30) / 37) < 1e-9);
  assert.equal(partsOfRow({ rss_bytes: 50 }).at(-1), 50);
});

test('stacks and code keep in a row what the kernel counts now', () => {
  const row = { rss_bytes: 100, heap_alloc_bytes: 60, span_free_bytes: 50, tables_bytes: 30 };
  const rss = { measured: true, parts: [{ key: 'live', bytes: 9 }] };
  rss.parts.push({ key: 'stacks', bytes: 1 }, { key: 'code_files', bytes: 7 });
  rss.parts.push({ key: 'rest', bytes: 2 });
  assert.equal(otherBytesOf(rss), 10);
  assert.equal(otherBytesOf({ ...rss, measured: false }), 0);
  const parts = partsOfRow(row, otherBytesOf(rss));
  assert.ok(Math.abs(parts.at(-1) - 10) < 1e-9);
  assert.ok(Math.abs(parts.reduce((a, b) => a + b, 0) - 100) < 1e-9);
  assert.equal(partsOfRow({ ...row, heap_alloc_bytes: 95 }, 10).at(-1), 5);
});

test('a zero that nobody measured is not shown as one', () => {
  const unmeasured = { measured: false };
  assert.ok(isUnknown(unmeasured, { key: 'stacks', bytes: 0 }));
  assert.ok(!isUnknown(unmeasured, { key: 'stacks', bytes: 1 }));
  assert.ok(!isUnknown(unmeasured, { key: 'live', bytes: 0 }));
  assert.ok(!isUnknown({ measured: true }, { key: 'stacks', bytes: 0 }));
});

test('stacked classes end at RSS', () => {
  const series = seriesOf(fixtures.historyDocument(NOW, '4711.880', { points: 100 }));
  const top = stack(series.parts).at(-1);
  series.rss.forEach((rss, i) => assert.ok(Math.abs(rss - top[i]) < 1));
});

test('the server’s parts add up and keep its labels', () => {
  const { rss } = fixtures.processDocument(NOW, '4711.880');
  const parts = describeParts(rss.parts);
  assert.equal(
    parts.reduce((sum, part) => sum + part.bytes, 0),
    rss.resident_bytes,
  );
  assert.deepEqual(
    parts.map((part) => part.key),
    PARTS.map((part) => part.key),
  );
  assert.equal(describeParts([{ key: 'new', label: 'novel', bytes: 1 }])[0].label, 'novel');
});

test('a zoom wins over a range', () => {
  assert.deepEqual(rangeOf({ range: '10m' }, 1000000), { from: 999400, to: undefined, key: '10m' });
  assert.equal(rangeOf({ range: '10m', from: '5', to: '9' }, 1000000).key, 'zoom');
  assert.equal(rangeOf({ range: 'all' }, 1000000).from, undefined);
  assert.equal(rangeOf({ range: '10m', from: '9', to: '5' }, 1000000).key, '10m');
});

test('handles rest on stored profiles', () => {
  const profiles = [{ unix_s: 60 }, { unix_s: 120 }, { unix_s: 180 }];
  assert.equal(nearestProfile(profiles, 130).unix_s, 120);
  assert.equal(stepProfile(profiles, 120, 1).unix_s, 180);
  assert.equal(stepProfile(profiles, 120, -9).unix_s, 60);
  assert.equal(stepProfile([], 1, 1), null);
});

test('spans share cells when there are more than fit, and none is lost', () => {
  const few = layoutCells(100, 900, 400);
  assert.equal(few.perCell, 1);
  const many = layoutCells(1000000, 900, 400);
  assert.ok(many.perCell > 1);
  assert.ok(many.cells * many.perCell >= 1000000);
  assert.equal(layoutCells(0, 900, 400).cells, 0);
});

test('a cell’s occupancy is by bytes, and pins are summed by call site', () => {
  const map = {
    page_bytes: 8192,
    spans: [
      [9, 1, 1, 5, 10, 0],
      [1, 3, 1, 0, 10, 0],
      [5, 1, 0, 1, 1, -1],
    ],
  };
  const spans = spansOf(map);
  assert.equal(cellOf(spans, 0, 2).occupancy, 1 - (4096 + 24576) / 32768);
  assert.deepEqual(
    sortSpans(spans, 'address').map((span) => span.page),
    [1, 5, 9],
  );
  assert.deepEqual(pinners(spans), [{ pin: 0, spans: 2, free: 28672, bytes: 32768 }]);
  const pins = { functions: [['f', 'f.c', 1]], frames: [[0, 7]], stacks: [[0]] };
  assert.deepEqual(stackNames(pins, 0), [{ name: 'f', file: 'f.c', line: 7 }]);
  assert.deepEqual(stackNames(pins, 9), []);
});

test('commands name exactly what is on the screen', () => {
  const context = {
    origin: 'http://h:1',
    id: '12.3',
    params: { value: 'alloc_objects', at: '200', base: '100', search: "a'b" },
  };
  const texts = commandsFor('heap', context).map((command) => command.text);
  assert.equal(
    texts[0],
    "go tool pprof -sample_index=alloc_objects -base 'http://h:1/p/12.3/debug/pprof/heap?at=100' -top 'http://h:1/p/12.3/debug/pprof/heap?at=200'",
  );
  assert.ok(texts[1].includes('-diff_base'));
  assert.ok(texts.some((text) => text.includes("-focus='a'\\''b'")));
  assert.ok(texts.some((text) => text.startsWith('curl -sS -o heap.pb.gz ')));
  assert.deepEqual(commandsFor('nothing', context), []);
});

test('a process is named so that another one with its pid is not meant', () => {
  const context = { origin: 'http://h:1', id: '12.3', params: {} };
  for (const view of ['memory', 'timeline', 'heap', 'classes', 'trace'])
    for (const { text } of commandsFor(view, context)) assert.ok(text.includes('12.3'), text);
});

test('a knob that a process does not know is not offered', () => {
  const names = (knobs) => knobsOf({ knobs }).map((knob) => knob.name);
  assert.deepEqual(names({ gogc: 100 }), ['free-os-memory', 'rate']);
  assert.deepEqual(names({ gogc: 100, memory_limit_bytes: 5 }).slice(2), ['memory-limit']);
});

test('a process without a memory limit can be given one, and one with a limit rid of it', () => {
  const process = { knobs: { memory_limit_bytes: null } };
  const limit = knobsOf(process).find((knob) => knob.name === 'memory-limit');
  assert.equal(limit.initial(process), '');
  assert.equal(problemWith(limit, '9223372036854775807'), null);
  assert.match(problemWith(limit, ''), /not a whole number/);
  assert.equal(limit.answer({ previous: 2 ** 63 }), 'Done; there was none before.');
  assert.equal(limit.answer({ previous: 1048576 }), 'Done; it was 1.00 MiB before.');
});

test('the collector’s knobs are those of programs that use it, also when it is off', () => {
  const process = { knobs: { gogc: null }, collector: { cycles: 0 } };
  const [gc, gogc] = knobsOf(process).filter((knob) => knob.name.startsWith('g'));
  assert.deepEqual([gc.name, gogc.name, gogc.initial(process)], ['gc', 'gogc', '']);
  assert.equal(gogc.answer({ previous: -1 }), 'Done; it was off before.');
  assert.equal(gogc.answer({ previous: 100 }), 'Done; it was 100 % before.');
  assert.deepEqual([problemWith(gogc, '-1'), problemWith(gogc, '50')], [null, null]);
  assert.match(problemWith(gogc, '-2'), /-2/);
});

test('the collected heap has its numbers, and a program without one has none', () => {
  assert.deepEqual(collectorNumbers(null), []);
  const collector = {
    cycles: 0,
    forced_cycles: 0,
    last_pause_ns: 0,
    total_pause_ns: 0,
    last_unix_ns: 0,
    goal_bytes: null,
    live_bytes: 0,
    heap_bytes: 1024,
    cpu_share: 0,
  };
  const shown = (of) => Object.fromEntries(collectorNumbers(of).map(([k, v, note]) => [k, [v, note]]));
  assert.deepEqual(Object.keys(shown(collector)), [
    'collected heap',
    'next collection at',
    'collections',
  ]);
  assert.equal(shown(collector)['next collection at'][0], 'no size');
  const worked = shown({
    ...collector,
    cycles: 4,
    forced_cycles: 1,
    last_pause_ns: 250000,
    total_pause_ns: 1000000,
    last_unix_ns: NOW * 1e9,
    goal_bytes: 4194304,
    live_bytes: 2048,
    cpu_share: 0.027,
  });
  assert.equal(worked['next collection at'][0], '4.00 MiB');
  assert.deepEqual(worked.collections, ['4', '1 of them forced']);
  assert.equal(worked['alive at the last one'][0], '2.00 KiB');
  assert.equal(worked['last pause'][0], '0.250 ms');
  assert.deepEqual(worked['all pauses'], ['1.000 ms', '0.250 ms on average']);
  assert.equal(worked['CPU time for collecting'][0], '2.70 %');
});

test('a row of the time line knows where the collector stood, once it has collected', () => {
  const never = 2 ** 63 - 1;
  assert.equal(collectorAt({ num_gc: 0, next_gc_bytes: never }), null);
  assert.equal(collectorAt({}), null);
  assert.deepEqual(collectorAt({ num_gc: 3, next_gc_bytes: 5 }), { cycles: 3, goal: 5 });
  assert.deepEqual(collectorAt({ num_gc: 3, next_gc_bytes: never }), { cycles: 3, goal: null });
});

test('a knob takes whole numbers only', () => {
  const rate = KNOBS.find((knob) => knob.name === 'rate');
  assert.match(problemWith(rate, '12k'), /12k/);
  assert.equal(problemWith(rate, ' 4096 '), null);
  assert.equal(requestOf(rate, '1.2', ' 4096 '), '/p/1.2/debug/mallard/rate?bytes=4096');
  assert.equal(requestOf(KNOBS[0], '1.2', ''), '/p/1.2/debug/mallard/free-os-memory');
});

test('the growth of an hour is not told from less than a minute', () => {
  const range = (seconds) => ({
    rows: [
      { unix_ns: 5e9, rss_bytes: 1000 },
      { unix_ns: (5 + seconds) * 1e9, rss_bytes: 1600 },
    ],
  });
  assert.deepEqual(growthOf(range(59), 'rss_bytes'), { bytes: 600, hourly: false });
  assert.deepEqual(growthOf(range(60), 'rss_bytes'), { bytes: 36000, hourly: true });
  assert.equal(growthOf({ rows: [] }, 'rss_bytes').bytes, null);
});
