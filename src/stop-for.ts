const never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/** Stops the calling thread for milliseconds. */
export function stopFor(ms: number): void {
  Atomics.wait(never, 0, 0, ms);
}
