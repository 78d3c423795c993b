// SPDX-License-Identifier: Apache-2.0
//
// What can be changed in a running process: POST /p/ID/debug/mallard/NAME, as the server's table of
// knobs has it. `ask` is what a person reads before it happens, `answer` what came of it.
import { bytes, count } from './format.js';

const NO_LIMIT = '9223372036854775807';

export const KNOBS = [
  {
    name: 'free-os-memory',
    label: 'Free OS memory',
    ask: 'Give all whole free pages back to the kernel now. Later allocations pay for getting them again: some page faults.',
    answer: (reply) => `${bytes(reply.returned_bytes)} went back to the kernel.`,
  },
  {
    name: 'gc',
    label: 'Run a collection',
    ask: 'Run one garbage collection of the collected heap, and wait until what died is swept.',
    answer: (reply) => `Done; ${count(reply.gc_cycles_total)} collections so far.`,
    offered: (process) => Boolean(process.collector),
  },
  {
    name: 'rate',
    label: 'Set the sampling rate',
    parameter: 'bytes',
    unit: 'bytes between samples',
    ask: 'Change the mean number of bytes between two samples. Smaller is more accurate and slower; 1 samples everything, 0 stops sampling. Profiles from before and after add up correctly.',
    answer: (reply) => `Done; it was ${bytes(reply.previous)} before.`,
    initial: (process) => process.rate_bytes,
  },
  {
    name: 'gogc',
    label: 'Set GOGC',
    parameter: 'percent',
    unit: 'percent of growth before a collection, -1: off',
    pattern: /^(\d{1,10}|-1)$/,
    ask: 'Change how much the heap may grow, in percent of what was live, before a collection begins. Smaller collects more often.',
    answer: (reply) =>
      reply.previous < 0 ? 'Done; it was off before.' : `Done; it was ${count(reply.previous)} % before.`,
    initial: (process) => process.knobs.gogc ?? '',
    offered: (process) => Boolean(process.collector),
  },
  {
    name: 'memory-limit',
    label: 'Set the memory limit',
    parameter: 'bytes',
    unit: `bytes, ${NO_LIMIT}: none`,
    ask: 'Change the soft limit: near it, memory goes back to the kernel eagerly and collections come more often.',
    answer: (reply) =>
      reply.previous >= Number(NO_LIMIT)
        ? 'Done; there was none before.'
        : `Done; it was ${bytes(reply.previous)} before.`,
    initial: (process) => process.knobs.memory_limit_bytes ?? '',
    offered: (process) => process.knobs?.memory_limit_bytes !== undefined,
  },
];

// Knobs that mean nothing to a process, as it says itself, are not offered.
export const knobsOf = (process) => KNOBS.filter((knob) => !knob.offered || knob.offered(process));

const WHOLE_NUMBER = /^\d{1,19}$/;

// The sentence that says what is wrong with a typed value, or null.
export function problemWith(knob, text) {
  if (!knob.parameter || (knob.pattern || WHOLE_NUMBER).test(text.trim())) return null;
  return `“${text}” is not a whole number of ${knob.parameter}.`;
}

export function requestOf(knob, id, text) {
  const query = knob.parameter ? `?${knob.parameter}=${text.trim()}` : '';
  return `/p/${encodeURIComponent(id)}/debug/mallard/${knob.name}${query}`;
}
