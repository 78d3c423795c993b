// SPDX-License-Identifier: Apache-2.0
//
// What a sample stands for and how sure the sum is.
//
// An allocation of s bytes is sampled with p = 1 − exp(−s/R), R the mean bytes between samples, and
// the profile's numbers are already scaled by 1/p. So a row with n objects of size s came from
// k = n·p samples; each stands for w = 1/p objects or w = s/p bytes, and the variance of their sum
// is k·w²(1−p). Variances of rows add up; one sigma is the root of the sum.

// Below this many samples a number says little more than "something is here".
export const FEW_SAMPLES = 10;

export function sampleProbability(sizeBytes, rateBytes) {
  if (!(rateBytes > 1)) return 1;
  return -Math.expm1(-sizeBytes / rateBytes);
}

export function rowAccuracy(sizeBytes, objects, rateBytes, inBytes) {
  const p = sampleProbability(sizeBytes, rateBytes);
  const samples = objects * p;
  const weight = inBytes ? sizeBytes / p : 1 / p;
  return { samples, variance: samples * weight * weight * (1 - p) };
}
