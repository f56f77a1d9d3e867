/** A limit that changes while actions run. */
export interface Room {
  /** The most actions at a time, now. */
  readonly most: number;
  /**
   * Calls `look` whenever `most` may have grown, except at the end of an action.
   * @returns a function that ends that
   */
  watch(look: () => void): () => void;
}

/** Runs `action` on every item, at most `limit` at a time, in order. Rejects with the first failure. */
export async function forEachBounded<T>(
  items: readonly T[],
  limit: number | Room,
  action: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const ended = Promise.withResolvers<void>();
  let running = 0;
  const end = (): void => {
    running -= 1;
    start();
  };
  const start = (): void => {
    while (running < (typeof limit === 'number' ? limit : limit.most)) {
      const { done, value } = queue.next();
      if (done === true) {
        if (running === 0) ended.resolve();
        return;
      }
      running += 1;
      action(value).then(end, ended.reject);
    }
  };
  const unwatch = typeof limit === 'number' ? undefined : limit.watch(start);
  start();
  await ended.promise.finally(unwatch);
}
