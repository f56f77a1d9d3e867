import { dirname, join } from 'node:path';
import { optionFile } from '../format/option-file.ts';
import type { SettingName } from '../format/settings.ts';
import { AGENT_SOCKET_PREFIX } from '../server/plugin-options.ts';
import { AGENT_UNIT } from '../server/service/agent-service.ts';
import { initBlock } from '../server/service/init-defaults.ts';
import type { SystemPaths } from '../server/surroundings.ts';
import type { SetupChoice } from './choice.ts';
import { agentDropIn, credentialsDropIn, keyDirectoryDropIn } from './drop-in.ts';
import { OPTION_FILE, type SetupPaths } from './paths.ts';
import type { Starter } from './starter.ts';
import { type FileStep, type Owner, ROOT, type Step } from './step.ts';

/** The place of a set-up: how the server is started, by which user, and the directories of this system. */
export interface Site {
  readonly paths: SetupPaths;
  readonly system: SystemPaths;
  readonly starter: Starter;
  /** The server's unit with `.service`. */
  readonly unit: string;
  readonly optionDirectory: string;
  /** The user that the server runs as. */
  readonly server: Owner;
  /** The separate agent's user; undefined: the system has none. */
  readonly agent: Owner | undefined;
}

export const PUBLIC_FILE = 0o644;
export const PUBLIC_DIRECTORY = 0o755;
const [PRIVATE_FILE, KEY_DIRECTORY, AGENT_KEY_DIRECTORY] = [0o600, 0o750, 0o700];
const DROP_IN = 'mariadb-aws-kms.conf';
const HEAD =
  'MariaDB data-at-rest encryption with keys held by AWS KMS. Written by `mariadb-aws-kms init`; yours to edit.';

const CREDENTIALS = `# AWS credentials for MariaDB's keys. Written by \`mariadb-aws-kms init\`; yours to fill in.
[default]
# aws_access_key_id = …
# aws_secret_access_key = …
`;

/** The steps that set up a server with AWS. */
export function serverSteps(choice: SetupChoice, site: Site): readonly Step[] {
  const { paths } = site;
  const { keyfileDir, credentialsFile, isSeparateAgent } = choice;
  const reader = readerOf(choice, site);
  const mode = isSeparateAgent ? AGENT_KEY_DIRECTORY : KEY_DIRECTORY;
  return [
    ...(keyfileDir === '' ? [] : [{ kind: 'directory', path: keyfileDir, owner: reader, mode } as const]),
    ...(credentialsFile === undefined ? [] : credentialsSteps(credentialsFile, reader, paths)),
    ...(isSeparateAgent ? agentSteps(choice, site) : variableSteps(credentialsFile, site)),
    optionFileStep(site, [HEAD], {
      master_key_id: choice.masterKey,
      region: choice.region,
      ...(choice.endpointUrl === undefined ? {} : { endpoint_url: choice.endpointUrl }),
      ...(isSeparateAgent
        ? { agent: `${AGENT_SOCKET_PREFIX}${paths.agentSocket}` }
        : keyfileDir === ''
          ? {}
          : { keyfile_dir: keyfileDir }),
    }),
  ];
}

/** Returns the user that reads key files and credentials. */
export function readerOf({ isSeparateAgent }: SetupChoice, { agent, server }: Site): Owner {
  return isSeparateAgent && agent !== undefined ? agent : server;
}

export function optionFileStep(
  { optionDirectory }: Site,
  head: readonly string[],
  values: Readonly<Partial<Record<SettingName, string>>>,
): FileStep {
  const path = join(optionDirectory, OPTION_FILE);
  return { kind: 'file', path, owner: ROOT, mode: PUBLIC_FILE, text: optionFile({ head, values }) };
}

/** The drop-in of the server's unit and its directory. */
export function dropInSteps({ paths, unit }: Site, text: string): readonly Step[] {
  return dropInOf(unit, paths, text);
}

export function dropInPath({ paths, unit }: Site): string {
  return join(paths.unitDirectory, `${unit}.d`, DROP_IN);
}

function dropInOf(unit: string, paths: SetupPaths, text: string): readonly Step[] {
  const directory = join(paths.unitDirectory, `${unit}.d`);
  return [
    { kind: 'directory', path: directory, owner: ROOT, mode: PUBLIC_DIRECTORY },
    { kind: 'file', path: join(directory, DROP_IN), owner: ROOT, mode: PUBLIC_FILE, text },
  ];
}

/** The block in the shell file that Debian's script reads. */
export function blockStep({ system }: Site, comment: string, credentialsFile: string): Step {
  const text = initBlock(comment, [['AWS_SHARED_CREDENTIALS_FILE', credentialsFile]]);
  return { kind: 'block', path: system.initDefaults, owner: ROOT, mode: PUBLIC_FILE, text };
}

/** Gives the server the variable that names its credentials file. */
function variableSteps(credentialsFile: string | undefined, site: Site): readonly Step[] {
  if (credentialsFile === undefined) return [];
  if (site.starter === 'systemd') return dropInSteps(site, credentialsDropIn(credentialsFile));
  if (site.starter === 'script') return [blockStep(site, `${site.system.initScript} reads this.`, credentialsFile)];
  return [];
}

function credentialsSteps(file: string, owner: Owner, paths: SetupPaths): readonly Step[] {
  const directory = dirname(file);
  const isOurs = directory === dirname(paths.credentialsFile);
  return [
    ...(isOurs ? [{ kind: 'directory', path: directory, owner: ROOT, mode: PUBLIC_DIRECTORY } as const] : []),
    { kind: 'file', path: file, owner, mode: PRIVATE_FILE, text: CREDENTIALS, isKept: true },
  ];
}

/** The unit of the agent lets it write its usual key directory alone. */
function agentSteps(choice: SetupChoice, site: Site): readonly Step[] {
  const { keyfileDir } = choice;
  const { paths } = site;
  const always = [agentDefaults(choice, paths), ...dropInSteps(site, agentDropIn())];
  if (keyfileDir === paths.agentKeyDirectory) return always;
  return [...always, ...dropInOf(`${AGENT_UNIT}.service`, paths, keyDirectoryDropIn(keyfileDir))];
}

function agentDefaults(choice: SetupChoice, paths: SetupPaths): Step {
  const { region, endpointUrl, keyfileDir, credentialsFile } = choice;
  const options = [
    `--region ${region}`,
    ...(endpointUrl === undefined ? [] : [`--endpoint-url ${endpointUrl}`]),
    ...(keyfileDir === paths.agentKeyDirectory ? [] : [`--keyfile-dir ${keyfileDir}`]),
  ];
  const lines = [
    '# Options and AWS variables of the separate agent: systemd reads this for mariadb-aws-kms-agent.service.',
    '# Written by `mariadb-aws-kms init`; yours to edit. After a change: systemctl restart mariadb-aws-kms-agent',
    `AGENT_OPTIONS="${options.join(' ')}"`,
    ...(credentialsFile === undefined ? [] : [`AWS_SHARED_CREDENTIALS_FILE=${credentialsFile}`]),
  ];
  const text = `${lines.join('\n')}\n`;
  return { kind: 'file', path: paths.agentDefaults, owner: ROOT, mode: PUBLIC_FILE, text };
}
