// SPDX-License-Identifier: Apache-2.0
//
// A heap profile as the server sends it (/api/profile), turned into what the trees and tables are
// made of: rows, one per stack, over a table of functions. Two profiles that are compared are
// brought over one table, because function 17 of one is another's 23; their rows stay apart here
// and meet in the tree.
import { rowAccuracy } from './sampling.js';

// `column` is the value's place in a sample, `objects` the column that counts the objects behind it.
export const VALUES = [
  { name: 'inuse_space', label: 'in use, bytes', column: 5, objects: 4 },
  { name: 'inuse_objects', label: 'in use, objects', column: 4, objects: 4 },
  { name: 'alloc_space', label: 'allocated, bytes', column: 3, objects: 2 },
  { name: 'alloc_objects', label: 'allocated, objects', column: 2, objects: 2 },
];

export function valueOf(name) {
  return VALUES.find((value) => value.name === name) || VALUES[0];
}

class FunctionTable {
  constructor() {
    this.names = [];
    this.files = [];
    this.lines = [];
    this.index = new Map();
  }

  add(name, file, line) {
    const key = `${name}\n${file}`;
    let id = this.index.get(key);
    if (id === undefined) {
      id = this.names.length;
      this.index.set(key, id);
      this.names.push(name);
      this.files.push(file);
      this.lines.push(line);
    }
    return id;
  }
}

// Per stack of the profile: its functions' ids, leaf first.
function stacksOver(table, profile) {
  const ids = profile.functions.map(([name, file, line]) =>
    table.add(name || '?', file || '', line || 0),
  );
  const frames = profile.frames.map((frame) => ids[frame[0]]);
  return profile.stacks.map((stack) => Int32Array.from(stack, (frame) => frames[frame]));
}

function addSamples(heap, profile, first, into) {
  const { column, objects, name } = valueOf(heap.valueName);
  const inBytes = name.endsWith('_space');
  for (const sample of profile.samples) {
    const row = first + sample[0];
    const accuracy = rowAccuracy(sample[1], sample[objects], profile.rate_bytes, inBytes);
    into[row] += sample[column];
    heap.variance[row] += accuracy.variance;
    heap.samples[row] += accuracy.samples;
    heap.objects[row] += sample[objects];
    heap.bytes[row] += sample[objects + 1];
  }
}

// `before` is the profile to compare with, or null. Row i is stacks[i] with value[i] now and base[i]
// then; variances and samples of both sides add up.
export function heapOf(profile, before, valueName) {
  const table = new FunctionTable();
  const now = stacksOver(table, profile);
  const then = before ? stacksOver(table, before) : [];
  const length = now.length + then.length;
  const heap = { table, valueName, stacks: now.concat(then), compared: before !== null };
  for (const key of ['value', 'base', 'variance', 'samples', 'objects', 'bytes']) {
    heap[key] = new Float64Array(length);
  }
  addSamples(heap, profile, 0, heap.value);
  if (before) addSamples(heap, before, now.length, heap.base);
  return heap;
}

// When the heap was as the profile says, in seconds: the last one of a dead process is as old as its
// death, whenever it was read.
export function takenAt(profile, process, stored) {
  const taken = profile.time_unix_ns / 1e9;
  const ended = process.ended_unix_ns / 1e9;
  return !stored && !process.alive && ended > 0 ? Math.min(taken, ended) : taken;
}
