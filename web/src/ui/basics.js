// SPDX-License-Identifier: Apache-2.0
//
// The small things that every view is made of.
import { formatRoute } from '../model/route.js';
import { usePage } from '../data/page.js';

export function Link({ to, children, ...rest }) {
  return (
    <a href={formatRoute(to)} {...rest}>
      {children}
    </a>
  );
}

// One sentence, where the thing would have been; with a button for what does not try again by itself.
export function Problem({ text, retry }) {
  if (!text) return null;
  return (
    <p class="problem" role="alert">
      {sentence(text)}
      {retry && (
        <button type="button" onClick={() => retry()}>
          try again
        </button>
      )}
    </p>
  );
}

function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

export function Empty({ title, children }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

// A choice of few: one is pressed. `options` are {key, label}.
export function Segmented({ label, options, value, onChange }) {
  return (
    <div class="segmented" role="group" aria-label={label}>
      {options.map((option) => (
        <button
          type="button"
          key={option.key}
          aria-pressed={option.key === value}
          title={option.title}
          onClick={() => onChange(option.key)}
        >
          {option.label}
        </button>
      ))}
    </div>
  );
}

// Text in a field that is part of the address.
export function SearchField({ label, param, hint }) {
  const { route, replace } = usePage();
  return (
    <label class="search">
      <span class="visually-hidden">{label}</span>
      <input
        type="search"
        value={route.params[param] || ''}
        placeholder={hint || label}
        data-search
        autocomplete="off"
        spellcheck={false}
        onInput={(event) =>
          replace({ ...route, params: { ...route.params, [param]: event.currentTarget.value } })
        }
      />
    </label>
  );
}

export function Swatch({ color }) {
  return <span class="swatch" style={{ background: `var(${color})` }} aria-hidden="true" />;
}

// A thin bar in a table cell; the number beside it says the same.
export function CellBar({ share, color = '--accent', under }) {
  const width = (value) => `${Math.max(0, Math.min(1, value || 0)) * 100}%`;
  return (
    <span class="cell-bar" aria-hidden="true">
      {under !== undefined && <span class="cell-bar-under" style={{ width: width(under) }} />}
      <span class="cell-bar-fill" style={{ width: width(share), background: `var(${color})` }} />
    </span>
  );
}
