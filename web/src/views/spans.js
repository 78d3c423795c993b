// SPDX-License-Identifier: Apache-2.0
//
// The map of spans by occupancy, and the call sites behind the most free bytes.
import { useMemo, useState } from 'preact/hooks';
import { occupancyColor, SpanMap } from '../chart/spanmap.js';
import { apiPath } from '../data/api.js';
import { usePage } from '../data/page.js';
import { usePoll } from '../data/poll.js';
import { bytes, count, dateClock, percent } from '../model/format.js';
import { withParams } from '../model/route.js';
import { cellOf, ORDERS, pinners, sortSpans, spansOf, stackNames } from '../model/spans.js';
import { Empty, Problem, Segmented } from '../ui/basics.js';
import { Table } from '../ui/table.js';

const PINNERS_SHOWN = 12;
const FRAMES_SHOWN = 4;
const className = (map, cls) =>
  map.classes[cls] ? `${bytes(map.classes[cls])} objects` : 'one large object';

function CellText({ map, cell }) {
  const [span] = cell.members;
  if (!span) return null;
  if (cell.members.length > 1) {
    return (
      <>
        {cell.members.length} spans, {bytes(cell.bytes)}, {percent(cell.occupancy, 1)} live,{' '}
        {bytes(cell.free)} free
      </>
    );
  }
  return (
    <>
      {className(map, span.cls)}: {count(span.live)} of {count(span.capacity)} live (
      {percent(span.occupancy, 1)}), {bytes(span.bytes)} at 0x
      {(span.page * map.page_bytes).toString(16)}
    </>
  );
}

// Whose object keeps the cell's pages: of several spans, that of the emptiest.
function PinText({ map, cell }) {
  const pinned = cell.members
    .filter((span) => span.pin >= 0)
    .sort((a, b) => a.occupancy - b.occupancy)[0];
  if (!pinned)
    return <span class="muted">no sampled object in it, so who pins it is not known</span>;
  return (
    <>
      pinned by{' '}
      <span class="mono">
        {stackNames(map.pins, pinned.pin)
          .slice(0, FRAMES_SHOWN)
          .map((frame) => frame.name)
          .join(' ← ')}
      </span>
    </>
  );
}

function Legend() {
  return (
    <p class="map-legend">
      <span>empty</span>
      <span class="map-scale" aria-hidden="true">
        {[0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => (
          <span key={share} style={{ background: occupancyColor(share) }} />
        ))}
      </span>
      <span>full</span>
    </p>
  );
}

function Pinners({ map, spans }) {
  const sites = useMemo(() => pinners(spans).slice(0, PINNERS_SHOWN), [spans]);
  if (sites.length === 0) return null;
  const columns = [
    { key: 'free', label: 'free behind it', cell: (site) => bytes(site.free) },
    { key: 'spans', label: 'spans', cell: (site) => count(site.spans) },
    {
      key: 'site',
      label: 'call site that pins them',
      text: true,
      class: 'wide',
      cell: (site) => {
        const frames = stackNames(map.pins, site.pin);
        return (
          <span class="pin-stack mono" title={frames.map((frame) => frame.name).join('\n')}>
            {frames
              .slice(0, FRAMES_SHOWN)
              .map((frame) => frame.name)
              .join(' ← ')}
          </span>
        );
      },
    },
  ];
  return (
    <>
      <h2>Who pins what</h2>
      <p class="muted">
        Of a span that is partly free only whole pages without objects go back. Sampled live objects of these call sites stand
        in partly free spans.
      </p>
      <Table
        columns={columns}
        rows={sites}
        rowKey={(site) => site.pin}
        caption="Call sites that pin spans"
      />
    </>
  );
}

function Shown({ map, layout, order }) {
  const thinned =
    map.stride > 1
      ? `; the process has ${count(map.total)} spans, every ${count(map.stride)}th is here`
      : '';
  const merged =
    layout && layout.perCell > 1
      ? `one cell is ${layout.perCell} spans, because there are more than fit`
      : 'one cell is one span';
  return (
    <p class="muted">
      {count(map.spans.length)} spans by {order === 'class' ? 'size class' : order}; {merged}
      {thinned}. Taken {dateClock(map.taken_unix_ns / 1e9)}. A span is a run of pages that holds objects
      of one size.
    </p>
  );
}

function OccupancyMap({ map, refresh, alive }) {
  const { route, go, theme } = usePage();
  const order = route.params.spans || 'address';
  const spans = useMemo(() => sortSpans(spansOf(map), order), [map, order]);
  const [layout, setLayout] = useState(null);
  const [cell, setCell] = useState(-1);
  const at = (index, perCell) => cellOf(spans, index, perCell);
  const shown = cell >= 0 && layout ? at(cell, layout.perCell) : null;
  return (
    <>
      <div class="tools">
        <Segmented
          label="order of spans"
          options={ORDERS}
          value={order}
          onChange={(key) => go(withParams(route, { spans: key }))}
        />
        <Legend />
        {alive && (
          <button type="button" onClick={() => refresh()}>
            take again
          </button>
        )}
      </div>
      <Shown map={map} layout={layout} order={order} />
      <div class="map-detail">
        {shown ? (
          <>
            <p>
              <CellText map={map} cell={shown} />
            </p>
            <p>
              <PinText map={map} cell={shown} />
            </p>
          </>
        ) : (
          <p class="muted">Point at a cell, or focus the map and use the arrow keys.</p>
        )}
      </div>
      <SpanMap
        spans={spans}
        theme={theme}
        label="Map of spans by occupancy"
        onLayout={setLayout}
        onCell={setCell}
        describe={(index, perCell) =>
          `${percent(at(index, perCell).occupancy, 1)} live, ${bytes(at(index, perCell).free)} free`
        }
      />
      <Pinners map={map} spans={spans} />
    </>
  );
}

export function Spans({ process }) {
  const { data, error, refresh } = usePoll(apiPath('spans', process.id));
  return (
    <>
      <h2>Spans by occupancy</h2>
      {(data || process.alive) && (
        <Problem text={error} retry={process.alive ? refresh : undefined} />
      )}
      {!data && !error && <p class="muted">Asking the process…</p>}
      {error && !data && (
        <Empty title="There is no map of this process.">
          <p>
            A map is made by the process itself when it is asked; one that is dead, or that does not
            listen, has none unless it was asked before.
          </p>
        </Empty>
      )}
      {data && data.spans.length === 0 && <Empty title="No span is in use." />}
      {data && data.spans.length > 0 && (
        <OccupancyMap map={data} refresh={refresh} alive={process.alive} />
      )}
    </>
  );
}
