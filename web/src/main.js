// SPDX-License-Identifier: Apache-2.0
//
// How the page is built: state → URL → views.
//
// All that a person chose (the process, the view, the moment, what is compared, sorted, searched and
// zoomed into) is in the address behind "#", and nowhere else. model/route.js reads it; a view draws
// from what it reads; a click writes a new address and the page draws again from that. So every state
// can be pasted to a colleague, "back" takes back a choice, and no two places can disagree about what
// is shown. What is not in the address is either data, or as fleeting as the pointer's place.
//
//   model/   pure functions from the server's documents to what is drawn; tested without a browser
//   data/    asks the server, again and again while a view is open; errors become sentences
//   chart/   the three canvases: flame graph, time line, map of spans; geometry apart from drawing
//   ui/      the small things: tables, buttons, dialogs, theme, copying
//   views/   one file for each thing a person can look at
//   style/   one sheet; every colour is a variable with a light and a dark value
//
// The server sends the page's shell with plain tables in it, which is what is seen without
// JavaScript; the first thing that happens here is that they make room. There is no style and no
// script in any HTML, so the server's Content-Security-Policy allows neither: sizes and places are set
// through the DOM, which it does not restrict.
//
// report.js is the second entrance: the same views over four documents that `mallard report` wrote
// into the file itself.
import 'uplot/dist/uPlot.min.css';
import './style/page.css';
import { render } from 'preact';
import { App } from './app.js';

const ICON =
  'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="%230b6b5d"/></svg>';

// Without one the browser asks the server for /favicon.ico.
function addIcon() {
  const link = document.createElement('link');
  link.rel = 'icon';
  link.href = ICON;
  document.head.append(link);
}

// "/p/ID/" is a process's plain tables; with this script it is one of the page's states.
function addressOfProcess() {
  const [, id] = /^\/p\/([^/]+)\/$/.exec(location.pathname) || [];
  if (id) history.replaceState(null, '', `/${location.hash || `#/p/${id}/memory`}`);
}

addressOfProcess();
addIcon();
const root = document.createElement('div');
root.id = 'app';
document.body.replaceChildren(root);
render(<App />, root);
