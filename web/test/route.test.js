// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatRoute, parseRoute, toView, VIEWS, withParams } from '../src/model/route.js';

test('what is formatted is parsed again', () => {
  for (const view of VIEWS) {
    const route = {
      view,
      id: '12.345',
      params: { value: 'alloc_space', search: 'a+b & c?#/%', at: '1700000000' },
    };
    assert.deepEqual(parseRoute(formatRoute(route)), route);
  }
  const list = { view: 'processes', id: '', params: { filter: 'redis oom', sort: 'pid' } };
  assert.deepEqual(parseRoute(formatRoute(list)), list);
});

test('an address nobody made is no error', () => {
  assert.equal(parseRoute('').view, 'processes');
  assert.equal(parseRoute('#/p/12/nonsense').view, 'memory');
  assert.equal(parseRoute('#/p/%ZZ/heap').id, '%ZZ');
  assert.deepEqual(parseRoute('#/p//heap'), { view: 'memory', id: 'heap', params: {} });
});

test('empty parameters leave the address', () => {
  const route = withParams(
    { view: 'heap', id: '1', params: { at: '5', focus: 'x' } },
    { focus: '', base: undefined },
  );
  assert.equal(formatRoute(route), '#/p/1/heap?at=5');
});

test('another view keeps the moments and forgets the search', () => {
  const route = toView(
    { view: 'timeline', id: '1', params: { base: '4', at: '5', search: 'x' } },
    'heap',
  );
  assert.deepEqual(route, { view: 'heap', id: '1', params: { base: '4', at: '5' } });
});
