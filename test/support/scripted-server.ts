import type { Row, SqlServer } from '../../src/sql/server.ts';

/** A server that answers by the beginning of a statement, and records what it was asked. */
export class ScriptedServer implements SqlServer {
  readonly name = 'root@localhost via /run/s';
  readonly asked: string[] = [];
  readonly #answers: readonly (readonly [string, (call: number) => readonly Row[]])[];
  readonly #calls = new Map<string, number>();

  constructor(answers: Readonly<Record<string, (call: number) => readonly Row[]>>) {
    this.#answers = Object.entries(answers);
  }

  async query(statement: string, values: readonly (string | number)[], signal: AbortSignal): Promise<readonly Row[]> {
    signal.throwIfAborted();
    this.asked.push([statement, ...values].join(' | '));
    const found = this.#answers.find(([beginning]) => statement.startsWith(beginning));
    if (found === undefined) return [];
    const call = this.#calls.get(found[0]) ?? 0;
    this.#calls.set(found[0], call + 1);
    return found[1](call);
  }

  async close(): Promise<void> {
    this.asked.push('closed');
  }
}
