// SPDX-License-Identifier: Apache-2.0
//
// The address as the page's state: read when it changes, whoever changes it.
import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';
import { formatRoute, parseRoute } from '../model/route.js';

export function useRoute() {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const read = () => setRoute(parseRoute(location.hash));
    addEventListener('popstate', read);
    addEventListener('hashchange', read);
    return () => {
      removeEventListener('popstate', read);
      removeEventListener('hashchange', read);
    };
  }, []);
  const write = useCallback(
    (how) => (next) => {
      history[how](null, '', formatRoute(next));
      setRoute(parseRoute(location.hash));
    },
    [],
  );
  return {
    route,
    go: useMemo(() => write('pushState'), []),
    replace: useMemo(() => write('replaceState'), []),
  };
}
