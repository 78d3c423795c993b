// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layoutFlame, cellAt, neighbour, placeOf } from '../src/chart/flame-layout.js';
import { heapOf, takenAt } from '../src/model/profile.js';
import { rowAccuracy, sampleProbability } from '../src/model/sampling.js';
import { matchFunctions, matcherOf } from '../src/model/search.js';
import { sortTop, topOf } from '../src/model/top.js';
import {
  buildTree,
  calleesOf,
  callersOf,
  findByHash,
  hashOf,
  nameOf,
  PATHS,
  pathTo,
  searchTree,
} from '../src/model/tree.js';
import { profileDocument } from './fixtures.js';

// main → parse → new (30), main → load → new (50), main → load → load → new (20); leaf first.
const RATE = 1000;
const profile = {
  time_unix_ns: 1,
  rate_bytes: RATE,
  functions: [
    ['main', 'm.c', 1],
    ['parse', 'p.c', 2],
    ['load', 'l.c', 3],
    ['new', '', 0],
  ],
  frames: [
    [0, 10],
    [1, 20],
    [2, 30],
    [3, 0],
  ],
  stacks: [
    [3, 1, 0],
    [3, 2, 0],
    [3, 2, 2, 0],
  ],
  samples: [
    [0, 10, 9, 90, 3, 30],
    [1, 50, 2, 100, 1, 50],
    [2, 10, 2, 20, 1, 10],
    [2, 10, 2, 20, 1, 10],
  ],
};
// The same program earlier: other numbers for the same functions, no load at all, more parse.
const earlier = {
  ...profile,
  functions: [
    ['new', '', 0],
    ['parse', 'p.c', 2],
    ['main', 'm.c', 1],
  ],
  frames: [
    [0, 0],
    [1, 20],
    [2, 10],
  ],
  stacks: [[0, 1, 2]],
  samples: [[0, 10, 9, 90, 7, 70]],
};
const heap = heapOf(profile, null, 'inuse_space');
const child = (tree, parent, name) => {
  for (let node = tree.first[parent]; node >= 0; node = tree.next[node])
    if (nameOf(tree, heap.table, node) === name) return node;
  return -1;
};

test('the probability and the variance of a sample are as the sampler has them', () => {
  assert.ok(Math.abs(sampleProbability(524288, 524288) - (1 - Math.exp(-1))) < 1e-12);
  assert.equal(sampleProbability(16, 1), 1);
  assert.equal(sampleProbability(16, 0), 1);
  const p = sampleProbability(64, 524288);
  const { samples, variance } = rowAccuracy(64, 10 / p, 524288, true);
  assert.ok(Math.abs(samples - 10) < 1e-9);
  assert.ok(Math.abs(Math.sqrt(variance) / (64 * (10 / p)) - Math.sqrt((1 - p) / 10)) < 1e-9);
});

test('a small site is off by the root of rate over bytes', () => {
  const live = 50 * 1048576;
  const { variance } = rowAccuracy(64, live / 64, 524288, true);
  assert.ok(Math.abs(Math.sqrt(variance) / live - 0.1) < 0.001);
});

test('the tree from the root down sums what passes through', () => {
  const tree = buildTree(heap, PATHS.down);
  assert.equal(tree.value[0], 100);
  assert.equal(tree.stacks, 3);
  const main = child(tree, 0, 'main');
  assert.equal(tree.value[main], 100);
  const load = child(tree, main, 'load');
  assert.equal(tree.value[load], 70);
  assert.equal(tree.value[child(tree, load, 'load')], 20);
  assert.equal(tree.objects[child(tree, main, 'parse')], 3);
});

test('inverted, the leaf is first', () => {
  const tree = buildTree(heap, PATHS.up);
  const leaf = child(tree, 0, 'new');
  assert.equal(tree.value[leaf], 100);
  assert.equal(tree.value[child(tree, leaf, 'load')], 70);
});

test('a node is found again by its hash in another profile', () => {
  const tree = buildTree(heap, PATHS.down);
  const load = child(tree, child(tree, 0, 'main'), 'load');
  const again = buildTree(heapOf(profile, earlier, 'alloc_objects'), PATHS.down);
  const found = findByHash(again, hashOf(tree, load));
  assert.notEqual(found, 0);
  assert.deepEqual(
    pathTo(again, found).map((node) => again.depth[node]),
    [1, 2],
  );
  assert.equal(findByHash(tree, 'nowhere'), 0);
});

