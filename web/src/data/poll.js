// SPDX-License-Identifier: Apache-2.0
//
// A document that is asked for again and again while it is on the screen.
//
// What arrived last stays visible through errors and while another tab is in front, when nothing is
// asked. A small cache lets a view that is opened again paint at once with what it showed before.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { get } from './api.js';

const CACHE_ENTRIES = 12;
const SLOWEST_MS = 30000;
const cache = new Map();

function remember(path, data) {
  cache.delete(path);
  cache.set(path, data);
  if (cache.size > CACHE_ENTRIES) cache.delete(cache.keys().next().value);
}

const fromCache = (path) => ({ path, data: path ? cache.get(path) : undefined, error: null });

// {data, error, refresh}. `path` null asks nothing; `everyMs` 0 asks once.
export function usePoll(path, everyMs = 0) {
  const [state, setState] = useState(() => fromCache(path));
  const again = useRef(() => {});
  const refresh = useCallback(() => again.current(), []);

  useEffect(() => {
    if (!path) return undefined;
    const abort = new AbortController();
    let timer = 0;
    let failures = 0;

    async function once() {
      clearTimeout(timer);
      try {
        const data = await get(path, abort.signal);
        remember(path, data);
        failures = 0;
        setState({ path, data, error: null });
      } catch (problem) {
        if (abort.signal.aborted) return;
        failures++;
        setState((old) => ({
          path,
          data: old.path === path ? old.data : cache.get(path),
          error: problem.message,
        }));
      }
      schedule();
    }
    // A server that does not answer is asked less and less often.
    function schedule() {
      const wait = Math.min(everyMs * 2 ** failures, Math.max(everyMs, SLOWEST_MS));
      if (everyMs > 0 && !abort.signal.aborted) timer = setTimeout(tick, wait);
    }
    function tick() {
      if (document.hidden) schedule();
      else once();
    }

    again.current = once;
    once();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [path, everyMs]);

  const current = state.path === path ? state : fromCache(path);
  return { data: current.data, error: current.error, refresh };
}
