import { KeyError } from '../errors.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { type EncryptionContext, parseEncryptionContext } from '../format/encryption-context.ts';
import { problemOfEndpointUrl } from '../format/endpoint-url.ts';
import { REGION, REGION_EXPECTED } from '../format/region.ts';
import { KEY_SPECS, type KeySpec } from '../format/sidecar.ts';
import { type KeyIdSet, parseDecimal, parseKeyIdSet } from '../ids.ts';

/** `aws_key_management_log_level`: the AWS SDK's levels, as the original plugin named them, quiet to loud. */
export const LOG_LEVELS = ['Off', 'Fatal', 'Error', 'Warn', 'Info', 'Debug', 'Trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function logs(configured: LogLevel, level: LogLevel): boolean {
  return LOG_LEVELS.indexOf(configured) >= LOG_LEVELS.indexOf(level);
}

export interface FailoverRegion {
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
}

/** What the server's variables say; the names are theirs without `aws_key_management_`. */
export interface Settings {
  /** Empty: no keys are created. */
  readonly masterKeyId: string;
  readonly keySpec: KeySpec;
  /** Of new versions; existing ones keep theirs. */
  readonly encryptionAlgorithm: EncryptionAlgorithm;
  readonly logLevel: LogLevel;
  readonly keyIds: KeyIdSet;
  readonly region: string;
  readonly endpointUrl: string;
  /** 0: our defaults. */
  readonly requestTimeoutMs: number;
  readonly mock: boolean;
  /** Absolute. */
  readonly keyfileDir: string;
  readonly allowMissingKeys: boolean;
  readonly sealedKeyRing: boolean;
  /** Pairs that new keys are bound to, with their id and version; empty: to nothing. */
  readonly encryptionContext: EncryptionContext;
  /** Regions that hold replicas of a multi-Region master key, in the order in which Decrypt tries them. */
  readonly failoverRegions: readonly FailoverRegion[];
}

const NAMES = [
  'master_key_id',
  'key_spec',
  'log_level',
  'region',
  'endpoint_url',
  'request_timeout',
  'mock',
  'keyfile_dir',
  'key_ids',
  'allow_missing_keys',
  'encryption_context',
  'failover_regions',
  'encryption_algorithm',
  'sealed_key_ring',
] as const;

/**
 * Every setting exactly once, none that is unknown.
 * @throws KeyError BAD_OPTION, PROTOCOL
 */
export function parseSettings(values: ReadonlyMap<string, string>): Settings {
  const unknown = [...values.keys()].filter((name) => !NAMES.some((known) => known === name));
  if (unknown.length > 0) throw new KeyError('PROTOCOL', `hello: unknown setting ${unknown.join(', ')}`);
  const value = (name: (typeof NAMES)[number]): string => {
    const text = values.get(name);
    if (text === undefined) throw new KeyError('PROTOCOL', `hello: setting ${name} is missing`);
    return text;
  };
  return {
    masterKeyId: value('master_key_id'),
    keySpec: parseChoice('key_spec', KEY_SPECS, value('key_spec')),
    encryptionAlgorithm: parseChoice('encryption_algorithm', ENCRYPTION_ALGORITHMS, value('encryption_algorithm')),
    logLevel: parseChoice('log_level', LOG_LEVELS, value('log_level')),
    keyIds: parseKeyIdSet(value('key_ids')),
    region: parseRegion(value('region')),
    endpointUrl: parseEndpoint('endpoint_url', value('endpoint_url')),
    requestTimeoutMs: parseMilliseconds('request_timeout', value('request_timeout')),
    mock: parseSwitch('mock', value('mock')),
    keyfileDir: parseDirectory(value('keyfile_dir')),
    allowMissingKeys: parseSwitch('allow_missing_keys', value('allow_missing_keys')),
    encryptionContext: parseEncryptionContext(value('encryption_context')),
    failoverRegions: parseFailoverRegions(value('failover_regions')),
    sealedKeyRing: parseSwitch('sealed_key_ring', value('sealed_key_ring')),
  };
}

/**
 * Takes a changed dynamic variable over.
 * @returns the settings with that change
 * @throws KeyError BAD_OPTION, PROTOCOL
 */
export function changeSetting(settings: Settings, name: string, value: string): Settings {
  switch (name) {
    case 'master_key_id':
      return { ...settings, masterKeyId: value };
    case 'key_spec':
      return { ...settings, keySpec: parseChoice('key_spec', KEY_SPECS, value) };
    case 'encryption_algorithm':
      return { ...settings, encryptionAlgorithm: parseChoice('encryption_algorithm', ENCRYPTION_ALGORITHMS, value) };
    case 'log_level':
      return { ...settings, logLevel: parseChoice('log_level', LOG_LEVELS, value) };
    case 'key_ids':
      return { ...settings, keyIds: parseKeyIdSet(value) };
    default:
      throw new KeyError('PROTOCOL', `set: ${name} is not a setting that changes`);
  }
}

function badOption(name: string, expected: string, got: string): KeyError {
  return new KeyError('BAD_OPTION', `aws_key_management_${name}: expected ${expected}, got "${got}"`);
}

function parseChoice<T extends string>(name: string, choices: readonly T[], text: string): T {
  const choice = choices.find((known) => known === text);
  if (choice === undefined) throw badOption(name, describeChoices(choices), text);
  return choice;
}

export function describeChoices(choices: readonly string[]): string {
  return choices.join(choices.length === 2 ? ' or ' : ', ');
}

function parseSwitch(name: string, text: string): boolean {
  if (text !== 'ON' && text !== 'OFF') throw badOption(name, 'ON or OFF', text);
  return text === 'ON';
}

function parseMilliseconds(name: string, text: string): number {
  const ms = parseDecimal(text);
  if (ms === undefined) throw badOption(name, 'milliseconds', text);
  return ms;
}

function parseDirectory(text: string): string {
  if (!text.startsWith('/')) throw badOption('keyfile_dir', 'an absolute path', text);
  return text;
}

/**
 * Parses `aws_key_management_failover_regions`: Regions separated by commas, each with `=URL` when it is reached by an
 * endpoint of its own; empty means none.
 * @throws KeyError BAD_OPTION
 */
export function parseFailoverRegions(text: string): readonly FailoverRegion[] {
  if (text.trim() === '') return [];
  const known = new Set<string>();
  return text.split(',').map((part) => {
    const [region = '', ...url] = part.trim().split('=');
    if (!REGION.test(region)) {
      throw badOption('failover_regions', 'Regions such as eu-west-1,eu-central-1', part.trim());
    }
    if (known.has(region)) throw badOption('failover_regions', 'each Region once', part.trim());
    known.add(region);
    return { region, endpointUrl: parseEndpoint('failover_regions', url.join('=')) };
  });
}

/** The plugin refuses the same before it starts an agent. */
function parseRegion(text: string): string {
  if (text !== '' && !REGION.test(text)) throw badOption('region', REGION_EXPECTED, text);
  return text;
}

function parseEndpoint(name: string, text: string): string {
  if (text === '') return text;
  const problem = problemOfEndpointUrl(text);
  if (problem !== undefined) throw new KeyError('BAD_OPTION', `aws_key_management_${name}: ${problem}`);
  return text;
}
