import type { Clock } from '../clock.ts';
import { KeyError } from '../errors.ts';
import { REGION } from '../format/region.ts';
import { createAlias } from './alias-operations.ts';
import type { Answer, Call, Caller } from './call.ts';
import type { RandomBytes } from './ciphertext.ts';
import { decrypt, generateDataKeyWithoutPlaintext } from './data-operations.ts';
import { createKey, describeKey } from './key-operations.ts';
import { needsSweep, sweep } from './keys.ts';
import { KmsFault } from './kms-fault.ts';
import { LastUses } from './last-uses.ts';
import { type EncryptionContext, isRecord } from './members.ts';
import { OPERATIONS } from './operations.ts';
import { emptyState, memoryState, type StateKeeper } from './state.ts';

export interface EmbeddedKmsOptions {
  /** Storage for keys and aliases; default: memory, with a new account. */
  readonly state?: StateKeeper;
  readonly clock: Pick<Clock, 'wallMs'>;
  /** The only source of key material, ids and IVs. */
  readonly randomBytes: RandomBytes;
  /** Twelve digits, for the state in memory; a given state has its own. */
  readonly accountId?: string;
}

export interface GenerateDataKeyRequest {
  readonly region: string;
  readonly keyId: string;
  readonly keySpec: 'AES_128' | 'AES_256';
  readonly encryptionContext?: EncryptionContext;
}

export interface DecryptRequest {
  readonly region: string;
  readonly ciphertextBlob: Uint8Array;
  /** The only key whose blobs are accepted; undefined: the key that the blob names. */
  readonly keyId?: string | undefined;
  readonly encryptionContext?: EncryptionContext;
}

/**
 * AWS KMS's symmetric operations without the network: the same checks, error names and texts. Key material lies in the
 * state unprotected. Every method throws KmsFault for a request that AWS would refuse, and KeyError when the state
 * cannot be read or written or the Region's name is malformed.
 */
export interface EmbeddedKms {
  readonly accountId: string;
  /**
   * Runs one operation with the members of AWS's API. Blobs may be bytes or base64 in the request, and are bytes in the
   * answer.
   */
  call(region: string, caller: Caller, operation: string, input: unknown): Answer;
  generateDataKeyWithoutPlaintext(request: GenerateDataKeyRequest): {
    readonly ciphertextBlob: Uint8Array;
    /** ARN of the master key. */
    readonly keyId: string;
    readonly keyMaterialId: string;
  };
  /** Decrypts a wrapped key. The caller wipes the plaintext; no other copy is kept. */
  decrypt(request: DecryptRequest): {
    readonly plaintext: Uint8Array;
    /** ARN of the master key. */
    readonly keyId: string;
    readonly keyMaterialId: string;
  };
  /**
   * Returns the ARN of the key behind `alias/…`. A missing key is created with its alias, in one change of the state.
   */
  ensureAlias(region: string, alias: string): string;
}

const IN_PROCESS: Caller = { accessKeyId: '', denied: [] };

export function createEmbeddedKms(options: EmbeddedKmsOptions): EmbeddedKms {
  const state = options.state ?? memoryState(emptyState(options.accountId));
  const { clock, randomBytes } = options;
  const lastUses = new LastUses(clock.wallMs());

  const run = <T>(region: string, caller: Caller, changes: boolean, work: (call: Call) => T): T => {
    if (!REGION.test(region)) {
      throw new KeyError('BAD_OPTION', `region: expected a name such as us-east-1, got "${region}"`);
    }
    const nowMs = clock.wallMs();
    if (!changes && !needsSweep(state.read(), nowMs)) {
      return work({ state: state.read(), region, caller, nowMs, randomBytes, lastUses });
    }
    return state.change((next) => {
      sweep(next, nowMs);
      return work({ state: next, region, caller, nowMs, randomBytes, lastUses });
    });
  };

  return {
    get accountId() {
      return state.read().accountId;
    },
    call(region, caller, operation, input) {
      const found = OPERATIONS.get(operation);
      // AWS gives no message.
      if (found === undefined) throw new KmsFault('UnknownOperationException', '');
      return run(region, caller, found.changes, (call) => found.run(call, input));
    },
    generateDataKeyWithoutPlaintext({ region, keyId, keySpec, encryptionContext }) {
      const answer = run(region, IN_PROCESS, false, (call) =>
        generateDataKeyWithoutPlaintext(call, {
          KeyId: keyId,
          KeySpec: keySpec,
          EncryptionContext: encryptionContext,
        }),
      );
      return { ciphertextBlob: bytesOf(answer, 'CiphertextBlob'), ...keyOf(answer) };
    },
    decrypt({ region, ciphertextBlob, keyId, encryptionContext }) {
      const answer = run(region, IN_PROCESS, false, (call) =>
        decrypt(call, { CiphertextBlob: ciphertextBlob, KeyId: keyId, EncryptionContext: encryptionContext }),
      );
      return { plaintext: bytesOf(answer, 'Plaintext'), ...keyOf(answer) };
    },
    ensureAlias(region, alias) {
      const describe = (call: Call) => metadataText(describeKey(call, { KeyId: alias }), 'Arn');
      try {
        return run(region, IN_PROCESS, false, describe);
      } catch (error) {
        if (!(error instanceof KmsFault) || error.name !== 'NotFoundException') throw error;
      }
      return run(region, IN_PROCESS, true, (call) => {
        if (call.state.aliases.some((entry) => entry.region === region && entry.name === alias)) return describe(call);
        const created = createKey(call, { Description: `made for ${alias}` });
        createAlias(call, { AliasName: alias, TargetKeyId: metadataText(created, 'KeyId') });
        return metadataText(created, 'Arn');
      });
    },
  };
}

function keyOf(answer: Answer): { readonly keyId: string; readonly keyMaterialId: string } {
  return { keyId: textOf(answer, 'KeyId'), keyMaterialId: textOf(answer, 'KeyMaterialId') };
}

function metadataText(answer: Answer, member: string): string {
  const metadata = answer?.['KeyMetadata'];
  return textOf(isRecord(metadata) ? metadata : undefined, member);
}

function textOf(answer: Answer, member: string): string {
  const value = answer?.[member];
  if (typeof value !== 'string') throw new TypeError(`embedded KMS: answer without ${member}`);
  return value;
}

function bytesOf(answer: Answer, member: string): Uint8Array {
  const value = answer?.[member];
  if (!(value instanceof Uint8Array)) throw new TypeError(`embedded KMS: answer without ${member}`);
  return value;
}
