// SPDX-License-Identifier: Apache-2.0
//
// The numbers of the frame under the pointer or the keys: how much, of what, from how many samples,
// and how sure that is. It has a place of its own beside the graph, so nothing covers the frames and
// a thumb on a phone does not either.
import { changeOf } from '../chart/flame-canvas.js';
import { bytes, count, formatOf, percent, signed } from '../model/format.js';
import { FEW_SAMPLES } from '../model/sampling.js';

function Sureness({ tree, node, format }) {
  const sigma = Math.sqrt(tree.variance[node]);
  const whole = tree.value[node];
  const few = tree.samples[node] < FEW_SAMPLES;
  return (
    <>
      <div>
        <dt>± 1σ</dt>
        <dd>
          {format(sigma)}
          {whole > 0 && ` (${percent(sigma, whole)})`}
        </dd>
      </div>
      <div class={few ? 'few' : ''}>
        <dt>samples</dt>
        <dd>
          {count(tree.samples[node])}
          {few && ' – too few to rely on'}
        </dd>
      </div>
    </>
  );
}

function Change({ tree, node, format }) {
  const { delta, sure } = changeOf(tree, node);
  const word = !sure ? 'within the noise' : delta > 0 ? 'has grown' : 'has shrunk';
  return (
    <>
      <div>
        <dt>change</dt>
        <dd class={sure ? (delta > 0 ? 'grew' : 'shrank') : ''}>{signed(format, delta)}</dd>
      </div>
      <div>
        <dt>then → now</dt>
        <dd>
          {format(tree.base[node])} → {format(tree.value[node])}
        </dd>
      </div>
      <div>
        <dt>verdict</dt>
        <dd>{word}</dd>
      </div>
    </>
  );
}

function Amount({ heap, tree, node, format }) {
  return (
    <>
      <div>
        <dt>{heap.valueName.startsWith('inuse') ? 'in use' : 'allocated'}</dt>
        <dd>
          {format(tree.value[node])} ({percent(tree.value[node], tree.value[0])})
        </dd>
      </div>
      <div>
        <dt>bytes</dt>
        <dd>{bytes(tree.bytes[node])}</dd>
      </div>
      <div>
        <dt>objects</dt>
        <dd>{count(tree.objects[node])}</dd>
      </div>
    </>
  );
}

export function Detail({ heap, tree, node, onSandwich }) {
  const format = formatOf(heap.valueName);
  const fn = tree.fn[node];
  const name = fn < 0 ? 'all stacks' : heap.table.names[fn];
  const file = fn < 0 ? '' : heap.table.files[fn];
  const line = fn < 0 ? 0 : heap.table.lines[fn];
  const Middle = heap.compared ? Change : Amount;
  return (
    <div class="detail">
      <p class="detail-name mono" title={name}>
        {name}
      </p>
      <p class="detail-file mono">
        {node === 0 && fn < 0 ? (
          <span class="invitation">
            Point at a frame, or focus the graph and use the arrow keys.
          </span>
        ) : (
          `${file}${file && line ? `:${line}` : ''}`
        )}
        {node > 0 && (
          <button type="button" class="quiet" onClick={() => onSandwich(fn)}>
            callers and callees
          </button>
        )}
      </p>
      <dl class="detail-numbers">
        <Middle heap={heap} tree={tree} node={node} format={format} />
        <Sureness tree={tree} node={node} format={format} />
      </dl>
    </div>
  );
}
