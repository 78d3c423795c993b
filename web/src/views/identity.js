// SPDX-License-Identifier: Apache-2.0
//
// Who a process is, since when, and, where it is dead, how it died.
import { dateClock, duration } from '../model/format.js';

function Facts({ process }) {
  const end = process.ended_unix_ns || Date.now() * 1e6;
  const facts = [
    ['pid', process.pid],
    ['user', process.user || process.uid],
    ['unit', process.unit],
    ['pod', process.pod],
    ['container', process.container && process.container.slice(0, 12)],
    ['started', process.started_unix_ns ? dateClock(process.started_unix_ns / 1e9) : ''],
    [
      process.alive ? 'up' : 'lived',
      process.started_unix_ns ? duration((end - process.started_unix_ns) / 1e9) : '',
    ],
  ];
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== '' && value !== undefined && value !== null)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

function Death({ process }) {
  if (process.alive) return null;
  const when = process.ended_unix_ns ? ` at ${dateClock(process.ended_unix_ns / 1e9)}` : '';
  const how = process.death ? process.death.sentence : 'nobody saw how it ended';
  return (
    <p class="death-line">
      <b>Dead</b>
      {when}: {how}. What follows is the last that it left.
    </p>
  );
}

export function Identity({ process }) {
  return (
    <header class="identity">
      <h1>
        {process.name || `pid ${process.pid}`}{' '}
        <span class={`state ${process.alive ? 'alive' : 'dead'}`}>
          {process.alive ? 'running' : 'dead'}
        </span>
      </h1>
      <p class="cmdline mono" title={process.cmdline}>
        {process.cmdline || process.exe}
      </p>
      <Facts process={process} />
      <Death process={process} />
    </header>
  );
}
