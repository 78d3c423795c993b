// SPDX-License-Identifier: Apache-2.0
//
// The page as a whole: reads the address, chooses the view, and has what belongs to none of them: the
// bar at the top, the theme, the keys.
import { useCallback, useLayoutEffect, useMemo, useState } from 'preact/hooks';
import { PageContext } from './data/page.js';
import { useRoute } from './data/route.js';
import { toView, VIEWS } from './model/route.js';
import { Link } from './ui/basics.js';
import { Dialog } from './ui/dialog.js';
import { useTheme } from './ui/theme.js';
import { ProcessesView } from './views/processes.js';
import { ProcessView } from './views/process.js';

const KEYS = [
  ['/', 'to the filter or search field'],
  ['1 … 6', 'the views of a process'],
  ['g', 'to the list of processes'],
  ['↑ ↓ or j k', 'between the rows of a table'],
  ['← ↑ ↓ →', 'in the flame graph, the time line and the map of spans'],
  ['Enter, Escape', 'zoom into a frame, and out'],
  ['s', 'callers and callees of the frame'],
  ['t', 'theme: as the system, light, dark'],
  ['?', 'this help'],
];

function ThemeButton({ choice, next }) {
  return (
    <button type="button" class="quiet" onClick={next} title="theme">
      theme: {choice}
    </button>
  );
}

function Help({ onClose }) {
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="dialog-buttons">
        <button type="button" onClick={onClose}>
          close
        </button>
      </p>
    </Dialog>
  );
}

const isTyping = (target) => ['INPUT', 'SELECT', 'TEXTAREA'].includes(target.tagName);

// A layout effect: a key that follows at once means what is on the screen by then.
function useKeys({ route, go, nextTheme, openHelp }) {
  useLayoutEffect(() => {
    const pressed = (event) => {
      if (
        event.ctrlKey ||
        event.metaKey ||
        event.altKey ||
        isTyping(event.target) ||
        document.querySelector('dialog[open]')
      )
        return;
      const view = route.id && VIEWS[Number(event.key) - 1];
      const actions = {
        '/': () => document.querySelector('[data-search]')?.focus(),
        g: () => go({ view: 'processes', params: {} }),
        t: nextTheme,
        '?': openHelp,
      };
      const action = view ? () => go(toView(route, view)) : actions[event.key];
      if (!action || event.defaultPrevented) return;
      action();
      event.preventDefault();
    };
    addEventListener('keydown', pressed);
    return () => removeEventListener('keydown', pressed);
  }, [route, go, nextTheme, openHelp]);
}

export function App() {
  const { route, go, replace } = useRoute();
  const { theme, choice, next } = useTheme();
  const [help, setHelp] = useState(false);
  const openHelp = useCallback(() => setHelp(true), []);
  useKeys({ route, go, nextTheme: next, openHelp });
  const page = useMemo(() => ({ route, go, replace, theme }), [route, go, replace, theme]);
  return (
    <PageContext.Provider value={page}>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById('main').focus();
        }}
      >
        to the content
      </a>
      <div class="top">
        <Link class="brand" to={{ view: 'processes', params: {} }}>
          Mallard
        </Link>
        {route.id && (
          <Link to={{ view: 'processes', params: {} }}>
            ← all<span class="wide-only"> processes</span>
          </Link>
        )}
        <span class="spring" />
        <ThemeButton choice={choice} next={next} />
        <button type="button" class="quiet" onClick={openHelp} aria-label="keys">
          ?
        </button>
      </div>
      <main id="main" tabIndex={-1}>
        {route.view === 'processes' ? <ProcessesView /> : <ProcessView key={route.id} />}
      </main>
      {help && <Help onClose={() => setHelp(false)} />}
    </PageContext.Provider>
  );
}
