const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `action`, which must not throw, when the signal is aborted. For signals with many listeners: an EventTarget
 * compares each new listener with all others.
 * @returns a function that removes the listener
 */
export function onAbort(signal: AbortSignal, action: () => void): () => void {
  const actions = waiting.get(signal) ?? firstActions(signal);
  actions.add(action);
  return () => void actions.delete(action);
}

function firstActions(signal: AbortSignal): Set<() => void> {
  const actions = new Set<() => void>();
  const run = (): void => {
    for (const action of actions) action();
  };
  signal.addEventListener('abort', run, { once: true });
  waiting.set(signal, actions);
  return actions;
}
