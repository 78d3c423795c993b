// SPDX-License-Identifier: Apache-2.0
//
// One function between its callers, above, and its callees, below: two flame graphs that meet at it.
import { useMemo, useState } from 'preact/hooks';
import { FlameGraph } from '../chart/flamegraph.js';
import { usePage } from '../data/page.js';
import { buildTree, calleesOf, callersOf } from '../model/tree.js';
import { Detail } from './detail.js';
import { FunctionTable } from './functions.js';
import { describer, Legend, Total } from './heap-head.js';

const CHOICES = 40;

function Half({ heap, tree, upwards, label, matches, onDetail, onFunction }) {
  const { theme } = usePage();
  const [focus, setFocus] = useState(0);
  const marked = useMemo(
    () => (matches ? Uint8Array.from(tree.fn, (fn) => (fn >= 0 ? matches[fn] : 0)) : null),
    [tree, matches],
  );
  const scene = useMemo(
    () => ({
      tree,
      table: heap.table,
      compared: heap.compared,
      upwards,
      focus: focus < tree.length ? focus : 0,
      marked,
      valueName: heap.valueName,
    }),
    [tree, focus, marked],
  );
  return (
    <FlameGraph
      scene={scene}
      theme={theme}
      label={label}
      describe={describer(heap, tree)}
      onDetail={(node) => onDetail(tree, node)}
      onZoom={setFocus}
      onSandwich={(node) => onFunction(tree.fn[node])}
    />
  );
}

function Choose({ heap, params, set, matches, missing }) {
  return (
    <>
      <p>
        {missing ? (
          <>
            The function <code>{missing}</code> is not in this profile.{' '}
          </>
        ) : (
          ''
        )}
        Choose a function to see who calls it and whom it calls.
      </p>
      <FunctionTable heap={heap} params={params} set={set} matches={matches} limit={CHOICES} />
    </>
  );
}

export function Sandwich({ heap, params, set, matches }) {
  const fn = heap.table.names.indexOf(params.fn);
  const callers = useMemo(() => fn >= 0 && buildTree(heap, callersOf(fn), fn), [heap, fn]);
  const callees = useMemo(() => fn >= 0 && buildTree(heap, calleesOf(fn), fn), [heap, fn]);
  const [shown, setShown] = useState(null);
  if (fn < 0 || callees.stacks === 0)
    return <Choose heap={heap} params={params} set={set} matches={matches} missing={params.fn} />;
  const detail =
    shown && shown.node >= 0 && (shown.tree === callers || shown.tree === callees)
      ? shown
      : { tree: callees, node: 0 };
  const onDetail = (tree, node) => setShown({ tree, node });
  const onFunction = (other) => set({ fn: heap.table.names[other] });
  const halves = { heap, matches, onDetail, onFunction };
  return (
    <>
      <div class="flame-head">
        <Total heap={heap} tree={callees} />
        <button type="button" class="quiet" onClick={() => set({ fn: '' })}>
          another function
        </button>
        <Legend compared={heap.compared} />
      </div>
      <Detail heap={heap} tree={detail.tree} node={detail.node} onSandwich={onFunction} />
      <h3 class="half-title">callers of {params.fn}</h3>
      <Half {...halves} tree={callers} upwards label={`callers of ${params.fn}`} />
      <h3 class="half-title">callees</h3>
      <Half {...halves} tree={callees} upwards={false} label={`callees of ${params.fn}`} />
      <p class="hint" id="flame-keys">
        Click or Enter zooms in, Escape out; arrows move; s moves to the function of the frame.
      </p>
    </>
  );
}
