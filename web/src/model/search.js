// SPDX-License-Identifier: Apache-2.0
//
// What people type into a search field: a regular expression when it is one, otherwise the text
// itself, so that "operator new[" finds what it says while it is being typed. Case matters only if a
// capital letter is typed.

export function matcherOf(text) {
  if (!text) return null;
  const flags = /[A-Z]/.test(text) ? '' : 'i';
  try {
    return new RegExp(text, flags);
  } catch {
    return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), flags);
  }
}

// One byte per function: does its name or file match? null when nothing is searched.
export function matchFunctions(table, text) {
  const matcher = matcherOf(text);
  if (matcher === null) return null;
  return Uint8Array.from(table.names, (name, i) =>
    matcher.test(name) || matcher.test(table.files[i]) ? 1 : 0,
  );
}
