// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes, count, duration, percent, signed } from '../src/model/format.js';

test('bytes have three digits and a binary unit', () => {
  assert.equal(bytes(0), '0 B');
  assert.equal(bytes(1023), '1023 B');
  assert.equal(bytes(1024), '1.00 KiB');
  assert.equal(bytes(1536), '1.50 KiB');
  assert.equal(bytes(1843 * 1048576), '1.80 GiB');
  assert.equal(bytes(99.9 * 1024), '99.9 KiB');
  assert.equal(bytes(1048575), '1.00 MiB');
  assert.equal(bytes(-2 * 1048576), '−2.00 MiB');
  assert.equal(bytes(undefined), '–');
  assert.equal(bytes(NaN), '–');
});

test('counts are grouped, percent keeps its meaning near nought', () => {
  assert.equal(count(1234567), '1 234 567');
  assert.equal(count(12.6), '13');
  assert.equal(percent(1, 3), '33.3 %');
  assert.equal(percent(1, 1000), '0.10 %');
  assert.equal(percent(1, 0), '–');
  assert.equal(percent(1000, 1000), '100 %');
});

test('a sign is always there, but not on nought', () => {
  assert.equal(signed(bytes, 1024), '+1.00 KiB');
  assert.equal(signed(bytes, -1024), '−1.00 KiB');
  assert.equal(signed(bytes, 0), '0 B');
  assert.equal(signed(bytes, null), '–');
});

test('durations have at most two units', () => {
  assert.equal(duration(59.9), '59 s');
  assert.equal(duration(61), '1 min 1 s');
  assert.equal(duration(3661), '1 h 1 min');
  assert.equal(duration(90000), '1 d 1 h');
});
