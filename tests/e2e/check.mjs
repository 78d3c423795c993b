// SPDX-License-Identifier: Apache-2.0
//
// One line per check, and the counts last. A check that throws has failed; the next one runs all the
// same, so that one broken view does not hide the others.

let passed = 0;
let failed = 0;

export async function check(name, body) {
  try {
    await body();
    passed++;
    console.log(`ok   ${name}`);
  } catch (problem) {
    failed++;
    console.log(`FAIL ${name}: ${String(problem.message).split('\n').slice(0, 6).join(' | ')}`);
  }
}

export function summary() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0;
}

export function expect(condition, text) {
  if (!condition) throw new Error(text);
}

export function contains(text, wanted) {
  expect(text.includes(wanted), `“${wanted}” is not in “${text.slice(0, 300)}”`);
}

// Asks until the answer is true, or throws with what was asked last.
export async function eventually(what, ask, seconds = 15) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`after ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
