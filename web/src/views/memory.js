// SPDX-License-Identifier: Apache-2.0
//
// Resident memory taken apart: one sentence, one bar, and the table of the same parts, which add up
// to what the kernel says.
import { collectorNumbers } from '../model/collector.js';
import { bytes, count, percent } from '../model/format.js';
import { describeParts, isUnknown } from '../model/parts.js';
import { CellBar, Link, Swatch } from '../ui/basics.js';
import { usePage } from '../data/page.js';
import { toView } from '../model/route.js';
import { Table } from '../ui/table.js';
import { Limits } from './limits.js';

// Narrower than this, a label in the bar would be cut; the table has it.
const LABELLED_SHARE = 0.075;

export function PartsBar({ rss }) {
  const parts = describeParts(rss.parts).filter((part) => part.bytes > 0);
  const whole = Math.max(1, rss.resident_bytes);
  return (
    <div class="parts-bar" role="img" aria-label={rss.sentence}>
      {parts.map((part) => (
        <span
          key={part.key}
          class={`part part-${part.key}`}
          title={`${part.label}: ${bytes(part.bytes)}`}
          style={{ flexGrow: part.bytes / whole, background: `var(${part.color})` }}
        >
          {part.bytes / whole >= LABELLED_SHARE && (
            <span class="part-label">
              {part.label}
              <b>{bytes(part.bytes)}</b>
            </span>
          )}
        </span>
      ))}
    </div>
  );
}

export function PartsSentence({ rss }) {
  const text = rss.sentence || `RSS ${bytes(rss.resident_bytes)}`;
  return (
    <p class="sentence">
      {text}
      {/[.]$/.test(text) ? '' : '.'}
    </p>
  );
}

export function PartsTable({ rss }) {
  const parts = describeParts(rss.parts).filter((part) => !isUnknown(rss, part));
  const largest = Math.max(1, ...parts.map((part) => part.bytes));
  const sum = parts.reduce((total, part) => total + part.bytes, 0);
  const columns = [
    {
      key: 'label',
      label: 'part',
      text: true,
      cell: (p) => (
        <>
          <Swatch color={p.color} />
          {p.label}
        </>
      ),
    },
    {
      key: 'bytes',
      label: 'size',
      cell: (p) => (
        <span class="with-bar">
          {bytes(p.bytes)}
          <CellBar share={p.bytes / largest} color={p.color} />
        </span>
      ),
    },
    { key: 'share', label: 'of RSS', cell: (p) => percent(p.bytes, rss.resident_bytes) },
    {
      key: 'means',
      label: 'what it is',
      text: true,
      class: 'wide',
      cell: (p) => <span class="muted">{p.means}</span>,
    },
  ];
  const foot = (
    <tr>
      <th scope="row" class="text">
        {rss.measured ? 'VmRSS' : 'RSS'}
      </th>
      <td class="number">{bytes(sum)}</td>
      <td class="number">{percent(sum, rss.resident_bytes)}</td>
      <td class="text wide muted">
        {count(sum)} bytes: the parts add up to{' '}
        {rss.measured
          ? 'what the kernel counts'
          : 'what was last written, in which stacks and code are not told apart'}
        .
      </td>
    </tr>
  );
  return (
    <Table
      class="parts"
      columns={columns}
      rows={parts}
      rowKey={(part) => part.key}
      caption="Parts of resident memory"
      foot={foot}
    />
  );
}

const perObject = (stats) =>
  stats.heap_objects > 0 ? bytes(stats.heap_alloc_bytes / stats.heap_objects) : '–';

function NumberList({ numbers }) {
  return (
    <dl class="numbers">
      {numbers.map(([name, value, note]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd class="mono">{value}</dd>
          <dd class="note">{note}</dd>
        </div>
      ))}
    </dl>
  );
}

function Numbers({ process }) {
  const { stats } = process;
  const numbers = [
    ['live objects', count(stats.heap_objects), `${perObject(stats)} on average`],
    ['allocated so far', bytes(stats.total_alloc_bytes), `${count(stats.mallocs_total)} objects`],
    ['largest RSS', bytes(stats.max_resident_bytes), ''],
    [
      'obtained from the kernel',
      bytes(stats.sys_bytes),
      `${bytes(stats.heap_released_bytes)} of it given back`,
    ],
    ['samples', count(stats.samples_live), `live, one in ${bytes(process.rate_bytes)}`],
    ['foreign frees', count(stats.foreign_frees_total), 'of pointers Mallard never gave out'],
  ];
  return <NumberList numbers={numbers} />;
}

function Collector({ process }) {
  const numbers = collectorNumbers(process.collector);
  return (
    numbers.length > 0 && (
      <>
        <h2>Collected heap</h2>
        <NumberList numbers={numbers} />
      </>
    )
  );
}

export function MemoryView({ process }) {
  const { route } = usePage();
  return (
    <section aria-label="resident memory taken apart">
      <PartsSentence rss={process.rss} />
      <PartsBar rss={process.rss} />
      <PartsTable rss={process.rss} />
      <h2>Numbers</h2>
      <Numbers process={process} />
      <Collector process={process} />
      <Limits process={process} />
      <p class="next">
        <Link to={toView(route, 'heap')}>Who holds the live objects</Link>{' '}
        <Link to={toView(route, 'classes')}>What lies free between them</Link>{' '}
        <Link to={toView(route, 'timeline')}>How it came to this</Link>
      </p>
    </section>
  );
}
