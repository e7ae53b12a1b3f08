import { performance } from 'node:perf_hooks';

/** Milliseconds that one piece of work may take before other sessions have their turn. */
const SLICE_MS = 10;

/** Runs the steps to their end, and lets other work in between whenever a slice is over. */
export async function inSlices<T>(steps: Generator<undefined, T>): Promise<T> {
  let until = performance.now() + SLICE_MS;
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() < until) continue;
    await new Promise((done) => setImmediate(done));
    until = performance.now() + SLICE_MS;
  }
}
