// SPDX-License-Identifier: Apache-2.0
//
// One process on one page, from first to last: why it died, what its memory was made of, how it came
// to that, who held it, and its last words.
import { useMemo } from 'preact/hooks';
import { TimeChart } from '../chart/timechart.js';
import { PageContext } from '../data/page.js';
import { useRoute } from '../data/route.js';
import { dateClock } from '../model/format.js';
import { rangeOf, seriesOf } from '../model/history.js';
import { takenAt } from '../model/profile.js';
import { withParams } from '../model/route.js';
import { Empty, Problem } from '../ui/basics.js';
import { useTheme } from '../ui/theme.js';
import { HeapExplorer } from './explorer.js';
import { Limits } from './limits.js';
import { PartsBar, PartsSentence, PartsTable } from './memory.js';
import { Identity } from './identity.js';
import { CHART_HEIGHT_PX, Growth } from './timeline.js';
import { TraceLines } from './trace.js';

function History({ history, rss, theme, route, go }) {
  const series = useMemo(() => seriesOf(history, rss), [history]);
  if (series.times.length < 2)
    return <p class="muted">The process did not live long enough to leave a history.</p>;
  const set = (patch) => go(withParams(route, patch));
  const range = rangeOf({ range: 'all', ...route.params }, series.times[series.times.length - 1]);
  return (
    <>
      <TimeChart
        series={series}
        events={history.events || []}
        profiles={[]}
        range={range}
        theme={theme}
        height={CHART_HEIGHT_PX}
        compare={null}
        onZoom={(from, to) => set({ from: Math.floor(from), to: Math.ceil(to) })}
        onReset={() => set({ from: '', to: '' })}
      />
      <Growth series={series} />
    </>
  );
}

function Heap({ profile, process }) {
  if (!profile || profile.samples.length === 0)
    return <p class="muted">No sample of the heap was kept.</p>;
  return (
    <>
      <p class="muted">taken {dateClock(takenAt(profile, process, ''))}</p>
      <HeapExplorer profile={profile} before={null} />
    </>
  );
}

function Trace({ trace }) {
  const lines = trace ? trace.lines : [];
  return lines.length > 0 ? (
    <TraceLines lines={lines} follow />
  ) : (
    <p class="muted">No trace line was written.</p>
  );
}

export function Report({ data }) {
  const { route, go, replace } = useRoute();
  const { theme, choice, next } = useTheme();
  const page = useMemo(() => ({ route, go, replace, theme }), [route, go, replace, theme]);
  if (!data || !data.process) {
    return (
      <main>
        <Problem text="this file holds no data of a process" />
        <Empty title="An empty report.">
          <p>
            Make one with <code>mallard report PID -o report.html</code>.
          </p>
        </Empty>
      </main>
    );
  }
  const { process, history, profile, trace } = data;
  document.title = `${process.name} ${process.pid} · Mallard report`;
  return (
    <PageContext.Provider value={page}>
      <div class="top">
        <span class="brand">Mallard report</span>
        <span class="spring" />
        <button type="button" class="quiet" onClick={next}>
          theme: {choice}
        </button>
      </div>
      <main class="report">
        <Identity process={process} />
        <section>
          <h2>Resident memory</h2>
          <PartsSentence rss={process.rss} />
          <PartsBar rss={process.rss} />
          <PartsTable rss={process.rss} />
        </section>
        <Limits process={process} />
        <section>
          <h2>Time line</h2>
          {history ? (
            <History history={history} rss={process.rss} theme={theme} route={route} go={go} />
          ) : (
            <p class="muted">No history was kept.</p>
          )}
        </section>
        <section>
          <h2>The last heap</h2>
          <Heap profile={profile} process={process} />
        </section>
        <section>
          <h2>Trace</h2>
          <Trace trace={trace} />
        </section>
      </main>
    </PageContext.Provider>
  );
}
