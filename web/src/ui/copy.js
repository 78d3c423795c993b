// SPDX-License-Identifier: Apache-2.0
//
// Commands that can be copied. Where the clipboard is out of reach (plain HTTP on another host), the
// text is selected instead, so that Ctrl-C does it.
import { useRef, useState } from 'preact/hooks';
import { commandsFor } from '../model/commands.js';
import { usePage } from '../data/page.js';

const SAID_MS = 1500;

function selectText(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return 'copied';
  } catch {
    selectText(element);
    return 'selected: Ctrl-C';
  }
}

function Command({ label, text }) {
  const code = useRef(null);
  const [said, setSaid] = useState('');
  const onClick = async () => {
    setSaid(await copy(code.current));
    setTimeout(() => setSaid(''), SAID_MS);
  };
  return (
    <li class="command">
      <span class="command-label">{label}</span>
      <code ref={code} tabIndex={0}>
        {text}
      </code>
      <button type="button" class="quiet" onClick={onClick} aria-label={`copy: ${label}`}>
        {said || 'copy'}
      </button>
      <span class="visually-hidden" role="status">
        {said}
      </span>
    </li>
  );
}

export function CommandList({ commands }) {
  return (
    <ul class="commands">
      {commands.map((command) => (
        <Command key={command.label} {...command} />
      ))}
    </ul>
  );
}

// At the foot of each view: the commands for what is on the screen.
export function CommandsFoot({ view }) {
  const { route } = usePage();
  const commands = commandsFor(view, {
    origin: location.origin,
    id: route.id,
    params: route.params,
  });
  return (
    <details class="foot-commands">
      <summary>Commands for what is on the screen</summary>
      <CommandList commands={commands} />
    </details>
  );
}
