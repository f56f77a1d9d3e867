import type { Connection } from 'mariadb';

export interface Lap {
  readonly seconds: number;
  readonly commits: number;
  /** The longest time between two commits of one session. */
  readonly longestGapMs: number;
}

/** A running server. */
export interface Connectable {
  connect(): Promise<Connection>;
}

/** Sessions that insert and commit, each as fast as it can. */
export class Writers {
  readonly #lastMs: number[];
  #startedMs = performance.now();
  #commits = 0;
  #longestGapMs = 0;
  #stopped = false;
  #sessions: Promise<unknown> = Promise.resolve();

  private constructor(sessions: number) {
    this.#lastMs = Array.from({ length: sessions }, () => performance.now());
  }

  /** @param table of one INT column */
  static async start(server: Connectable, table: string, sessions: number): Promise<Writers> {
    const connections = await Promise.all(Array.from({ length: sessions }, () => server.connect()));
    const writers = new Writers(sessions);
    writers.#sessions = Promise.all(
      connections.map((connection, session) => writers.#write(connection, session, table)),
    );
    // A failure is reported by stop().
    writers.#sessions.catch(() => undefined);
    return writers;
  }

  /** Returns the figures since the last lap. A commit in progress counts as a gap until now. */
  lap(): Lap {
    const now = performance.now();
    const longestGapMs = Math.max(this.#longestGapMs, ...this.#lastMs.map((ms) => now - ms));
    const lap = { seconds: (now - this.#startedMs) / 1000, commits: this.#commits, longestGapMs };
    [this.#startedMs, this.#commits, this.#longestGapMs] = [now, 0, 0];
    return lap;
  }

  /** @throws the error of a session */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#sessions;
  }

  async #write(connection: Connection, session: number, table: string): Promise<void> {
    for (let i = 0; !this.#stopped; i += 1) {
      await connection.query(`INSERT INTO ${table} VALUES (${i})`);
      const now = performance.now();
      this.#longestGapMs = Math.max(this.#longestGapMs, now - (this.#lastMs[session] ?? now));
      this.#lastMs[session] = now;
      this.#commits += 1;
    }
    await connection.end();
  }
}
