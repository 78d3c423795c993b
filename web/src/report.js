// SPDX-License-Identifier: Apache-2.0
//
// The report's entrance: one file that shows what a process left, anywhere and for ever. It draws from
// the four documents in the element #data (process, history, profile, trace; any may be null) and
// asks nobody for anything, which the file's own Content-Security-Policy makes sure of.
import 'uplot/dist/uPlot.min.css';
import './style/page.css';
import { render } from 'preact';
import { Report } from './views/report.js';

function dataInFile() {
  try {
    return JSON.parse(document.getElementById('data').textContent);
  } catch {
    return null;
  }
}

const data = dataInFile();
const root = document.createElement('div');
root.id = 'app';
document.body.replaceChildren(root);
render(<Report data={data} />, root);
