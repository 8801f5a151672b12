// What the programs share: steps, waiting, and being cut off from the server.

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

// Milliseconds. Nothing takes longer unless it hangs.
const PATIENCE = 60_000;

// Waits until the condition is true, and returns what it gave.
export async function eventually(what, condition) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert(Date.now() < deadline, `${what}: still not so`);
    await sleep(50);
  }
}

// Has the test run a shell line against the forgetful server while this program does not reach it, until the history of
// before is forgotten.
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export async function whileCutOff(line) {
  console.log(`@while-cut-off ${line}`);
  assert.equal((await answers.next()).value, 'reachable');
}

// Runs the steps in order. The process ends with the first that fails.
export async function run(...steps) {
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      console.error(error);
      console.log(`FAILED: ${step.name}`);
      process.exit(1);
    }
    console.log(`ok: ${step.name}`);
  }
  // Watches may be open.
  process.exit(0);
}
