import type { KmsOperation } from './client.ts';
import type { KmsObserver } from './observer.ts';

/** Collects the request ids of KMS's answers to some operations, by which CloudTrail has the calls. */
export class RequestIds implements KmsObserver {
  readonly ids: string[] = [];
  readonly #operations: readonly KmsOperation[];

  constructor(...operations: readonly KmsOperation[]) {
    this.#operations = operations;
  }

  attemptStarted(): void {}

  attemptEnded(...[{ operation }, , outcome]: Parameters<KmsObserver['attemptEnded']>): void {
    const { requestId } = outcome.ok ? outcome.answer : outcome.failure;
    if (requestId !== '' && this.#operations.includes(operation)) this.ids.push(requestId);
  }
}
