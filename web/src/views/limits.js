// SPDX-License-Identifier: Apache-2.0
//
// How far it is to the cgroup's limit: what decides whether a process lives.
import { bytes, count, percent } from '../model/format.js';

const LABELS = {
  cgroup_max_bytes: 'memory.max',
  cgroup_peak_bytes: 'memory.peak',
  cgroup_current_bytes: 'memory.current',
  oom_kills: 'OOM kills',
};

const known = (value) => typeof value === 'number' && value < 2 ** 62;
const format = (key, value) => (key.endsWith('_bytes') ? bytes(value) : count(value));

export function Limits({ process }) {
  const entries = Object.entries(process.limits || {}).filter(([, value]) => known(value));
  const max = process.limits && process.limits.cgroup_max_bytes;
  return (
    <div class="limits">
      <h2>Limits</h2>
      {entries.length === 0 ? (
        <p class="muted">No limit of a cgroup is known for this process.</p>
      ) : (
        <p class="limit-list">
          {known(max) && (
            <span>RSS is {percent(process.rss.resident_bytes, max)} of the cgroup’s limit.</span>
          )}
          {entries.map(([key, value]) => (
            <span key={key}>
              {LABELS[key] || key.replaceAll('_', ' ')} <b class="mono">{format(key, value)}</b>
            </span>
          ))}
        </p>
      )}
    </div>
  );
}
