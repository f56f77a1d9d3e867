/** Resolves when the event loop has looked at its sockets and timers: long work lets others have a turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
