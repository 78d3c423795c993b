// SPDX-License-Identifier: Apache-2.0
//
// The time line as a part of the page: the chart, the numbers under the cursor, and the two handles
// A and B that choose the points to compare. Handles rest only on stored profiles, because nothing
// can be compared between them; they are sliders, so arrow keys step from profile to profile.
import { useEffect, useRef, useState } from 'preact/hooks';
import { collectorAt } from '../model/collector.js';
import { bytes, clock, count, dateClock } from '../model/format.js';
import { nearestProfile, stepProfile } from '../model/history.js';
import { TIME_LINE_PARTS } from '../model/parts.js';
import { Swatch } from '../ui/basics.js';
import { useWidth } from '../ui/width.js';
import { TimeLine } from './timeline.js';

const EVENTS_SHOWN = 2;

// Where the collector stood at a row: how many cycles it had made, and where the next one was due.
function CollectorReadout({ row }) {
  const collector = collectorAt(row);
  return (
    collector && (
      <li>
        collections <span class="mono">{count(collector.cycles)}</span>
        {collector.goal !== null && (
          <>
            , next at <span class="mono">{bytes(collector.goal)}</span>
          </>
        )}
      </li>
    )
  );
}

// Every process has stacks and code: none of them means that they could not be told apart.
const partText = (part, value) =>
  part.key === 'other' && value < 1 ? 'not known' : bytes(value);

function Readout({ series, index, events, counts }) {
  const at = index >= 0 && index < series.times.length ? index : series.times.length - 1;
  return (
    <div class="readout">
      <p class="readout-time">
        <span class="mono">{dateClock(series.times[at])}</span>
        <span>
          RSS <b class="mono">{bytes(series.rss[at])}</b>
        </span>
      </p>
      <ul class="legend">
        {TIME_LINE_PARTS.map((part, i) => (
          <li key={part.key}>
            <Swatch color={part.color} />
            {part.label} <span class="mono">{partText(part, series.parts[i][at])}</span>
          </li>
        ))}
        <CollectorReadout row={series.rows[at]} />
        {counts.gc > 0 && (
          <li>
            <span class="mark-up" aria-hidden="true">
              ▲
            </span>{' '}
            collections <span class="mono">{counts.gc}</span>
          </li>
        )}
        {counts.scav > 0 && (
          <li>
            <span class="mark-down" aria-hidden="true">
              ▼
            </span>{' '}
            memory returned <span class="mono">{counts.scav}</span> times
          </li>
        )}
      </ul>
      {counts.gc + counts.scav > 0 && (
        <p class="readout-events mono">
          {events.slice(0, EVENTS_SHOWN).map((event) => (
            <span key={event.unix_ns + event.kind}>
              {clock(event.unix_ns / 1e9)} {event.text}
            </span>
          ))}
          {events.length > EVENTS_SHOWN && (
            <span>and {events.length - EVENTS_SHOWN} more here</span>
          )}
        </p>
      )}
    </div>
  );
}

const KEY_STEPS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 };

function Handle({ name, meaning, seconds, unset, chart, profiles, onMove }) {
  const [dragged, setDragged] = useState(null);
  const shown = dragged ?? seconds;
  const move = (event) => {
    const nearest = nearestProfile(profiles, chart.timeAt(event.clientX));
    if (nearest) setDragged(nearest.unix_s);
  };
  const down = (event) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    setDragged(shown);
  };
  const up = () => {
    if (dragged !== null && dragged !== seconds) onMove(dragged);
    setDragged(null);
  };
  const keys = (event) => {
    const steps = KEY_STEPS[event.key];
    const target = steps && stepProfile(profiles, shown, steps);
    if (!target) return;
    onMove(target.unix_s);
    event.preventDefault();
  };
  const text = unset ? 'not set' : dateClock(shown);
  return (
    <div
      class={`handle ${name === 'A' ? 'handle-a' : 'handle-b'} ${unset && dragged === null ? 'unset' : ''}`}
      style={{ left: `${chart.leftOf(shown)}px` }}
      role="slider"
      tabIndex={0}
      aria-label={`${name}: ${meaning}`}
      aria-valuetext={text}
      aria-valuenow={Math.round(shown)}
      aria-valuemin={profiles[0].unix_s}
      aria-valuemax={profiles[profiles.length - 1].unix_s}
      onPointerDown={down}
      onPointerMove={(event) => dragged !== null && move(event)}
      onPointerUp={up}
      onPointerCancel={() => setDragged(null)}
      onKeyDown={keys}
    >
      <span class="handle-grip">{name}</span>
    </div>
  );
}

// `compare`: null, or {a, b, setA(unix_s), setB(unix_s)} where a null means "not set" and b null "now".
export function TimeChart({
  series,
  events,
  profiles,
  range,
  theme,
  height,
  compare,
  onZoom,
  onReset,
}) {
  const host = useRef(null);
  const chart = useRef(null);
  const width = useWidth(host);
  const [cursor, setCursor] = useState({ index: -1, events: [] });
  const [, drawn] = useState(0);
  const calls = useRef({});
  calls.current = { onZoom, onReset };

  useEffect(() => {
    const line = new TimeLine(host.current, {
      onCursor: (index, seconds) => setCursor({ index, events: line.eventsNear(seconds) }),
      onZoom: (from, to) => calls.current.onZoom(from, to),
      onReset: () => calls.current.onReset(),
      onDraw: () => drawn((n) => n + 1),
    });
    chart.current = line;
    return () => line.destroy();
  }, [theme]);
  useEffect(() => {
    if (width > 0) chart.current.set({ series, events, profiles, range }, width, height);
  }, [series, events, profiles, range, width, height, theme]);

  const keys = (event) => {
    if (event.target !== event.currentTarget) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
    if (!steps) return;
    chart.current.moveCursor(steps);
    event.preventDefault();
  };
  const ready = chart.current && chart.current.plot && profiles.length > 0 && compare;
  const end = series.times[series.times.length - 1];
  const gc = events.filter((event) => event.kind === 'gc').length;
  const counts = { gc, scav: events.length - gc };
  return (
    <div class="timechart">
      <div
        class="timechart-plot"
        tabIndex={0}
        role="group"
        onKeyDown={keys}
        aria-label="Time line of memory classes. Arrow keys move the cursor; the numbers follow below."
      >
        <div ref={host} />
        {ready && (
          <Handle
            name="A"
            meaning="compare with this point"
            unset={compare.a === null}
            seconds={compare.a ?? series.times[0]}
            chart={chart.current}
            profiles={profiles}
            onMove={compare.setA}
          />
        )}
        {ready && (
          <Handle
            name="B"
            meaning="the point that is shown"
            unset={compare.b === null}
            seconds={compare.b ?? end}
            chart={chart.current}
            profiles={profiles}
            onMove={compare.setB}
          />
        )}
      </div>
      <Readout series={series} index={cursor.index} events={cursor.events} counts={counts} />
    </div>
  );
}
