// SPDX-License-Identifier: Apache-2.0
//
// What can be done from here: knobs of the running process, which ask before they act, and the
// commands that show the same things in a terminal.
import { useState } from 'preact/hooks';
import { post } from '../data/api.js';
import { usePage } from '../data/page.js';
import { commandsFor } from '../model/commands.js';
import { knobsOf, problemWith, requestOf } from '../model/knobs.js';
import { Problem } from '../ui/basics.js';
import { CommandList } from '../ui/copy.js';
import { Dialog } from '../ui/dialog.js';

const GROUPS = [
  { view: 'heap', title: 'The heap, as chosen under Heap' },
  { view: 'timeline', title: 'The time line' },
  { view: 'memory', title: 'The numbers' },
  { view: 'classes', title: 'Size classes and spans' },
  { view: 'trace', title: 'The trace' },
];

function KnobDialog({ knob, process, onClose, onDone }) {
  const [text, setText] = useState(knob.initial ? String(knob.initial(process)) : '');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  const act = async (event) => {
    event.preventDefault();
    const wrong = problemWith(knob, text);
    setProblem(wrong);
    if (wrong || busy) return;
    setBusy(true);
    try {
      onDone(`${knob.label}: ${knob.answer(await post(requestOf(knob, process.id, text)))}`);
    } catch (failure) {
      setBusy(false);
      setProblem(failure.message);
    }
  };
  return (
    <Dialog title={`${knob.label}?`} onClose={onClose}>
      <form onSubmit={act}>
        <p>{knob.ask}</p>
        <p class="muted">
          Process {process.pid}, {process.name}.
        </p>
        {knob.parameter && (
          <label class="field">
            {knob.unit}{' '}
            <input
              inputMode="numeric"
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </label>
        )}
        <Problem text={problem} />
        <p class="dialog-buttons">
          <button type="button" onClick={onClose}>
            cancel
          </button>
          <button type="submit" class="primary" disabled={busy}>
            {busy ? 'asking…' : knob.label}
          </button>
        </p>
      </form>
    </Dialog>
  );
}

function Knobs({ process, refresh }) {
  const [asking, setAsking] = useState(null);
  const [answer, setAnswer] = useState('');
  const done = (text) => {
    setAnswer(text);
    setAsking(null);
    refresh();
  };
  return (
    <div class="knobs">
      <h2>Knobs</h2>
      {process.can_command ? (
        <div class="tools">
          {knobsOf(process).map((knob) => (
            <button type="button" key={knob.name} onClick={() => setAsking(knob)}>
              {knob.label}…
            </button>
          ))}
        </div>
      ) : (
        <p class="muted">
          {process.alive
            ? 'This process does not take commands from this user.'
            : 'The process has ended; there is nothing left to change.'}
        </p>
      )}
      <p role="status" class={answer ? 'answer' : ''}>
        {answer}
      </p>
      {asking && (
        <KnobDialog knob={asking} process={process} onClose={() => setAsking(null)} onDone={done} />
      )}
    </div>
  );
}

export function CommandsView({ process, refresh }) {
  const { route } = usePage();
  const context = { origin: location.origin, id: route.id, params: route.params };
  return (
    <section aria-label="commands and knobs">
      <Knobs process={process} refresh={refresh} />
      <h2>Commands</h2>
      <p class="muted">
        Where the server wants a token, add <code>-H 'Authorization: Bearer TOKEN'</code> to curl,
        and write the address for pprof as <code>http://any:TOKEN@…</code>.
      </p>
      {GROUPS.map(({ view, title }) => (
        <div key={view}>
          <h3>{title}</h3>
          <CommandList commands={commandsFor(view, context)} />
        </div>
      ))}
    </section>
  );
}
