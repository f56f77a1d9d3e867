/** Joins the running operation for this key, or starts one. */
export async function once<K, T>(underWay: Map<K, Promise<T>>, key: K, start: () => Promise<T>): Promise<T> {
  const found = underWay.get(key);
  if (found !== undefined) return await found;
  const started = start().finally(() => underWay.delete(key));
  underWay.set(key, started);
  return await started;
}

/** Starts `action` when the previous operation for this key has ended, whatever its outcome. */
export async function inTurn<K, T>(turns: Map<K, Promise<unknown>>, key: K, action: () => Promise<T>): Promise<T> {
  const before = turns.get(key) ?? Promise.resolve();
  const turn = before.then(action, action);
  turns.set(key, turn);
  try {
    return await turn;
  } finally {
    if (turns.get(key) === turn) turns.delete(key);
  }
}
