import { KeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { type EncryptionContext, parseEncryptionContext } from '../format/encryption-context.ts';
import { problemOfEndpointUrl } from '../format/endpoint-url.ts';
import { REGION, REGION_EXPECTED } from '../format/region.ts';
import {
  type DynamicWireSetting,
  defaultText,
  describeChoices,
  isDynamicWireSetting,
  isWireSetting,
  type LogLevel,
  nameOfWire,
  SETTINGS,
  type WireSetting,
} from '../format/settings.ts';
import type { KeySpec } from '../format/sidecar.ts';
import { type KeyIdSet, parseDecimal, parseKeyIdSet } from '../ids.ts';

export interface FailoverRegion {
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
}

/** The agent's parsed settings; src/format/settings.ts describes each. */
export interface Settings {
  /** Empty: no keys are created. */
  readonly masterKeyId: string;
  readonly keySpec: KeySpec;
  /** The algorithm for new versions; existing ones keep theirs. */
  readonly encryptionAlgorithm: EncryptionAlgorithm;
  readonly logLevel: LogLevel;
  readonly keyIds: KeyIdSet;
  readonly region: string;
  readonly endpointUrl: string;
  /** Milliseconds; 0: the agent's defaults. */
  readonly requestTimeoutMs: number;
  readonly mock: boolean;
  /** An absolute path. */
  readonly keyfileDir: string;
  readonly allowMissingKeys: boolean;
  readonly sealedKeyCache: boolean;
  /** Pairs that new keys are bound to, together with their id and version; empty: keys are not bound. */
  readonly encryptionContext: EncryptionContext;
  /** Regions that hold replicas of a multi-Region master key, in the order in which Decrypt tries them. */
  readonly failoverRegions: readonly FailoverRegion[];
}

/** A setting whose name begins so is one that an agent must understand. */
const MUST_BE_UNDERSTOOD = '!';

/**
 * Settings with a default for each that is missing, and the names of those that are unknown, which are to be ignored.
 * @throws KeyError BAD_OPTION, also for an unknown setting that must be understood; PROTOCOL for one that comes twice
 */
export function parseSettings(values: ReadonlyMap<string, string>): Settings & { readonly unknown: readonly string[] } {
  const known = new Map<WireSetting, string>();
  const unknown: string[] = [];
  for (const [sent, text] of values) {
    const isNeeded = sent.startsWith(MUST_BE_UNDERSTOOD);
    const name = isNeeded ? nameOfWire(sent.slice(MUST_BE_UNDERSTOOD.length)) : sent;
    if (isWireSetting(name)) {
      if (known.has(name)) throw new KeyError('PROTOCOL', `hello: the setting ${name} comes twice`);
      known.set(name, text);
    } else if (isNeeded) {
      throw new KeyError(
        'BAD_OPTION',
        `hello: this agent does not know the setting ${name}, which it must understand`,
        {
          hint: 'the plugin is the newer one: upgrade the package of the agent to its release',
        },
      );
    } else unknown.push(sent);
  }
  const value = (name: WireSetting): string => known.get(name) ?? defaultText(name);
  return {
    unknown,
    masterKeyId: value('master_key_id'),
    keySpec: parseChoice('key_spec', SETTINGS.key_spec.choices, value('key_spec')),
    encryptionAlgorithm: parseChoice(
      'encryption_algorithm',
      SETTINGS.encryption_algorithm.choices,
      value('encryption_algorithm'),
    ),
    logLevel: parseChoice('log_level', SETTINGS.log_level.choices, value('log_level')),
    keyIds: parseKeyIdSet(value('key_ids')),
    region: parseRegion(value('region')),
    endpointUrl: parseEndpoint('endpoint_url', value('endpoint_url')),
    requestTimeoutMs: parseMilliseconds('request_timeout', value('request_timeout')),
    mock: parseSwitch('mock', value('mock')),
    keyfileDir: parseDirectory(value('keyfile_dir')),
    allowMissingKeys: parseSwitch('allow_missing_keys', value('allow_missing_keys')),
    encryptionContext: parseEncryptionContext(value('encryption_context')),
    failoverRegions: parseFailoverRegions(value('failover_regions')),
    sealedKeyCache: parseSwitch('sealed_key_cache', value('sealed_key_cache')),
  };
}

/** Parsers of the settings that SET may change. */
const CHANGES: Readonly<Record<DynamicWireSetting, (text: string) => Partial<Settings>>> = {
  master_key_id: (text) => ({ masterKeyId: text }),
  key_spec: (text) => ({ keySpec: parseChoice('key_spec', SETTINGS.key_spec.choices, text) }),
  encryption_algorithm: (text) => ({
    encryptionAlgorithm: parseChoice('encryption_algorithm', SETTINGS.encryption_algorithm.choices, text),
  }),
  log_level: (text) => ({ logLevel: parseChoice('log_level', SETTINGS.log_level.choices, text) }),
  key_ids: (text) => ({ keyIds: parseKeyIdSet(text) }),
};

/**
 * Applies a change of a dynamic variable.
 * @returns the settings with that change
 * @throws KeyError BAD_OPTION, PROTOCOL
 */
export function changeSetting(settings: Settings, name: string, value: string): Settings {
  if (!isDynamicWireSetting(name)) throw new KeyError('PROTOCOL', `set: ${name} is not a setting that changes`);
  return { ...settings, ...CHANGES[name](value) };
}

function badOption(name: string, expected: string, got: string): KeyError {
  return new KeyError('BAD_OPTION', `aws_key_management_${name}: expected ${expected}, got "${got}"`);
}

function parseChoice<T extends string>(name: string, choices: readonly T[], text: string): T {
  const choice = choices.find((known) => known === text);
  if (choice === undefined) throw badOption(name, describeChoices(choices), text);
  return choice;
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
 * Parses `aws_key_management_failover_regions`: Regions separated by commas, each optionally with `=URL` for its
 * endpoint; empty means none.
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

/** The plugin refuses the same values before it starts an agent. */
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
