// SPDX-License-Identifier: Apache-2.0
//
// What stands above a flame graph: the sum, how sure it is, how to read the colours; and the sentence
// that says a frame to those who do not see it.
import { changeOf } from '../chart/flame-canvas.js';
import { count, formatOf, percent, signed } from '../model/format.js';
import { valueOf } from '../model/profile.js';
import { nameOf } from '../model/tree.js';

export function Legend({ compared }) {
  if (!compared) {
    return (
      <p class="hint">
        Width is size, colour groups frames by file, <span class="few-key">grey</span> has fewer
        than ten samples.
      </p>
    );
  }
  return (
    <p class="hint">
      Width is the larger of both, <span class="more-key">orange +</span> has grown,{' '}
      <span class="less-key">blue −</span> has shrunk, pale is within the noise (2σ).
    </p>
  );
}

export function Total({ heap, tree }) {
  const format = formatOf(heap.valueName);
  if (!heap.compared) {
    return (
      <p class="total">
        <b class="mono">{format(tree.value[0])}</b> {valueOf(heap.valueName).label.split(',')[0]}{' '}
        <span class="muted">
          ± {format(Math.sqrt(tree.variance[0]))}, from {count(tree.samples[0])} samples in{' '}
          {count(tree.stacks)} stacks
        </span>
      </p>
    );
  }
  const { delta, sure } = changeOf(tree, 0);
  return (
    <p class="total">
      <b class="mono">{signed(format, delta)}</b> from {format(tree.base[0])} to{' '}
      {format(tree.value[0])}{' '}
      <span class="muted">
        ± at most {format(Math.sqrt(tree.variance[0]))}
        {sure ? '' : ': within the noise'}
      </span>
    </p>
  );
}

// A short sentence for those who do not see the picture.
export function describer(heap, tree) {
  const format = formatOf(heap.valueName);
  return (node) => {
    const name = nameOf(tree, heap.table, node);
    const change = heap.compared ? `, ${signed(format, tree.value[node] - tree.base[node])}` : '';
    return `${name}: ${format(tree.value[node])}, ${percent(tree.value[node], tree.value[0])}${change}, ${count(tree.samples[node])} samples`;
  };
}
