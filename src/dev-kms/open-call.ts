import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../clock.ts';
import type { CallLog } from './call-log.ts';
import type { RandomBytes } from './ciphertext.ts';
import type { EmbeddedKms } from './engine.ts';
import type { FaultPlan } from './fault-plan.ts';
import type { FaultKind } from './fault-rule.ts';
import { KmsFault } from './kms-fault.ts';
import { isRecord, Members } from './members.ts';
import { readBody } from './request-body.ts';
import { type AccessKey, verifySignature } from './sigv4.ts';
import { spoil } from './spoil.ts';
import { BAD_GATEWAY, operationOf, parseInput, type WireAnswer, wireAnswer, wireFault } from './wire.ts';

export interface EndpointParts {
  readonly kms: EmbeddedKms;
  readonly accessKeys: readonly AccessKey[];
  readonly faults: FaultPlan;
  readonly calls: CallLog;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
}

/** The result of a call, as the client gets it. */
export interface Outcome {
  readonly delivery: 'whole' | 'half' | 'drop' | 'hang';
  readonly answer: WireAnswer;
  readonly error: KmsFault | undefined;
}

/** One KMS request and its record in the call log. */
export class OpenCall {
  readonly requestId: string = randomUUID();
  readonly #parts: EndpointParts;
  readonly #request: IncomingMessage;
  readonly #startMs: number;
  readonly #wallMs: number;
  #operation = '';
  #region = '';
  #accessKeyId = '';
  #input: unknown;
  #keyArn = '';
  #faults: FaultKind[] = [];

  constructor(parts: EndpointParts, request: IncomingMessage) {
    this.#parts = parts;
    this.#request = request;
    this.#startMs = parts.clock.monotonicMs();
    this.#wallMs = parts.clock.wallMs();
  }

  async run(signal: AbortSignal): Promise<Outcome> {
    try {
      return await this.#answer(signal);
    } catch (error) {
      if (signal.aborted) return { delivery: 'drop', answer: BAD_GATEWAY, error: undefined };
      const fault = toFault(error);
      return { delivery: 'whole', answer: wireFault(fault), error: fault };
    }
  }

  async #answer(signal: AbortSignal): Promise<Outcome> {
    const { kms, accessKeys, faults, clock, randomBytes } = this.#parts;
    const body = await readBody(this.#request);
    const { method = '', url = '', rawHeaders, headers } = this.#request;
    const header = headers['x-amz-target'];
    const named = operationOf(typeof header === 'string' ? header : undefined);
    if (method !== 'POST' || url !== '/') throw new KmsFault('UnknownOperationException', '', 404);
    this.#operation = named;
    const verified = verifySignature({ method, rawHeaders, body }, accessKeys, clock.wallMs());
    this.#region = verified.region;
    this.#accessKeyId = verified.accessKey.accessKeyId;
    this.#input = parseInput(body);

    const { latencyMs, misbehaviour } = faults.next(named, this.#region);
    if (latencyMs > 0) {
      this.#faults.push('latency');
      await clock.sleep(latencyMs, signal);
    }
    if (misbehaviour !== undefined) this.#faults.push(misbehaviour.kind);
    const kind = misbehaviour?.kind;
    if (kind === 'drop' || kind === 'hang') return { delivery: kind, answer: BAD_GATEWAY, error: undefined };
    if (kind === 'garbage') return { delivery: 'whole', answer: BAD_GATEWAY, error: undefined };
    if (misbehaviour?.kind === 'error') {
      throw new KmsFault(misbehaviour.name, misbehaviour.message, misbehaviour.status);
    }
    const caller = {
      accessKeyId: this.#accessKeyId,
      denied: verified.accessKey.denied ?? [],
      requestId: this.requestId,
    };
    const answer = kms.call(this.#region, caller, named, this.#input);
    if (typeof answer?.['KeyId'] === 'string') this.#keyArn = answer['KeyId'];
    const spoilt = spoil(answer, misbehaviour, randomBytes, (plaintext) => {
      const context = isRecord(this.#input) ? this.#input['DestinationEncryptionContext'] : undefined;
      const input = { KeyId: answer?.['KeyId'], Plaintext: plaintext, EncryptionContext: context };
      return kms.call(this.#region, { accessKeyId: '', denied: [] }, 'Encrypt', input)?.['CiphertextBlob'];
    });
    return { delivery: kind === 'half' ? 'half' : 'whole', answer: wireAnswer(spoilt), error: undefined };
  }

  record({ delivery, answer, error }: Outcome): void {
    const input = isRecord(this.#input) ? this.#input : {};
    const names = [this.#keyArn, input['KeyId'], input['DestinationKeyId'], input['TargetKeyId']];
    this.#parts.calls.add({
      time: new Date(this.#wallMs).toISOString(),
      region: this.#region,
      operation: this.#operation,
      keyId: names.find((name): name is string => typeof name === 'string' && name !== '') ?? '',
      context: contextOf(input),
      status: delivery === 'drop' || delivery === 'hang' ? 0 : answer.status,
      error: error?.name ?? '',
      message: error?.message ?? '',
      requestId: this.requestId,
      durationMs: Math.round((this.#parts.clock.monotonicMs() - this.#startMs) * 10) / 10,
      accessKeyId: this.#accessKeyId,
      dryRun: input['DryRun'] === true,
      fault: this.#faults.join('+'),
    });
  }
}

function contextOf(input: Record<string, unknown>): Readonly<Record<string, string>> {
  const member = ['EncryptionContext', 'DestinationEncryptionContext'].find((name) => isRecord(input[name]));
  if (member === undefined) return {};
  try {
    return new Members(input).context(member);
  } catch {
    return {};
  }
}

/** An error that is no KmsFault is a fault of this service. Its text is for the developer, and holds no secret. */
function toFault(error: unknown): KmsFault {
  if (error instanceof KmsFault) return error;
  return new KmsFault('KMSInternalException', error instanceof Error ? error.message : String(error), 500);
}
