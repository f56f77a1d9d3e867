/** Resolves when the event loop has polled its sockets and timers, so that long work lets others run. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
