/** Servers to compare: each with another key plugin, and, where the plugin lets one choose, with the same keys. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileNative, linkPlugins } from '../harness/native.ts';
import {
  installDatabase,
  pluginOptions,
  ScratchServer,
  type ServerOptions,
  serverPlugin,
  TEST_CREDENTIALS,
} from '../harness/scratch-server.ts';
import { systemClock } from '../src/cli/system.ts';
import { type DevKms, startDevKms } from '../src/dev-kms/index.ts';
import { startVaultStandIn } from './vault-stand-in.ts';

export type Cipher = 'CBC' | 'CTR';
/** By key id. */
export type Keys = ReadonlyMap<number, Uint8Array>;

/** Encryptions and decryptions of so many bytes, in so many pieces. */
export interface CountedEncryptions {
  readonly bytes: number;
  readonly pieces: number;
  readonly count: number;
}

export interface CountedServer {
  readonly server: ScratchServer;
  /** Returns those since the last call. */
  readonly take: () => Promise<readonly CountedEncryptions[]>;
}

export class Servers {
  readonly kms: DevKms;
  readonly #directory: string;
  readonly #common: ServerOptions;
  readonly #launcher: readonly string[] | undefined;
  readonly #running: ScratchServer[] = [];
  readonly #closings: (() => Promise<void>)[] = [];
  /** Kills the servers when the process exits without close(). */
  readonly #onExit = (): void => {
    for (const server of this.#running) if (server.isRunning) process.kill(server.pid, 'SIGKILL');
  };

  private constructor(directory: string, kms: DevKms, common: ServerOptions, launcher?: readonly string[]) {
    this.#directory = directory;
    this.#launcher = launcher;
    this.kms = kms;
    this.#closings.push(() => kms.close());
    process.on('exit', this.#onExit);
    const plugins = ['file_key_management', 'hashicorp_key_management', 'example_key_management'].map(serverPlugin);
    const bench = compileNative(join(import.meta.dirname, 'native/encryption_bench.c'), 'library', '-O2');
    this.#common = {
      ...common,
      plugin_dir: linkPlugins(join(directory, 'plugins'), bench, ...plugins),
      // MariaDB's example is an experiment.
      plugin_maturity: 'experimental',
    };
  }

  /**
   * @param common options of every server
   * @param launcher command that starts every server
   */
  static async open(directory: string, common: ServerOptions = {}, launcher?: readonly string[]): Promise<Servers> {
    await installDatabase(join(directory, 'template'));
    const kms = await startDevKms({ clock: systemClock, aliases: ['alias/mariadb-encryption'] });
    return new Servers(directory, kms, common, launcher);
  }

  async plain(): Promise<ScratchServer> {
    return await this.#start('plain', {});
  }

  /** @param name needed if there is more than one */
  async ours(cipher: Cipher, options: ServerOptions = {}, name = `ours-${cipher}`): Promise<ScratchServer> {
    const algorithm = { aws_key_management_encryption_algorithm: cipher === 'CTR' ? 'AES_CTR' : undefined };
    return await this.#start(name, pluginOptions(this.kms.url, { ...algorithm, ...options }));
  }

  /** A server with this plugin that encrypts by its own functions, each encryption of which is counted. */
  async counted(options: ServerOptions): Promise<CountedServer> {
    const library = compileNative(join(import.meta.dirname, 'native/counted_encryptions.c'), 'library', '-O2');
    symlinkSync(library, join(this.#directory, 'plugins', 'counted_encryptions.so'));
    const server = await this.#start(
      'counted',
      pluginOptions(this.kms.url, { aws_key_management_kept_contexts: 'OFF', ...options }),
      { ...TEST_CREDENTIALS, LD_PRELOAD: library },
    );
    await server.sql("CREATE FUNCTION counted_encryptions RETURNS STRING SONAME 'counted_encryptions.so'");
    const take = async (): Promise<readonly CountedEncryptions[]> => {
      const [row] = await server.sql('SELECT CAST(counted_encryptions() AS CHAR) AS counted');
      return String(row?.['counted'])
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => {
          const [bytes = Number.NaN, pieces = Number.NaN, count = Number.NaN] = line.split(' ').map(Number);
          return { bytes, pieces, count };
        });
    };
    return { server, take };
  }

  /** @param name needed if there is more than one */
  async fileKeyManagement(
    cipher: Cipher,
    keys: Keys,
    options: ServerOptions = {},
    name = `file-${cipher}`,
  ): Promise<ScratchServer> {
    const file = join(this.#directory, `keys-${name}`);
    const lines = [...keys].map(([id, key]) => `${id};${Buffer.from(key).toString('hex')}\n`);
    writeFileSync(file, lines.join(''), { mode: 0o600 });
    return await this.#start(name, {
      plugin_load_add: 'file_key_management',
      file_key_management_filename: file,
      file_key_management_encryption_algorithm: `AES_${cipher}`,
      ...options,
    });
  }

  async hashicorp(keys: Keys): Promise<ScratchServer> {
    const vault = await startVaultStandIn(keys);
    this.#closings.push(() => vault.close());
    return await this.#start('hashicorp', {
      plugin_load_add: 'hashicorp_key_management',
      hashicorp_key_management_vault_url: vault.url,
      hashicorp_key_management_token: 'stand-in',
    });
  }

  async example(): Promise<ScratchServer> {
    return await this.#start('example', { plugin_load_add: 'example_key_management' });
  }

  /** Stops all servers and stand-ins. */
  async close(): Promise<void> {
    process.off('exit', this.#onExit);
    for (const close of this.#closings.toReversed()) await close();
  }

  async #start(name: string, options: ServerOptions, environment = TEST_CREDENTIALS): Promise<ScratchServer> {
    const directory = join(this.#directory, name);
    mkdirSync(directory);
    const server = new ScratchServer({
      directory,
      environment,
      options: { ...this.#common, ...options },
      ...(this.#launcher === undefined ? {} : { launcher: this.#launcher }),
    });
    this.#closings.push(() => server.kill());
    this.#running.push(server);
    server.copyDatabase(join(this.#directory, 'template'));
    await server.start();
    await server.sql("CREATE FUNCTION encryption_bench RETURNS STRING SONAME 'encryption_bench.so'");
    return server;
  }
}
