import type { Clock, Random } from '../clock.ts';
import { problemOfEncrypted, problemOfReEncrypted } from './answers.ts';
import { inRegion, UnwrapCaller } from './caller.ts';
import type {
  Answer,
  EncryptRequest,
  GeneratedKey,
  OperatorClient,
  ReEncryptedKey,
  ReEncryptRequest,
} from './client.ts';
import type { KmsObserver } from './observer.ts';
import type { Deadline } from './retry.ts';

const NOBODY: KmsObserver = { attemptStarted: () => undefined, attemptEnded: () => undefined };

/** The KMS calls of commands: in one Region, and including those that wrap existing keys. */
export class OperatorCaller extends UnwrapCaller {
  readonly #client: OperatorClient;

  constructor(
    client: OperatorClient,
    { clock, random }: { readonly clock: Clock; readonly random: Random },
    observer: KmsObserver = NOBODY,
  ) {
    super([client], clock, random, observer);
    this.#client = client;
  }

  /** Resolves a master key to its ARN. @throws KeyError KMS_…, TIMEOUT */
  async resolve(subject: string, keyId: string, deadline: Deadline): Promise<string> {
    const call = {
      operation: 'DescribeKey',
      subject,
      send: async (_: unknown, signal: AbortSignal): Promise<Answer> => ({
        masterKeyArn: (await this.#client.describeKey(keyId, signal)).arn,
        requestId: '',
      }),
      problemOf: () => undefined,
      discard: () => undefined,
    } as const;
    return (await this.askFirst(call, deadline)).masterKeyArn;
  }

  /** @throws KeyError KMS_…, TIMEOUT */
  async reEncrypt(subject: string, request: ReEncryptRequest, deadline: Deadline): Promise<ReEncryptedKey> {
    const here = { ...request, ...inRegion(request, this.region) };
    const call = {
      operation: 'ReEncrypt',
      subject,
      send: (_: unknown, signal: AbortSignal) => this.#client.reEncrypt(here, signal),
      problemOf: (answer: ReEncryptedKey) => problemOfReEncrypted(answer, request),
      discard: () => undefined,
    } as const;
    return await this.askFirst(call, deadline);
  }

  /** Wraps a data key that exists already. @throws KeyError KMS_…, TIMEOUT */
  async encrypt(subject: string, request: EncryptRequest, deadline: Deadline): Promise<GeneratedKey> {
    const call = {
      operation: 'Encrypt',
      subject,
      send: (_: unknown, signal: AbortSignal) => this.#client.encrypt(request, signal),
      problemOf: (answer: GeneratedKey) => problemOfEncrypted(answer, request),
      discard: () => undefined,
    } as const;
    return await this.askFirst(call, deadline);
  }

  /** Asks KMS whether it would wrap and unwrap a key. @throws KeyError KMS_…, TIMEOUT */
  async rehearseEncrypt(
    subject: string,
    request: Omit<EncryptRequest, 'plaintext'>,
    deadline: Deadline,
  ): Promise<void> {
    const call = {
      operation: 'Encrypt',
      subject: `${subject}, dry run`,
      send: async (_: unknown, signal: AbortSignal): Promise<Answer> => {
        await this.#client.rehearseEncrypt(request, signal);
        return { masterKeyArn: '', requestId: '' };
      },
      problemOf: () => undefined,
      discard: () => undefined,
    } as const;
    await this.askFirst(call, deadline);
  }
}
