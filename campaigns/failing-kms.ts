import { copyFileSync } from 'node:fs';
import { systemClock } from '../src/cli/system.ts';
import { DEFAULT_REGION, type DevKms, type FaultRule, startDevKms } from '../src/dev-kms/index.ts';

const MASTER_KEYS = ['alias/mariadb-encryption', 'alias/next'];
const ADMINISTRATOR = { accessKeyId: '', denied: [] };

/** An embedded KMS that keeps its master key and its port while it is stopped. */
export class FailingKms {
  readonly #stateFile: string;
  #kms: DevKms;
  #listens = true;
  #disablesWhenGenerated = false;

  private constructor(stateFile: string, kms: DevKms) {
    this.#stateFile = stateFile;
    this.#kms = kms;
  }

  /** @param stateOf another instance, whose master key this one shares */
  static async start(stateFile: string, stateOf?: FailingKms): Promise<FailingKms> {
    if (stateOf !== undefined) copyFileSync(stateOf.#stateFile, stateFile);
    const started: FailingKms = new FailingKms(stateFile, await listen(stateFile, 0, () => started.#onGenerate()));
    return started;
  }

  get url(): string {
    return this.#kms.url;
  }

  /** The ARN of the master key that keys are moved to. */
  get nextKeyArn(): string {
    return this.#kms.keyArns[1] ?? '';
  }

  fail(...rules: readonly FaultRule[]): void {
    this.#kms.faults.set(rules);
  }

  async refuseConnections(): Promise<void> {
    await this.close();
  }

  disableMasterKey(): void {
    this.#kms.kms.call(DEFAULT_REGION, ADMINISTRATOR, 'DisableKey', { KeyId: this.#kms.keyArns[0] });
  }

  /** Disables the master key when a data key is generated, before it is unwrapped. */
  disableMasterKeyWhenGenerated(): void {
    this.#disablesWhenGenerated = true;
  }

  /** Ends the fault. */
  async recover(): Promise<void> {
    this.#disablesWhenGenerated = false;
    if (!this.#listens) {
      this.#kms = await listen(this.#stateFile, this.#kms.port, () => this.#onGenerate());
      this.#listens = true;
    }
    this.#kms.faults.clear();
    this.#kms.kms.call(DEFAULT_REGION, ADMINISTRATOR, 'EnableKey', { KeyId: this.#kms.keyArns[0] });
  }

  async close(): Promise<void> {
    if (!this.#listens) return;
    this.#listens = false;
    await this.#kms.close();
  }

  #onGenerate(): void {
    if (this.#disablesWhenGenerated) this.disableMasterKey();
  }
}

async function listen(stateFile: string, port: number, onGenerate: () => void): Promise<DevKms> {
  return await startDevKms({
    clock: systemClock,
    aliases: MASTER_KEYS,
    stateFile,
    port,
    onCall: ({ operation, error }) => {
      if (operation === 'GenerateDataKeyWithoutPlaintext' && error === '') onGenerate();
    },
  });
}
