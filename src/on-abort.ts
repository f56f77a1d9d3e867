interface Listener {
  /** Undefined: removed. */
  action: (() => void) | undefined;
  /** Its place among the signal's listeners. */
  at: number;
}

const waiting = new WeakMap<AbortSignal, Listener[]>();

/**
 * Calls `action`, which must not throw, when the signal is aborted. For signals with many listeners: an EventTarget
 * compares each new listener with all others, and a Set that grows leaves behind a table with all that was in it, which
 * V8 keeps for long.
 * @returns a function that removes the listener
 */
export function onAbort(signal: AbortSignal, action: () => void): () => void {
  const listeners = waiting.get(signal) ?? firstListeners(signal);
  const listener: Listener = { action, at: listeners.length };
  listeners.push(listener);
  return () => {
    listener.action = undefined;
    if (listeners[listener.at] !== listener) return;
    const last = listeners.pop();
    if (last === undefined || last === listener) return;
    last.at = listener.at;
    listeners[last.at] = last;
  };
}

function firstListeners(signal: AbortSignal): Listener[] {
  const listeners: Listener[] = [];
  const run = (): void => {
    for (const listener of listeners.splice(0)) listener.action?.();
  };
  signal.addEventListener('abort', run, { once: true });
  waiting.set(signal, listeners);
  return listeners;
}
