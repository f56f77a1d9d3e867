/**
 * Keys of hashicorp_key_management in Vault's KV store, version 2. The requests are those of MariaDB's plugin, plus the list of
 * keys and versions. Written from the description of that plugin and Vault's documentation; compared with a server made from the
 * same, and with no Vault.
 */
import { wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';
import { isKeyId, isKeyVersion, type KeyId, type KeyVersion, parseDecimal } from '../ids.ts';
import type { ForeignKey } from './imported-key.ts';

/** The status and the body of an answer to a GET request. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** Sends GET to a path below the server, follows no redirect, and limits the size. @throws what the network throws */
export type HttpGet = (path: string, headers: Readonly<Record<string, string>>) => Promise<HttpAnswer>;

export interface VaultPlace {
  /** `https://HOST:PORT` */
  readonly origin: string;
  /** The mount of the store, such as `mariadb`. */
  readonly mount: string;
}

export interface VaultRequest {
  readonly place: VaultPlace;
  readonly token: string;
  /** Empty: none. */
  readonly namespace: string;
  /** Undefined: those that the store lists. */
  readonly ids: readonly KeyId[] | undefined;
  /** False: the latest version of each key alone. */
  readonly allVersions: boolean;
}

const HEX = /^(?:[\da-f]{32}|[\da-f]{48}|[\da-f]{64})$/i;

/** Splits `hashicorp_key_management_vault_url`: a path that begins with `/v1/`. @throws KeyError BAD_OPTION */
export function parseVaultUrl(text: string): VaultPlace {
  const [, origin, path] = /^(https?:\/\/[^/?#@\s]+)\/+v1\/+([^?#\s]*)$/.exec(text) ?? [];
  const mount = path?.replace(/\/+$/, '') ?? '';
  if (origin !== undefined && mount !== '') return { origin, mount };
  throw new KeyError('BAD_OPTION', '--url: expected https://HOST:PORT/v1/MOUNT', {
    hint: 'it is what hashicorp_key_management_vault_url has; a token does not belong into it',
  });
}

/** Reads the keys. The caller wipes them. @throws KeyError SOURCE_UNAVAILABLE, KEY_UNKNOWN, KEY_FILE_CORRUPT */
export async function readVault(request: VaultRequest, get: HttpGet): Promise<readonly ForeignKey[]> {
  const vault = new Vault(request, get);
  const keys: ForeignKey[] = [];
  try {
    for (const id of request.ids ?? (await vault.ids())) {
      const latest = await vault.key(id, undefined);
      keys.push(latest);
      if (!request.allVersions) continue;
      for (const version of await vault.versions(id))
        if (version !== latest.version) keys.push(await vault.key(id, version));
    }
  } catch (error) {
    for (const { bytes } of keys) wipe(bytes);
    throw error;
  }
  if (keys.length === 0) throw new KeyError('KEY_UNKNOWN', `no key id is in ${vault.name}`, { hint: 'check --url' });
  return keys.sort((a, b) => a.id - b.id || a.version - b.version);
}

class Vault {
  readonly name: string;
  readonly #request: VaultRequest;
  readonly #get: HttpGet;

  constructor(request: VaultRequest, get: HttpGet) {
    this.#request = request;
    this.#get = get;
    this.name = `${request.place.origin}/v1/${request.place.mount}`;
  }

  /** Names that are no key id are other secrets of the mount. */
  async ids(): Promise<readonly KeyId[]> {
    const { keys } = recordOf((await this.#ask('metadata?list=true', 'the list of its keys')).data);
    if (!Array.isArray(keys)) throw this.#wrong('the list of its keys', '"data.keys" is no list');
    return keys.flatMap((name: unknown) => {
      const id = typeof name === 'string' ? parseDecimal(name) : undefined;
      return id !== undefined && isKeyId(id) ? [id] : [];
    });
  }

  /** Versions that were neither deleted nor destroyed. */
  async versions(id: KeyId): Promise<readonly KeyVersion[]> {
    const what = `the versions of key ${id}`;
    const versions = recordOf(recordOf((await this.#ask(`metadata/${id}`, what)).data)['versions']);
    return Object.entries(versions).flatMap(([name, facts]) => {
      const version = parseDecimal(name);
      if (version === undefined || !isKeyVersion(version)) throw this.#wrong(what, `"${name}" is no version`);
      const { destroyed, deletion_time: deleted } = recordOf(facts);
      return destroyed === true || (typeof deleted === 'string' && deleted !== '') ? [] : [version];
    });
  }

  /** @param version undefined: the latest */
  async key(id: KeyId, version: KeyVersion | undefined): Promise<ForeignKey> {
    const what = `key ${id}${version === undefined ? '' : ` version ${version}`}`;
    const query = version === undefined ? '' : `?version=${version}`;
    const answer = recordOf((await this.#ask(`data/${id}${query}`, what)).data);
    const { data: hex } = recordOf(answer['data']);
    const { version: found } = recordOf(answer['metadata']);
    if (typeof hex !== 'string' || !HEX.test(hex))
      throw this.#wrong(what, '"data.data.data" is not 32, 48 or 64 hexadecimal digits');
    if (typeof found !== 'number' || !isKeyVersion(found)) throw this.#wrong(what, '"metadata.version" is no version');
    if (version !== undefined && found !== version) throw this.#wrong(what, `it is version ${found}`);
    return { id, version: found, bytes: Buffer.from(hex, 'hex') };
  }

  async #ask(path: string, what: string): Promise<{ readonly data: unknown }> {
    const { place, token, namespace } = this.#request;
    const headers = { 'X-Vault-Token': token, ...(namespace === '' ? {} : { 'X-Vault-Namespace': namespace }) };
    const { status, body } = await this.#get(`/v1/${place.mount}/${path}`, headers).catch((cause: unknown) => {
      const reason = cause instanceof Error ? describe(cause) : String(cause);
      throw new KeyError('SOURCE_UNAVAILABLE', `${this.name}: ${reason}`, {
        hint: 'check --url and the network; a certificate that no public authority signed needs --ca FILE',
        cause,
      });
    });
    try {
      if (status === 404)
        throw new KeyError('KEY_UNKNOWN', `${what} is not in ${this.name}`, {
          hint: 'check the mount in --url; a version that Vault dropped has to come from a snapshot of Vault',
        });
      if (status === 403)
        throw new KeyError('SOURCE_UNAVAILABLE', `${this.name} denies ${what} (HTTP 403)`, {
          hint: 'the token needs read on MOUNT/data/*, and for the list and --all-versions list and read on MOUNT/metadata/*; without these: --ids and no --all-versions',
        });
      if (status !== 200) throw new KeyError('SOURCE_UNAVAILABLE', `${this.name}: HTTP ${status} for ${what}`);
      return { data: recordOf(parse(body))['data'] };
    } finally {
      wipe(body);
    }
  }

  #wrong(what: string, reason: string): KeyError {
    return new KeyError('KEY_FILE_CORRUPT', `${what} of ${this.name}: ${reason}`, {
      hint: 'is this the mount of hashicorp_key_management, a KV store of version 2?',
    });
  }
}

function describe(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}
