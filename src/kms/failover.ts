import type { Clock } from '../clock.ts';
import { classifyKmsFailure, describeFailure, type KmsFailure } from './classify.ts';
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
  const here = inItsRegion(first);
  if (others.length === 0) return here;
  const clients = [here, ...others.map(inItsRegion)];
  const next = others.map(({ region }) => region).join(', ');
  return {
    region: first.region,
    description: `${first.description}, then ${next}`,
    generateWrappedKey: (request, signal) => here.generateWrappedKey(request, signal),
    probe: (request, signal) => here.probe(request, signal),
    describeMasterKey: (arn, signal) => here.describeMasterKey(arn, signal),
    decrypt: (request, signal) => {
      // Without a sidecar nothing tells whether the master key has replicas; asking costs a call, not asking the key.
      const mayHaveReplicas = request.masterKeyArn === undefined || isMultiRegion(request.masterKeyArn);
      return mayHaveReplicas ? decryptAnywhere(clients, request, clock, signal) : here.decrypt(request, signal);
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
  const queue = [...clients];
  const running: Attempt[] = [];
  const failures: RegionalFailure[] = [];
  const reasons: string[] = [];
  try {
    for (;;) {
      const client = queue.shift();
      if (client !== undefined) running.push(start(client, request, both));
      if (running.length === 0) throw inAllRegions(failures);
      const settled = await firstSettled(running, queue.length > 0 ? clock : undefined, signal);
      if (settled === 'late') {
        reasons.push(`${running.at(-1)?.client.region} did not answer within ${HEDGE_AFTER_MS} ms`);
        continue;
      }
      running.splice(running.indexOf(settled.attempt), 1);
      const { region } = settled.attempt.client;
      const isFirst = region === clients[0]?.region;
      if ('answer' in settled.outcome) {
        if (isFirst) return settled.outcome.answer;
        return { ...settled.outcome.answer, servedBy: { region, because: reasons.join('; ') } };
      }
      const failure = classifyKmsFailure(settled.outcome.error);
      // What the first Region says of a wrapped key or of credentials is so everywhere. What another says is only its own
      // view: it may never have heard of the master key.
      if (isFirst && failure.kind !== 'transient' && !REPLICA_FAILURES.has(failure.name)) throw settled.outcome.error;
      failures.push({ region, error: settled.outcome.error, failure });
      reasons.push(`${region}: ${describeFailure(failure)}`);
    }
  } finally {
    for (const late of running) discard(late);
    others.abort(new Error('another Region answered'));
  }
}

interface RegionalFailure {
  readonly region: string;
  readonly error: unknown;
  readonly failure: KmsFailure;
}

/** A failure that passes, if there was one, so that the call is tried again; else the first Region's. It tells of the others. */
function inAllRegions(failures: readonly RegionalFailure[]): unknown {
  const chosen = failures.find(({ failure }) => failure.kind === 'transient') ?? failures[0];
  const others = failures.filter((other) => other !== chosen);
  if (chosen === undefined || !(chosen.error instanceof Error) || others.length === 0) return chosen?.error;
  const told = others.map(({ region, failure }) => `${region}: ${describeFailure(failure)}`).join('; ');
  chosen.error.message = `${chosen.region}: ${chosen.failure.message} [${told}]`;
  return chosen.error;
}

function start(client: KmsClient, request: DecryptRequest, signal: AbortSignal): Attempt {
  const outcome = client.decrypt(request, signal).then(
    (answer) => ({ answer }),
    (error: unknown) => ({ error }),
  );
  return { client, outcome };
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
