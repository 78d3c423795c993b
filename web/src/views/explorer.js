// SPDX-License-Identifier: Apache-2.0
//
// The heap, looked at: one profile or a comparison as a flame graph, as a table of functions, or
// around one function. Knows the page's address and nothing of the server, so the report uses it too.
import { useCallback, useMemo, useState } from 'preact/hooks';
import { FlameGraph } from '../chart/flamegraph.js';
import { usePage } from '../data/page.js';
import { percent } from '../model/format.js';
import { heapOf, VALUES, valueOf } from '../model/profile.js';
import { withParams } from '../model/route.js';
import { matchFunctions } from '../model/search.js';
import { buildTree, findByHash, hashOf, PATHS, pathTo, searchTree } from '../model/tree.js';
import { SearchField, Segmented } from '../ui/basics.js';
import { Detail } from './detail.js';
import { FunctionTable } from './functions.js';
import { describer, Legend, Total } from './heap-head.js';
import { Sandwich } from './sandwich.js';

const MODES = [
  { key: 'flame', label: 'flame graph' },
  { key: 'table', label: 'table' },
  { key: 'sandwich', label: 'one function' },
];
const ORDERS = [
  { key: 'down', label: 'callers on top', title: 'from main down to what allocates' },
  { key: 'up', label: 'inverted', title: 'from what allocates to who asked for it' },
];

function Tools({ params, set }) {
  return (
    <div class="tools">
      <label class="moment">
        <span>measure</span>
        <select
          value={valueOf(params.value).name}
          onChange={(event) => set({ value: event.currentTarget.value, focus: '' })}
        >
          {VALUES.map((value) => (
            <option key={value.name} value={value.name}>
              {value.label}
            </option>
          ))}
        </select>
      </label>
      <Segmented
        label="how to look"
        options={MODES}
        value={params.mode || 'flame'}
        onChange={(mode) => set({ mode })}
      />
      {(params.mode || 'flame') === 'flame' && (
        <Segmented
          label="order"
          options={ORDERS}
          value={params.order || 'down'}
          onChange={(order) => set({ order, focus: '' })}
        />
      )}
      <SearchField
        label="search functions and files"
        param="search"
        hint="search: text or regular expression"
      />
    </div>
  );
}

function Crumbs({ tree, table, focus, onZoom }) {
  if (focus === 0) return null;
  const path = pathTo(tree, focus);
  return (
    <p class="crumbs">
      <button type="button" class="quiet" onClick={() => onZoom(0)}>
        all
      </button>
      {path.slice(-4).map((node) => (
        <button type="button" class="quiet mono" key={node} onClick={() => onZoom(node)}>
          {table.names[tree.fn[node]]}
        </button>
      ))}
    </p>
  );
}

function Flame({ heap, params, set, matches }) {
  const { theme } = usePage();
  const order = params.order === 'up' ? 'up' : 'down';
  const [detail, setDetail] = useState(-1);
  const tree = useMemo(() => buildTree(heap, PATHS[order]), [heap, order]);
  const focus = findByHash(tree, params.focus);
  const found = useMemo(() => (matches ? searchTree(tree, matches) : null), [tree, matches]);
  const scene = useMemo(
    () => ({
      tree,
      table: heap.table,
      compared: heap.compared,
      upwards: false,
      focus,
      marked: found && found.marked,
      valueName: heap.valueName,
    }),
    [tree, focus, found],
  );
  const zoom = useCallback((node) => set({ focus: hashOf(tree, node) }), [tree, set]);
  const shown = detail >= 0 && detail < tree.length ? detail : focus;
  return (
    <>
      <div class="flame-head">
        <Total heap={heap} tree={tree} />
        {found && (
          <p class="total">
            matched <b class="mono">{percent(found.share, 1)}</b>
          </p>
        )}
        <Legend compared={heap.compared} />
      </div>
      <Detail
        heap={heap}
        tree={tree}
        node={shown}
        onSandwich={(fn) => set({ mode: 'sandwich', fn: heap.table.names[fn] })}
      />
      <Crumbs tree={tree} table={heap.table} focus={focus} onZoom={zoom} />
      <FlameGraph
        scene={scene}
        theme={theme}
        label="Flame graph. The table holds the same functions."
        describe={describer(heap, tree)}
        onDetail={setDetail}
        onZoom={zoom}
        onSandwich={(node) => set({ mode: 'sandwich', fn: heap.table.names[tree.fn[node]] })}
      />
      <p class="hint" id="flame-keys">
        Click or Enter zooms in, Escape out; arrows move; s shows one function’s callers and
        callees.
      </p>
    </>
  );
}

export function HeapExplorer({ profile, before }) {
  const { route, go } = usePage();
  const { params } = route;
  const valueName = valueOf(params.value).name;
  const heap = useMemo(() => heapOf(profile, before, valueName), [profile, before, valueName]);
  const matches = useMemo(() => matchFunctions(heap.table, params.search), [heap, params.search]);
  const set = useCallback((patch) => go(withParams(route, patch)), [route, go]);
  const Body = { table: FunctionTable, sandwich: Sandwich }[params.mode] || Flame;
  return (
    <>
      <Tools params={params} set={set} />
      <Body heap={heap} params={params} set={set} matches={matches} />
    </>
  );
}
