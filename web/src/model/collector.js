// SPDX-License-Identifier: Apache-2.0
//
// The collected heap in numbers: as it is, and as it was in a row of the history. Nothing at all for a
// program that does not use it.
import { bytes, count, dateClock, percent } from './format.js';

// A goal that no heap reaches: size alone begins no collection.
const NO_GOAL = 2 ** 62;

const ms = (ns) => `${(ns / 1e6).toFixed(3)} ms`;

// Numbers to show, each [name, value, note].
export function collectorNumbers(collector) {
  if (!collector) return [];
  const { cycles, goal_bytes: goal } = collector;
  const now = [
    ['collected heap', bytes(collector.heap_bytes), 'alive at the last collection, or newer'],
    ['next collection at', goal === null ? 'no size' : bytes(goal), ''],
    ['collections', count(cycles), `${count(collector.forced_cycles)} of them forced`],
  ];
  if (cycles === 0) return now;
  return [
    ...now,
    [
      'alive at the last one',
      bytes(collector.live_bytes),
      `at ${dateClock(collector.last_unix_ns / 1e9)}`,
    ],
    ['last pause', ms(collector.last_pause_ns), ''],
    [
      'all pauses',
      ms(collector.total_pause_ns),
      `${ms(collector.total_pause_ns / cycles)} on average`,
    ],
    ['CPU time for collecting', percent(collector.cpu_share, 1), ''],
  ];
}

// {cycles, goal} of a history row; null before the first collection. `goal` null: there was none.
export function collectorAt(row) {
  if (!(row.num_gc > 0)) return null;
  return { cycles: row.num_gc, goal: row.next_gc_bytes < NO_GOAL ? row.next_gc_bytes : null };
}
