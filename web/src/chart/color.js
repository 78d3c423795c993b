// SPDX-License-Identifier: Apache-2.0
//
// Colours that are computed: the diverging scale of a comparison, the scale of occupancy, and the
// ink that can be read on either.

export function parseHex(hex) {
  const value = parseInt(hex.replace('#', ''), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

export function mix(from, to, share) {
  const t = Math.max(0, Math.min(1, share));
  return from.map((channel, i) => Math.round(channel + (to[i] - channel) * t));
}

export const cssOf = ([r, g, b]) => `rgb(${r},${g},${b})`;

// Relative luminance, as WCAG defines it.
function luminance(rgb) {
  const [r, g, b] = rgb.map((channel) => {
    const c = channel / 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const DARK_INK = '#14181c';
const LIGHT_INK = '#f4f6f8';

export const inkOn = (rgb) => (luminance(rgb) > 0.22 ? DARK_INK : LIGHT_INK);

// Several stops, evenly spaced.
export function scaleOf(stops) {
  const colors = stops.map(parseHex);
  return (share) => {
    const at = Math.max(0, Math.min(1, share)) * (colors.length - 1);
    const low = Math.min(Math.floor(at), colors.length - 2);
    return mix(colors[low], colors[low + 1], at - low);
  };
}
