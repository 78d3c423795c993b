// SPDX-License-Identifier: Apache-2.0
//
// What every part of the page may ask for without being handed it: where we are and how to go
// elsewhere. `go(route)` makes an entry in the browser's history, `replace(route)` does not: a choice
// can be taken back with "back", a letter typed into a search field cannot.
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';

export const PageContext = createContext({
  route: { view: 'processes', id: '', params: {} },
  go() {},
  replace() {},
  theme: 'light',
});

export const usePage = () => useContext(PageContext);
