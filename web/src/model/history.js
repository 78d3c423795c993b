// SPDX-License-Identifier: Apache-2.0
//
// The time line's data: history rows as columns, stacked, within a chosen range; and the stored
// profiles as the points of time that can be compared.
import { otherBytesOf, partsOfRow, TIME_LINE_PARTS } from './parts.js';

export const RANGES = [
  { key: '1m', label: '1 m', seconds: 60 },
  { key: '10m', label: '10 m', seconds: 600 },
  { key: '1h', label: '1 h', seconds: 3600 },
  { key: '6h', label: '6 h', seconds: 21600 },
  { key: '24h', label: '24 h', seconds: 86400 },
  { key: 'all', label: 'all', seconds: 0 },
];

const DEFAULT_RANGE = '1h';

// What to ask the server for: {from, to} in seconds, undefined is open. A zoom wins over a range,
// and a range ends now for a living process and at its death for a dead one.
export function rangeOf(params, endSeconds) {
  const from = Number(params.from);
  const to = Number(params.to);
  if (from > 0 && to > from) return { from, to, key: 'zoom' };
  const range = RANGES.find((r) => r.key === (params.range || DEFAULT_RANGE)) || RANGES[2];
  return range.seconds === 0
    ? { from: undefined, to: undefined, key: range.key }
    : { from: Math.floor(endSeconds - range.seconds), to: undefined, key: range.key };
}

function rowObject(columns, values) {
  const row = {};
  for (let i = 0; i < columns.length; i++) row[columns[i]] = values[i];
  return row;
}

// {times, parts: [column per class], rss, rows}. Times in seconds; `rss` as in the process's document.
export function seriesOf(history, rss) {
  const otherBytes = otherBytesOf(rss);
  const rows = history.rows.map((values) => rowObject(history.columns, values));
  const parts = TIME_LINE_PARTS.map(() => []);
  for (const row of rows) partsOfRow(row, otherBytes).forEach((part, i) => parts[i].push(part));
  return {
    times: rows.map((row) => row.unix_ns / 1e9),
    rss: rows.map((row) => row.rss_bytes),
    parts,
    rows,
  };
}

// Each class on top of those before it.
export function stack(parts) {
  const sums = [];
  for (const column of parts) {
    const below = sums[sums.length - 1];
    sums.push(column.map((value, i) => value + (below ? below[i] : 0)));
  }
  return sums;
}

// The stored profile nearest to a time; null when there is none.
export function nearestProfile(profiles, unixSeconds) {
  let best = null;
  for (const profile of profiles) {
    if (
      best === null ||
      Math.abs(profile.unix_s - unixSeconds) < Math.abs(best.unix_s - unixSeconds)
    ) {
      best = profile;
    }
  }
  return best;
}

// The neighbour of a stored profile: `steps` later (or earlier, if negative), as far as there are any.
export function stepProfile(profiles, unixSeconds, steps) {
  const nearest = nearestProfile(profiles, unixSeconds);
  if (nearest === null) return null;
  const at = profiles.indexOf(nearest) + steps;
  return profiles[Math.min(Math.max(at, 0), profiles.length - 1)];
}

// What a range of less than a minute tells nothing about is an hour; the list waits as long.
const HOURLY_FROM_SECONDS = 60;

// The change between the first and the last row: of an hour where `hourly`, else of the range.
export function growthOf(series, key) {
  const { rows } = series;
  if (rows.length < 2) return { bytes: null, hourly: false };
  const last = rows[rows.length - 1];
  const seconds = (last.unix_ns - rows[0].unix_ns) / 1e9;
  const bytes = last[key] - rows[0][key];
  const hourly = seconds >= HOURLY_FROM_SECONDS;
  return { bytes: hourly ? (bytes * 3600) / seconds : bytes, hourly };
}
