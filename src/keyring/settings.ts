import { KeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { type EncryptionContext, parseEncryptionContext } from '../format/encryption-context.ts';
import { type FailoverRegion, parseEndpoint, parseFailoverRegions } from '../format/failover-regions.ts';
import { REGION, REGION_EXPECTED } from '../format/region.ts';
import {
  badOption,
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
    ...PARSERS.master_key_id(value('master_key_id')),
    ...PARSERS.key_spec(value('key_spec')),
    ...PARSERS.encryption_algorithm(value('encryption_algorithm')),
    ...PARSERS.log_level(value('log_level')),
    ...PARSERS.key_ids(value('key_ids')),
    ...PARSERS.region(value('region')),
    ...PARSERS.endpoint_url(value('endpoint_url')),
    ...PARSERS.request_timeout(value('request_timeout')),
    ...PARSERS.mock(value('mock')),
    ...PARSERS.keyfile_dir(value('keyfile_dir')),
    ...PARSERS.allow_missing_keys(value('allow_missing_keys')),
    ...PARSERS.encryption_context(value('encryption_context')),
    ...PARSERS.failover_regions(value('failover_regions')),
    ...PARSERS.sealed_key_cache(value('sealed_key_cache')),
  };
}

/** The parser of each setting, for HELLO and for SET. */
const PARSERS = {
  master_key_id: (text: string) => ({ masterKeyId: text }),
  key_spec: (text: string) => ({ keySpec: parseChoice('key_spec', SETTINGS.key_spec.choices, text) }),
  encryption_algorithm: (text: string) => ({
    encryptionAlgorithm: parseChoice('encryption_algorithm', SETTINGS.encryption_algorithm.choices, text),
  }),
  log_level: (text: string) => ({ logLevel: parseChoice('log_level', SETTINGS.log_level.choices, text) }),
  key_ids: (text: string) => ({ keyIds: parseKeyIdSet(text) }),
  region: (text: string) => ({ region: parseRegion(text) }),
  endpoint_url: (text: string) => ({ endpointUrl: parseEndpoint('endpoint_url', text) }),
  request_timeout: (text: string) => ({ requestTimeoutMs: parseMilliseconds('request_timeout', text) }),
  mock: (text: string) => ({ mock: parseSwitch('mock', text) }),
  keyfile_dir: (text: string) => ({ keyfileDir: parseDirectory(text) }),
  allow_missing_keys: (text: string) => ({ allowMissingKeys: parseSwitch('allow_missing_keys', text) }),
  encryption_context: (text: string) => ({ encryptionContext: parseEncryptionContext(text) }),
  failover_regions: (text: string) => ({ failoverRegions: parseFailoverRegions(text) }),
  sealed_key_cache: (text: string) => ({ sealedKeyCache: parseSwitch('sealed_key_cache', text) }),
} satisfies Readonly<Record<WireSetting, (text: string) => Partial<Settings>>>;

/**
 * Applies a change of a dynamic variable.
 * @returns the settings with that change
 * @throws KeyError BAD_OPTION, PROTOCOL
 */
export function changeSetting(settings: Settings, name: string, value: string): Settings {
  if (!isDynamicWireSetting(name)) throw new KeyError('PROTOCOL', `set: ${name} is not a setting that changes`);
  return { ...settings, ...PARSERS[name](value) };
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

/** The plugin refuses the same values before it starts an agent. */
function parseRegion(text: string): string {
  if (text !== '' && !REGION.test(text)) throw badOption('region', REGION_EXPECTED, text);
  return text;
}
