// SPDX-License-Identifier: Apache-2.0
//
// Prints results as all of this project's tests do: ok or FAIL per test, and the counts last.
export default async function* reporter(source) {
  let passed = 0;
  let failed = 0;
  for await (const { type, data } of source) {
    if (type === 'test:pass' && data.nesting === 0) {
      passed++;
      yield `ok   ${data.name}\n`;
    }
    if (type === 'test:fail' && data.nesting === 0) {
      failed++;
      yield `FAIL ${data.name}: ${data.details.error.cause?.stack || data.details.error.message}\n`;
    }
  }
  yield `${passed} passed, ${failed} failed\n`;
}
