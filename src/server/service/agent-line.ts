import { parseArgs } from 'node:util';

/** The options of `mariadb-aws-kms agent`. */
const KNOWN = {
  listen: { type: 'string' },
  'keyfile-dir': { type: 'string' },
  region: { type: 'string' },
  'endpoint-url': { type: 'string' },
  'failover-regions': { type: 'string' },
  mock: { type: 'boolean' },
} as const;

export type AgentOption = keyof typeof KNOWN;

export const AGENT_OPTIONS: readonly AgentOption[] = [
  'listen',
  'keyfile-dir',
  'region',
  'endpoint-url',
  'failover-regions',
  'mock',
];

/** The command line of a separate agent. */
export interface AgentLine {
  /** Each option that is given, as it is written; a switch is the empty text. */
  readonly options: Readonly<Partial<Record<AgentOption, string>>>;
  /** Words with which the agent does not start; never a value. */
  readonly refused: readonly Refused[];
}

export interface Refused {
  readonly word: string;
  /** A sentence's end after "the agent". */
  readonly reason: string;
}

/** @param words after the program: `agent`, then its options */
export function parseAgentLine(words: readonly string[]): AgentLine {
  const { tokens } = parseArgs({
    args: [...words],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: KNOWN,
  });
  const options: Partial<Record<AgentOption, string>> = {};
  const refused = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const name = AGENT_OPTIONS.find((known) => token.rawName === `--${known}`);
    const [word = ''] = (words[token.index] ?? '').split('=', 1);
    if (name === undefined) refused.set(word, `has no option ${word}`);
    else if (KNOWN[name].type === 'string' && token.value === undefined) refused.set(word, `wants a value for ${word}`);
    else options[name] = token.value ?? '';
  }
  const [, second] = tokens.filter(({ kind }) => kind === 'positional');
  // A word after an unknown option is probably its value.
  if (second !== undefined && refused.size === 0)
    refused.set(words[second.index] ?? '', 'takes no word that belongs to no option, and is given one');
  return { options, refused: [...refused].map(([word, reason]) => ({ word, reason })) };
}
