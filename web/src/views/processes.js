// SPDX-License-Identifier: Apache-2.0
//
// All processes, alive and dead: where their memory stands, where it goes, and how the dead died.
import { useEffect, useMemo } from 'preact/hooks';
import { apiPath } from '../data/api.js';
import { usePage } from '../data/page.js';
import { usePoll } from '../data/poll.js';
import { bytes, count, shortDuration, signed } from '../model/format.js';
import { COLUMNS, select } from '../model/processes.js';
import { withParams } from '../model/route.js';
import { CellBar, Empty, Link, Problem, SearchField, Segmented } from '../ui/basics.js';
import { CommandsFoot } from '../ui/copy.js';
import { Table } from '../ui/table.js';

const REFRESH_MS = 2000;
const SHOWN = [
  { key: 'all', label: 'all' },
  { key: 'alive', label: 'alive' },
  { key: 'dead', label: 'dead' },
];

function NameCell({ process }) {
  const where = [
    process.unit,
    process.pod,
    process.container && `container ${process.container.slice(0, 12)}`,
  ].filter(Boolean);
  return (
    <span class="process-name">
      <Link to={{ view: 'memory', id: process.id, params: {} }} data-row>
        {process.name || `pid ${process.pid}`}
      </Link>
      {where.length > 0 && <span class="where">{where.join(' · ')}</span>}
      <span class="cmdline mono" title={process.cmdline}>
        {process.cmdline || process.exe}
      </span>
    </span>
  );
}

function GrowthCell({ process }) {
  const growth = process.growth_bytes_per_hour;
  if (growth === null)
    return (
      <span class="muted" title="too young to tell">
        –
      </span>
    );
  return <span class={growth > 0 ? 'grew' : ''}>{signed(bytes, growth)}</span>;
}

function StateCell({ process, now }) {
  if (process.alive) return <span class="state alive">running</span>;
  const ago = process.ended_unix_ns
    ? `${shortDuration((now - process.ended_unix_ns) / 1e9)} ago`
    : '';
  const kind = process.death ? process.death.kind : 'unknown';
  return (
    <span class="state-cell">
      <span class={`state ${kind === 'exited' ? 'ended' : 'dead'}`}>
        {kind === 'oom'
          ? 'OOM'
          : kind === 'signal'
            ? 'killed'
            : kind === 'exited'
              ? 'exited'
              : 'ended'}
      </span>
      <span class="death">
        {process.death ? process.death.sentence : 'nobody saw how it ended'}
        {ago && `, ${ago}`}
      </span>
    </span>
  );
}

function cells(now, largest) {
  return {
    name: (p) => <NameCell process={p} />,
    pid: (p) => p.pid,
    rss_bytes: (p) => (
      <span class="with-bar">
        {bytes(p.rss_bytes)}
        <CellBar share={p.live_bytes / largest} under={p.rss_bytes / largest} color="--part-live" />
      </span>
    ),
    live_bytes: (p) => (
      <span title={`${count(p.samples)} live samples`}>{bytes(p.live_bytes)}</span>
    ),
    growth_bytes_per_hour: (p) => <GrowthCell process={p} />,
    started_unix_ns: (p) => shortDuration(((p.ended_unix_ns || now) - p.started_unix_ns) / 1e9),
    state: (p) => <StateCell process={p} now={now} />,
  };
}

// Where the table's head has no room, on a phone.
function SortChoice({ sort, dir, set }) {
  return (
    <label class="moment sort-choice">
      <span>sort</span>
      <select value={sort} onChange={(event) => set({ sort: event.currentTarget.value })}>
        {COLUMNS.map((column) => (
          <option key={column.key} value={column.key}>
            {column.label}
          </option>
        ))}
      </select>
      <button
        type="button"
        onClick={() => set({ dir: dir === 'asc' ? 'desc' : 'asc' })}
        aria-label={dir === 'asc' ? 'ascending' : 'descending'}
      >
        {dir === 'asc' ? '↑' : '↓'}
      </button>
    </label>
  );
}

function NoProcesses({ document }) {
  return (
    <Empty title="No process runs under Mallard yet.">
      <p>Start one, and it appears here within a second:</p>
      <pre class="mono">
        mallard run -- your-program --its --arguments{'\n'}LD_PRELOAD=libmallard.so.0 your-program
      </pre>
      {document.daemon === false && (
        <p>
          This is the page of one process tree; <code>mallardd</code> shows all processes of a host.
        </p>
      )}
    </Empty>
  );
}

export function ProcessesView() {
  const { route, go } = usePage();
  const { data, error } = usePoll(apiPath('processes'), REFRESH_MS);
  const { params } = route;
  const sort = params.sort || 'rss_bytes';
  const dir = params.dir || 'desc';
  const rows = useMemo(
    () => (data ? select(data.processes, { ...params, sort, dir }) : []),
    [data, params],
  );
  const set = (patch) => go(withParams(route, patch));
  useEffect(() => {
    document.title = data ? `${data.host} · Mallard` : 'Mallard';
  }, [data && data.host]);

  if (!data) return error ? <Problem text={error} /> : <p class="muted">Asking the server…</p>;
  const now = data.now_unix_ns;
  const largest = Math.max(1, ...data.processes.map((p) => p.rss_bytes));
  const cell = cells(now, largest);
  const columns = COLUMNS.map((column) => ({
    ...column,
    cell: cell[column.key],
    class: `column-${column.key}`,
  }));
  const alive = data.processes.filter((p) => p.alive).length;
  return (
    <section aria-labelledby="processes-title">
      <div class="view-head">
        <h1 id="processes-title">
          Processes{' '}
          <span class="muted">
            {alive} alive, {data.processes.length - alive} dead
          </span>
        </h1>
        <div class="tools">
          <SearchField label="filter" param="filter" hint="filter: name, unit, user, death…" />
          <SortChoice sort={sort} dir={dir} set={set} />
          <Segmented
            label="which processes"
            options={SHOWN}
            value={params.show || 'all'}
            onChange={(show) => set({ show: show === 'all' ? '' : show })}
          />
        </div>
      </div>
      <Problem text={error} />
      {data.processes.length === 0 ? (
        <NoProcesses document={data} />
      ) : (
        <Table
          class="processes"
          columns={columns}
          rows={rows}
          rowKey={(p) => p.id}
          rowClass={(p) => (p.alive ? '' : 'is-dead')}
          sort={sort}
          dir={dir}
          onSort={(key, direction) => set({ sort: key, dir: direction })}
          caption="Processes under Mallard"
        />
      )}
      {data.processes.length > 0 && rows.length === 0 && (
        <Empty title="No process matches the filter.">
          <p>Clear the filter to see all {data.processes.length}.</p>
        </Empty>
      )}
      <CommandsFoot view="processes" />
    </section>
  );
}
