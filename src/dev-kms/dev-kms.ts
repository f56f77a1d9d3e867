import { randomBytes as systemRandomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import type { Clock, Random } from '../clock.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { REGION } from '../format/region.ts';
import { CallLog, type CallRecord } from './call-log.ts';
import type { RandomBytes } from './ciphertext.ts';
import { createEndpoint } from './endpoint.ts';
import { createEmbeddedKms, type EmbeddedKms } from './engine.ts';
import { FaultPlan } from './fault-plan.ts';
import type { FaultRule } from './fault-rule.ts';
import { initialState } from './initial-state.ts';
import type { AccessKey } from './sigv4.ts';
import { DEFAULT_ACCOUNT_ID, memoryState } from './state.ts';
import { openStateFile } from './state-file.ts';

/** A published test key. It gives access to nothing but this KMS. */
export const TEST_ACCESS_KEY: AccessKey = {
  accessKeyId: 'AKIADEVKMS0000000000',
  secretAccessKey: 'fake/secret/for/the/embedded/KMS/only/00',
};

export const DEFAULT_REGION = 'us-east-1';

export interface DevKmsOptions {
  readonly clock: Clock;
  /** `127.0.0.1` (default) or `::1`; nothing else is bound. */
  readonly host?: string | undefined;
  /** TCP port; 0, the default, picks a free one. */
  readonly port?: number | undefined;
  /** Path of the state file; without one the keys live as long as the process. */
  readonly stateFile?: string | undefined;
  /** Twelve digits; ignored when the state file exists, which has its own. */
  readonly accountId?: string | undefined;
  /** Accepted access keys; default: TEST_ACCESS_KEY alone. */
  readonly accessKeys?: readonly AccessKey[] | undefined;
  /** `alias/…`, each with a key of its own, made in `region` when missing. */
  readonly aliases?: readonly string[] | undefined;
  readonly region?: string | undefined;
  readonly faults?: readonly FaultRule[] | undefined;
  readonly onCall?: ((call: CallRecord) => void) | undefined;
  readonly random?: Random | undefined;
  readonly randomBytes?: RandomBytes | undefined;
}

export interface DevKms {
  /** `http://127.0.0.1:PORT`, the `endpoint` of an AWS client. */
  readonly url: string;
  readonly port: number;
  readonly faults: FaultPlan;
  readonly calls: CallLog;
  readonly kms: EmbeddedKms;
  /** Key ARNs in the order of `aliases`. */
  readonly keyArns: readonly string[];
  close(): Promise<void>;
}

/**
 * Starts the embedded KMS on loopback. Not for production: keys lie unprotected in the state.
 * @throws KeyError BAD_OPTION, STORE_UNAVAILABLE, KEY_FILE_CORRUPT
 */
export async function startDevKms(options: DevKmsOptions): Promise<DevKms> {
  const { clock, randomBytes, host, port, region, aliases, stateFile, accountId, accessKeys, random } =
    normalise(options);
  const initial = () => initialState({ clock, randomBytes, accountId, region, aliases });
  const state = stateFile === undefined ? memoryState(initial()) : openStateFile(stateFile, initial, randomBytes);
  const kms = createEmbeddedKms({ state, clock, randomBytes });
  const keyArns = aliases.map((alias) => kms.ensureAlias(region, alias));

  const faults = new FaultPlan(random);
  faults.set(options.faults ?? []);
  const calls = new CallLog(options.onCall);
  const { server, close } = createEndpoint({ kms, accessKeys, faults, calls, clock, randomBytes });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(cannotListen(host, port, error)));
    server.listen({ host, port, exclusive: true }, () => resolve());
  });
  const bound = boundPort(server.address());
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    port: bound,
    faults,
    calls,
    kms,
    keyArns,
    close,
  };
}

function normalise(options: DevKmsOptions) {
  const host = options.host ?? '127.0.0.1';
  if (host !== '127.0.0.1' && host !== '::1') {
    throw new KeyError('BAD_OPTION', `host: expected 127.0.0.1 or ::1, got "${host}"`, {
      hint: 'the embedded KMS gives its keys to whoever reaches it, so it listens on loopback only',
    });
  }
  const port = options.port ?? 0;
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new KeyError('BAD_OPTION', `port: expected 0 to 65535, got ${port}`);
  }
  const region = options.region ?? DEFAULT_REGION;
  if (!REGION.test(region))
    throw new KeyError('BAD_OPTION', `region: expected a name such as us-east-1, got "${region}"`);
  const aliases = options.aliases ?? [];
  for (const alias of aliases) {
    if (!/^alias\/(?!aws\/)[a-zA-Z0-9/_-]{1,250}$/.test(alias)) {
      throw new KeyError('BAD_OPTION', `alias: expected alias/ and letters, digits, / _ -, got "${alias}"`);
    }
  }
  const randomBytes = options.randomBytes ?? systemRandomBytes;
  return {
    host,
    port,
    region,
    aliases,
    stateFile: options.stateFile,
    accountId: options.accountId ?? DEFAULT_ACCOUNT_ID,
    accessKeys: options.accessKeys ?? [TEST_ACCESS_KEY],
    clock: options.clock,
    random: options.random ?? (() => Buffer.from(randomBytes(6)).readUIntBE(0, 6) / 2 ** 48),
    randomBytes,
  };
}

function boundPort(address: AddressInfo | string | null): number {
  if (address === null || typeof address === 'string')
    throw new KeyError('INTERNAL', 'dev-kms: no TCP port after listen');
  return address.port;
}

function cannotListen(host: string, port: number, cause: Error): KeyError {
  return new KeyError(
    'BAD_OPTION',
    `cannot listen on ${host} port ${port} (${systemErrorCode(cause) ?? cause.message})`,
    {
      hint: 'another program may use that port; --port 0 takes a free one',
      cause,
    },
  );
}
