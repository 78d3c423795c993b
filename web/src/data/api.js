// SPDX-License-Identifier: Apache-2.0
//
// Asks the server. Whatever goes wrong becomes an Error whose message is one sentence for people:
// the server's own {"error"}, or what can be said without it.

async function sentenceOf(response) {
  try {
    const { error } = await response.json();
    if (error) return error;
  } catch {
    // Not JSON: a proxy's page, perhaps. The status says enough.
  }
  return `the server answered ${response.status} ${response.statusText}`.trim();
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: 'same-origin', ...options });
  } catch (problem) {
    if (problem.name === 'AbortError') throw problem;
    throw new Error('the server does not answer');
  }
  if (!response.ok) throw new Error(await sentenceOf(response));
  try {
    return await response.json();
  } catch (problem) {
    if (problem.name === 'AbortError') throw problem;
    throw new Error('the server’s answer is not what this page understands');
  }
}

export const get = (path, signal) => ask(path, { signal });
export const post = (path) => ask(path, { method: 'POST' });

// "what?proc=ID&…" with what is known left in and the rest left out.
export function apiPath(what, id, query = {}) {
  const params = new URLSearchParams();
  if (id) params.set('proc', id);
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') params.set(key, value);
  }
  const text = params.toString();
  return `/api/${what}${text ? `?${text}` : ''}`;
}
