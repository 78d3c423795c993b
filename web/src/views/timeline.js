// SPDX-License-Identifier: Apache-2.0
//
// The classes of memory over time; from here two points go to the flame graph to be compared.
import { useMemo, useRef } from 'preact/hooks';
import { TimeChart } from '../chart/timechart.js';
import { apiPath } from '../data/api.js';
import { usePage } from '../data/page.js';
import { usePoll } from '../data/poll.js';
import { bytes, clock, duration, signed } from '../model/format.js';
import { growthOf, RANGES, rangeOf, seriesOf } from '../model/history.js';
import { toView, withParams } from '../model/route.js';
import { Empty, Link, Problem, Segmented } from '../ui/basics.js';

const POINTS = 1600;
const REFRESH_MS = 3000;
const COARSE_MS = 30000;
// What is asked for moves in steps, so that a living chart's address does not change every second.
const STEP_SECONDS = 10;
const COARSE_STEP_SECONDS = 60;
const SLOW_RANGES = ['6h', '24h', 'all'];
export const CHART_HEIGHT_PX = 340;

export function Growth({ series }) {
  const seconds = series.times[series.times.length - 1] - series.times[0];
  const change = (key) => {
    const growth = growthOf(series, key);
    return signed(bytes, growth.bytes) + (growth.hourly ? ' an hour' : '');
  };
  return (
    <p class="muted">
      {series.times.length} points over {duration(seconds)}; live heap {change('heap_alloc_bytes')},
      RSS {change('rss_bytes')} in this range. The top is RSS; where the allocator’s classes reserve
      more than is resident, all but the live objects are shown smaller, so that stacks and code
      keep what they have now.
    </p>
  );
}

function CompareBar({ route, profiles, set }) {
  const { at, base } = route.params;
  if (profiles.length === 0) {
    return (
      <p class="muted">
        No profile of this process is stored yet, so there is nothing to compare;{' '}
        <code>mallardd</code> stores one a minute.
      </p>
    );
  }
  return (
    <p class="compare-bar">
      {base ? (
        <>
          <Link class="button" to={{ ...toView(route, 'heap') }}>
            Compare A → B in the flame graph
          </Link>
          <span class="muted">
            A {clock(Number(base))}, B {at ? clock(Number(at)) : 'now'}
          </span>
          <button type="button" class="quiet" onClick={() => set({ base: '' })}>
            forget A
          </button>
        </>
      ) : (
        <span class="muted">
          Drag A (or focus it and use the arrow keys) to a point to compare with. It rests on stored
          profiles; there {profiles.length === 1 ? 'is one' : `are ${profiles.length}`}.
        </span>
      )}
      {at && (
        <button type="button" class="quiet" onClick={() => set({ at: '' })}>
          B to now
        </button>
      )}
    </p>
  );
}

// What was shown stays until what follows it is there: a living chart does not blink.
function useLast(data, id) {
  const last = useRef({});
  if (data) last.current = { id, data };
  return last.current.id === id ? last.current.data : undefined;
}

function useHistory(process, params) {
  const slow = SLOW_RANGES.includes(params.range);
  const step = slow ? COARSE_STEP_SECONDS : STEP_SECONDS;
  const end = process.alive
    ? Math.ceil(Date.now() / 1000 / step) * step
    : process.ended_unix_ns / 1e9;
  const range = rangeOf(params, end);
  const path = apiPath('history', process.id, {
    from: range.from && Math.floor(range.from),
    to: range.to && Math.ceil(range.to),
    points: POINTS,
  });
  const poll = usePoll(path, process.alive ? (slow ? COARSE_MS : REFRESH_MS) : 0);
  return { error: poll.error, data: useLast(poll.data, process.id), range };
}

export function TimelineView({ process }) {
  const { route, go, theme } = usePage();
  const { data, error, range } = useHistory(process, route.params);
  const series = useMemo(() => data && seriesOf(data, process.rss), [data]);
  const set = (patch) => go(withParams(route, patch));
  const compare = {
    a: route.params.base ? Number(route.params.base) : null,
    b: route.params.at ? Number(route.params.at) : null,
    setA: (base) => set({ base }),
    setB: (at) => set({ at }),
  };
  return (
    <section aria-label="time line">
      <div class="tools">
        <Segmented
          label="range"
          options={RANGES}
          value={range.key}
          onChange={(key) => set({ range: key, from: '', to: '' })}
        />
        {range.key === 'zoom' && (
          <button type="button" onClick={() => set({ from: '', to: '' })}>
            zoom out
          </button>
        )}
        <span class="muted">drag to zoom, double click to zoom out</span>
      </div>
      <Problem text={error} />
      {series && series.times.length < 2 && (
        <Empty title="There is no history in this range yet.">
          <p>
            A row is written every second while the process runs; wait a moment, or choose another
            range.
          </p>
        </Empty>
      )}
      {series && series.times.length >= 2 && (
        <>
          <TimeChart
            series={series}
            events={data.events}
            profiles={process.profiles || []}
            range={range}
            theme={theme}
            height={CHART_HEIGHT_PX}
            compare={compare}
            onZoom={(from, to) => set({ from: Math.floor(from), to: Math.ceil(to) })}
            onReset={() => set({ from: '', to: '' })}
          />
          <CompareBar route={route} profiles={process.profiles || []} set={set} />
          <Growth series={series} />
        </>
      )}
      {!data && !error && <p class="muted">Asking the server…</p>}
    </section>
  );
}
