// SPDX-License-Identifier: Apache-2.0
//
// Dark or light: what the system says, unless the person said otherwise here; that is remembered.
// Charts are canvases and must be told, so the theme in force is a value, not only a style.
import { useEffect, useState } from 'preact/hooks';

const KEY = 'mallard-theme';
const CHOICES = ['system', 'light', 'dark'];
const dark = matchMedia('(prefers-color-scheme: dark)');

function stored() {
  try {
    const choice = localStorage.getItem(KEY);
    return CHOICES.includes(choice) ? choice : 'system';
  } catch {
    return 'system';
  }
}

function store(choice) {
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // Storage may be forbidden; then the choice lasts as long as the page.
  }
}

const inForce = (choice) => (choice === 'system' ? (dark.matches ? 'dark' : 'light') : choice);

function apply(choice) {
  document.documentElement.dataset.theme = inForce(choice);
}
apply(stored());

// {theme: 'light'|'dark', choice, next()}
export function useTheme() {
  const [choice, setChoice] = useState(stored);
  const [theme, setTheme] = useState(() => inForce(choice));
  useEffect(() => {
    const update = () => {
      apply(choice);
      setTheme(inForce(choice));
    };
    store(choice);
    update();
    dark.addEventListener('change', update);
    return () => dark.removeEventListener('change', update);
  }, [choice]);
  const next = () =>
    setChoice((before) => CHOICES[(CHOICES.indexOf(before) + 1) % CHOICES.length]);
  return { theme, choice, next };
}

// The style sheet's variable, for canvases.
export const cssColor = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();
