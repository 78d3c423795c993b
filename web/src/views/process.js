// SPDX-License-Identifier: Apache-2.0
//
// The frame around the views of one process: who it is, how it is, and the way between the views.
import { useEffect, useRef } from 'preact/hooks';
import { apiPath } from '../data/api.js';
import { usePage } from '../data/page.js';
import { usePoll } from '../data/poll.js';
import { toView } from '../model/route.js';
import { Empty, Link, Problem } from '../ui/basics.js';
import { CommandsFoot } from '../ui/copy.js';
import { ClassesView } from './classes.js';
import { CommandsView } from './commands.js';
import { HeapView } from './heap.js';
import { Identity } from './identity.js';
import { MemoryView } from './memory.js';
import { TimelineView } from './timeline.js';
import { TraceView } from './trace.js';

const ALIVE_MS = 2000;

const TABS = [
  { view: 'memory', label: 'Memory', Body: MemoryView },
  { view: 'timeline', label: 'Time line', Body: TimelineView },
  { view: 'heap', label: 'Heap', Body: HeapView },
  { view: 'classes', label: 'Size classes', Body: ClassesView },
  { view: 'trace', label: 'Trace', Body: TraceView },
  { view: 'commands', label: 'Commands', Body: CommandsView },
];

function Tabs() {
  const { route } = usePage();
  const nav = useRef(null);
  // On a phone the tabs scroll; the chosen one must be seen.
  useEffect(() => {
    const { offsetLeft, offsetWidth } = nav.current.querySelector('[aria-current]');
    nav.current.scrollLeft =
      offsetLeft - nav.current.offsetLeft - (nav.current.clientWidth - offsetWidth) / 2;
  }, [route.view]);
  return (
    <nav class="tabs" ref={nav} aria-label="views of this process">
      {TABS.map(({ view, label }) => (
        <Link
          key={view}
          to={toView(route, view)}
          aria-current={route.view === view ? 'page' : undefined}
        >
          {label}
        </Link>
      ))}
    </nav>
  );
}

function Missing({ text }) {
  return (
    <>
      <Problem text={text} />
      <Empty title="This process cannot be shown.">
        <p>
          It may have ended cleanly, which leaves nothing behind, or its name in the address may be
          wrong. <Link to={{ view: 'processes', params: {} }}>All processes</Link>
        </p>
      </Empty>
    </>
  );
}

export function ProcessView() {
  const { route } = usePage();
  const path = apiPath('process', route.id);
  const { data, error, refresh } = usePoll(path, ALIVE_MS);
  useEffect(() => {
    document.title = data ? `${data.name} ${data.pid} · Mallard` : 'Mallard';
  }, [data && data.id]);
  if (!data) return error ? <Missing text={error} /> : <p class="muted">Asking the server…</p>;
  const { Body } = TABS.find((tab) => tab.view === route.view);
  return (
    <>
      <Identity process={data} />
      <Tabs />
      <Problem text={error} />
      <Body process={data} refresh={refresh} />
      {route.view !== 'commands' && <CommandsFoot view={route.view} />}
    </>
  );
}
