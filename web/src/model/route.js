// SPDX-License-Identifier: Apache-2.0
//
// The URL's hash is the page's state. "#/p/12.345/flame?value=inuse_space&at=1700000000" reads as
// {view: 'flame', id: '12.345', params: {value: …, at: …}}; formatting and parsing are inverses for
// every state the page can make, so an address can be pasted to a colleague.
//
// What is unknown is not an error: an unknown view is the overview, unknown parameters are kept.

export const VIEWS = ['memory', 'timeline', 'heap', 'classes', 'trace', 'commands'];

// What a view hands on to its neighbours: the points compared, what is measured, the time shown.
const SHARED = ['value', 'at', 'base', 'range', 'from', 'to'];

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function parseRoute(hash) {
  const text = hash.replace(/^#/, '');
  const cut = text.indexOf('?');
  const path = (cut < 0 ? text : text.slice(0, cut)).split('/').filter(Boolean).map(decode);
  const params = Object.fromEntries(new URLSearchParams(cut < 0 ? '' : text.slice(cut + 1)));
  if (path[0] === 'p' && path[1]) {
    const view = VIEWS.includes(path[2]) ? path[2] : 'memory';
    return { view, id: path[1], params };
  }
  return { view: 'processes', id: '', params };
}

export function formatRoute({ view, id, params }) {
  const path = view === 'processes' ? '/' : `/p/${encodeURIComponent(id)}/${view}`;
  const query = new URLSearchParams();
  for (const key of Object.keys(params || {}).sort()) {
    const value = params[key];
    if (value !== undefined && value !== null && value !== '') query.set(key, value);
  }
  const text = query.toString();
  return `#${path}${text ? `?${text}` : ''}`;
}

export function withParams(route, patch) {
  return { ...route, params: { ...route.params, ...patch } };
}

export function toView(route, view) {
  const params = {};
  for (const key of SHARED) if (route.params[key] !== undefined) params[key] = route.params[key];
  return { view, id: route.id, params };
}
