// SPDX-License-Identifier: Apache-2.0
//
// The trace lines as they come. Only what is new is asked for; a pause stops the asking, and nothing
// is lost by it as long as the process's ring has not gone round.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { apiPath, get } from '../data/api.js';
import { usePage } from '../data/page.js';
import { count } from '../model/format.js';
import { matcherOf } from '../model/search.js';
import { Empty, Problem, SearchField } from '../ui/basics.js';

const POLL_MS = 1000;
const LINES_KEPT = 5000;
const NEAR_END_PX = 30;

function useTrace(id, paused, alive) {
  const [state, setState] = useState({ lines: [], error: null, asked: false });
  const cursor = useRef('');
  useEffect(() => {
    cursor.current = '';
    setState({ lines: [], error: null, asked: false });
  }, [id]);
  useEffect(() => {
    if (paused) return undefined;
    const abort = new AbortController();
    let timer = 0;
    const ask = async () => {
      try {
        const answer = await get(apiPath('trace', id, { cursor: cursor.current }), abort.signal);
        cursor.current = answer.cursor;
        setState((old) => ({
          lines: old.lines.concat(answer.lines).slice(-LINES_KEPT),
          error: null,
          asked: true,
        }));
      } catch (problem) {
        if (abort.signal.aborted) return;
        setState((old) => ({ ...old, error: problem.message }));
      }
      if (alive && !abort.signal.aborted) timer = setTimeout(ask, POLL_MS);
    };
    ask();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [id, paused, alive]);
  return state;
}

const kindOf = (line) => /^(gc|scav)\b/.exec(line)?.[1] || 'other';

export function TraceLines({ lines, follow }) {
  const list = useRef(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (follow && atEnd.current) list.current.scrollTop = list.current.scrollHeight;
  }, [lines]);
  const scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = list.current;
    atEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  };
  return (
    <ol class="trace mono" ref={list} onScroll={scrolled} tabIndex={0} aria-label="trace lines">
      {lines.map((line, i) => (
        <li key={i} class={kindOf(line)}>
          {line}
        </li>
      ))}
    </ol>
  );
}

export function TraceView({ process }) {
  const { route } = usePage();
  const [paused, setPaused] = useState(false);
  const { lines, error, asked } = useTrace(route.id, paused, process.alive);
  const matcher = matcherOf(route.params.filter);
  const shown = matcher ? lines.filter((line) => matcher.test(line)) : lines;
  return (
    <section aria-label="trace">
      <div class="tools">
        {process.alive && (
          <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
            {paused ? 'resume' : 'pause'}
          </button>
        )}
        <SearchField
          label="filter lines"
          param="filter"
          hint="filter: text or regular expression"
        />
        <span class="muted">
          {count(shown.length)} of {count(lines.length)} lines{paused ? ', paused' : ''}
        </span>
      </div>
      <Problem text={error} />
      {!asked && !error && <p class="muted">Asking the server…</p>}
      {asked && lines.length === 0 && (
        <Empty title="No trace line yet.">
          <p>A line is written when memory goes back to the kernel and after each collection.</p>
        </Empty>
      )}
      {lines.length > 0 && <TraceLines lines={shown} follow />}
      {lines.length > 0 && shown.length === 0 && <p class="muted">No line matches the filter.</p>}
    </section>
  );
}
