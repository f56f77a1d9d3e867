import type { Clock } from '../clock.ts';
import { classifyKmsFailure, describeFailure } from './classify.ts';
import type { DecryptedKey, DecryptRequest, KmsClient } from './client.ts';
import { isMultiRegion, masterKeyInRegion } from './master-key.ts';

/** How long one Region may be silent before the next is asked, too. */
export const HEDGE_AFTER_MS = 1_000;

/** Failures that are the Region's or its replica's own: the state, policy and grants of replicas are independent. */
const REPLICA_FAILURES: ReadonlySet<string> = new Set([
  'DisabledException',
  'KMSInvalidStateException',
  'AccessDeniedException',
  'NotFoundException',
]);

/**
 * A client that asks further Regions when a multi-Region master key cannot be used in the first: at once when it refuses
 * for reasons of its own, and beside it when it does not answer in time. Keys are created in the first Region only.
 */
export function withFailover(first: KmsClient, others: readonly KmsClient[], clock: Clock): KmsClient {
  if (others.length === 0) return inItsRegion(first);
  const clients = [first, ...others].map(inItsRegion);
  const next = others.map(({ region }) => region).join(', ');
  return {
    region: first.region,
    description: `${first.description}, then ${next}`,
    generateWrappedKey: (request, signal) => first.generateWrappedKey(request, signal),
    probe: (request, signal) => inItsRegion(first).probe(request, signal),
    describeMasterKey: (arn, signal) => inItsRegion(first).describeMasterKey(arn, signal),
    decrypt: (request, signal) => {
      // Without a sidecar nothing tells whether the master key has replicas; asking costs a call, not asking the key.
      const mayHaveReplicas = request.masterKeyArn === undefined || isMultiRegion(request.masterKeyArn);
      return mayHaveReplicas
        ? decryptAnywhere(clients, request, clock, signal)
        : inItsRegion(first).decrypt(request, signal);
    },
    close: () => {
      for (const client of clients) client.close();
    },
  };
}

function inItsRegion(client: KmsClient): KmsClient {
  const { region, description } = client;
  const here = (request: DecryptRequest): DecryptRequest => ({
    ...request,
    masterKeyArn: request.masterKeyArn && masterKeyInRegion(request.masterKeyArn, region),
  });
  return {
    region,
    description,
    generateWrappedKey: (request, signal) => client.generateWrappedKey(request, signal),
    decrypt: (request, signal) => client.decrypt(here(request), signal),
    probe: (request, signal) => client.probe(here(request), signal),
    describeMasterKey: (arn, signal) => client.describeMasterKey(masterKeyInRegion(arn, region), signal),
    close: () => client.close(),
  };
}

interface Attempt {
  readonly client: KmsClient;
  readonly outcome: Promise<{ readonly answer: DecryptedKey } | { readonly error: unknown }>;
}

async function decryptAnywhere(
  clients: readonly KmsClient[],
  request: DecryptRequest,
  clock: Clock,
  signal: AbortSignal,
): Promise<DecryptedKey> {
  const others = new AbortController();
  const both = AbortSignal.any([signal, others.signal]);
  const start = (client: KmsClient): Attempt => ({
    client,
    outcome: client.decrypt(request, both).then(
      (answer) => ({ answer }),
      (error: unknown) => ({ error }),
    ),
  });
  const queue = [...clients];
  const running: Attempt[] = [];
  const reasons: string[] = [];
  let firstError: unknown;
  try {
    for (;;) {
      const client = queue.shift();
      if (client !== undefined) running.push(start(client));
      if (running.length === 0) throw firstError;
      const settled = await firstSettled(running, queue.length > 0 ? clock : undefined, signal);
      if (settled === 'late') {
        reasons.push(`${running.at(-1)?.client.region} did not answer within ${HEDGE_AFTER_MS} ms`);
        continue;
      }
      running.splice(running.indexOf(settled.attempt), 1);
      if ('answer' in settled.outcome) {
        const { region } = settled.attempt.client;
        for (const late of running) discard(late);
        if (region === clients[0]?.region) return settled.outcome.answer;
        return { ...settled.outcome.answer, servedBy: { region, because: reasons.join('; ') } };
      }
      const failure = classifyKmsFailure(settled.outcome.error);
      firstError ??= settled.outcome.error;
      // A wrapped key that is corrupt, or credentials that are wrong, are so in every Region.
      if (failure.kind !== 'transient' && !REPLICA_FAILURES.has(failure.name)) throw settled.outcome.error;
      reasons.push(`${settled.attempt.client.region}: ${describeFailure(failure)}`);
    }
  } finally {
    others.abort(new Error('another Region answered'));
  }
}

async function firstSettled(
  running: readonly Attempt[],
  clock: Clock | undefined,
  signal: AbortSignal,
): Promise<'late' | { readonly attempt: Attempt; readonly outcome: Awaited<Attempt['outcome']> }> {
  const timer = new AbortController();
  const settled = running.map(async (attempt) => ({ attempt, outcome: await attempt.outcome }));
  const waits =
    clock === undefined
      ? []
      : [
          clock.sleep(HEDGE_AFTER_MS, timer.signal).then(
            () => 'late' as const,
            () => new Promise<never>(() => undefined),
          ),
        ];
  try {
    signal.throwIfAborted();
    return await Promise.race([...settled, ...waits]);
  } finally {
    timer.abort();
  }
}

function discard(attempt: Attempt): void {
  void attempt.outcome.then((outcome) => {
    if ('answer' in outcome) outcome.answer.plaintext.fill(0);
  });
}
