// SPDX-License-Identifier: Apache-2.0
//
// Numbers as people read them. Bytes in binary units with three significant digits, as the command
// line prints them; minus is U+2212 so that it lines up with plus.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const NONE = '–';

const known = (value) => typeof value === 'number' && Number.isFinite(value);

function threeDigits(value) {
  if (value >= 99.95) return value.toFixed(0);
  if (value >= 9.995) return value.toFixed(1);
  return value.toFixed(2);
}

export function bytes(value) {
  if (!known(value)) return NONE;
  let size = Math.abs(value);
  let unit = 0;
  while (size >= 1023.5 && unit < UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  const text = unit === 0 ? size.toFixed(0) : threeDigits(size);
  return `${value < 0 ? '−' : ''}${text} ${UNITS[unit]}`;
}

export function count(value) {
  if (!known(value)) return NONE;
  const digits = Math.abs(Math.round(value)).toString();
  return (value < 0 ? '−' : '') + digits.replace(/\B(?=(\d{3})+$)/g, ' ');
}

export function signed(format, value) {
  if (!known(value)) return NONE;
  return value > 0 ? `+${format(value)}` : format(value);
}

export function percent(part, whole) {
  if (!known(part) || !known(whole) || whole === 0) return NONE;
  const value = (100 * part) / whole;
  const size = Math.abs(value);
  const text =
    size >= 99.95 || size === 0
      ? size.toFixed(0)
      : size >= 9.95
        ? size.toFixed(1)
        : size.toFixed(2);
  return `${value < 0 ? '−' : ''}${text} %`;
}

export function duration(seconds) {
  if (!known(seconds)) return NONE;
  const s = Math.max(0, seconds);
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

// One unit only: for table cells.
export function shortDuration(seconds) {
  return duration(seconds).split(' ').slice(0, 2).join(' ');
}

const pad = (value) => String(value).padStart(2, '0');

export function clock(unixSeconds) {
  const t = new Date(unixSeconds * 1000);
  return `${pad(t.getHours())}:${pad(t.getMinutes())}:${pad(t.getSeconds())}`;
}

export function dateClock(unixSeconds) {
  const t = new Date(unixSeconds * 1000);
  return `${t.getFullYear()}-${pad(t.getMonth() + 1)}-${pad(t.getDate())} ${clock(unixSeconds)}`;
}

// A profile's value: bytes for spaces, a count for objects.
export function formatOf(valueName) {
  return valueName.endsWith('_space') ? bytes : count;
}