test('a comparison keeps what vanished and tells the difference', () => {
  const compared = heapOf(profile, earlier, 'inuse_space');
  const tree = buildTree(compared, PATHS.down);
  assert.equal(tree.value[0] - tree.base[0], 30);
  assert.equal(tree.width[0], 70 + 50 + 20);
  const top = topOf(compared);
  const parse = top.rows.find((row) => row.name === 'parse');
  assert.equal(parse.cumDelta, -40);
  assert.equal(sortTop(top.rows, 'cumDelta', false)[0].name, 'load');
});

test('the last heap of the dead is as old as their death', () => {
  const dead = { alive: false, ended_unix_ns: 5e9 };
  assert.equal(takenAt({ time_unix_ns: 9e9 }, dead, ''), 5);
  assert.equal(takenAt({ time_unix_ns: 3e9 }, dead, '3'), 3);
  assert.equal(takenAt({ time_unix_ns: 9e9 }, { alive: true, ended_unix_ns: 0 }, ''), 9);
});

test('the table counts a recursive function once per stack', () => {
  const rows = Object.fromEntries(topOf(heap).rows.map((row) => [row.name, row]));
  assert.equal(rows.load.cum, 70);
  assert.equal(rows.load.flat, 0);
  assert.equal(rows.new.flat, 100);
  assert.equal(rows.main.cum, 100);
});

test('one function has its callers and its callees', () => {
  const load = heap.table.names.indexOf('load');
  const callers = buildTree(heap, callersOf(load), load);
  const callees = buildTree(heap, calleesOf(load), load);
  assert.equal(nameOf(callers, heap.table, 0), 'load');
  assert.equal(callers.value[0], 70);
  assert.equal(callers.value[child(callers, 0, 'main')], 70);
  assert.equal(callees.value[child(callees, 0, 'new')], 50);
  assert.equal(callees.value[child(callees, 0, 'load')], 20);
});

test('a search marks frames and counts a stack once', () => {
  const tree = buildTree(heap, PATHS.down);
  const { share } = searchTree(tree, matchFunctions(heap.table, 'load|new'));
  assert.equal(share, 1);
  assert.equal(searchTree(tree, matchFunctions(heap.table, 'load')).share, 0.7);
  assert.equal(matchFunctions(heap.table, ''), null);
});

test('a search may be typed halfway', () => {
  assert.ok(matcherOf('operator new[').test('void* operator new[](unsigned long)'));
  assert.ok(matcherOf('SSL').test('SSL_new'));
  assert.ok(!matcherOf('SSL').test('ssl_new'));
  assert.ok(matcherOf('ssl').test('SSL_new'));
});

test('frames lie below their callers, and what is too narrow is one sliver', () => {
  const tree = buildTree(heap, PATHS.down);
  const layout = layoutFlame(tree, 0, 1000);
  const main = child(tree, 0, 'main');
  const load = child(tree, main, 'load');
  const place = placeOf(layout, load);
  assert.equal(place.row, 2);
  assert.equal(place.cell.width, 700);
  assert.equal(cellAt(layout, 2, 10).node, load);
  assert.equal(cellAt(layout, 9, 10), null);
  assert.equal(neighbour(layout, tree, load, 'parent'), main);
  assert.equal(neighbour(layout, tree, main, 'child'), load);
  assert.equal(nameOf(tree, heap.table, neighbour(layout, tree, load, 'next')), 'parse');
  const tiny = layoutFlame(tree, 0, 1);
  assert.ok(tiny.rows[2].some((cell) => cell.node === -1));
});

test('zoomed in, the frame and those above it fill the width', () => {
  const tree = buildTree(heap, PATHS.down);
  const load = child(tree, child(tree, 0, 'main'), 'load');
  const layout = layoutFlame(tree, load, 1000);
  assert.deepEqual(
    layout.rows.slice(0, 3).map((row) => row[0].width),
    [1000, 1000, 1000],
  );
});

test('an empty profile is an empty tree', () => {
  const empty = heapOf(
    { ...profile, functions: [], frames: [], stacks: [], samples: [] },
    null,
    'inuse_space',
  );
  const tree = buildTree(empty, PATHS.down);
  assert.equal(tree.length, 1);
  assert.equal(layoutFlame(tree, 0, 800).rows.length, 1);
  assert.deepEqual(topOf(empty).rows, []);
});

test('ten thousand stacks are a tree in less than a second', () => {
  const start = performance.now();
  const big = heapOf(profileDocument(1.8e9, '812.301'), null, 'inuse_space');
  assert.ok(big.stacks.length >= 10000);
  const begun = performance.now();
  const tree = buildTree(big, PATHS.down);
  layoutFlame(tree, 0, 1280);
  assert.ok(
    performance.now() - begun < 1000,
    `${performance.now() - begun} ms, ${begun - start} ms to read`,
  );
});
