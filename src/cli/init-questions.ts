import { KeyError } from '../errors.ts';
import { regionOfKey, type SetupFlags } from '../setup/choice.ts';
import type { SetupPaths } from '../setup/paths.ts';
import type { OptionFileOptions } from './option-files.ts';
import type { CliIo } from './process-io.ts';

export interface InitOptions extends OptionFileOptions {
  readonly masterKey?: string;
  readonly region?: string;
  readonly keyfileDir?: string;
  readonly credentials?: string;
  readonly endpointUrl?: string;
  readonly separateAgent?: boolean;
  readonly embeddedKms?: boolean;
  readonly removeTrial?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

interface Known {
  readonly paths: SetupPaths;
  readonly keysInDatadir: number;
}

/** Completes the flags with a person's answers; an empty answer means the default. @throws KeyError BAD_OPTION */
export async function askForFlags(
  options: InitOptions,
  io: Pick<CliIo, 'ask' | 'isInteractive'>,
  { paths, keysInDatadir }: Known,
): Promise<SetupFlags> {
  const { endpointUrl } = options;
  const isSeparateAgent = options.separateAgent ?? false;
  // A command line with the master key is complete: the other flags have defaults.
  if (options.masterKey !== undefined) {
    const { masterKey, region, keyfileDir, credentials = 'role' } = options;
    const asked = region ?? regionOfKey(masterKey) ?? (await answer(io, '--region', 'Region of the master key: '));
    return { masterKey, region: asked, keyfileDir, credentials, endpointUrl, isSeparateAgent };
  }
  const masterKey = await answer(io, '--master-key', 'master key (key id, ARN or alias/name in AWS KMS): ');
  const region =
    options.region ?? regionOfKey(masterKey) ?? (await answer(io, '--region', 'Region of the master key: '));
  const isDecided = options.keyfileDir !== undefined || keysInDatadir > 0 || isSeparateAgent;
  const typed = isDecided ? '' : (await io.ask(`directory of the key files [${paths.keyDirectory}]: `)).trim();
  const keyfileDir = options.keyfileDir ?? (typed === '' ? undefined : typed);
  const source = await io.ask(
    `AWS credentials of the ${isSeparateAgent ? 'agent' : 'server'}: role (of the instance, task or pod), or a file such as ${paths.credentialsFile} [role]: `,
  );
  return { masterKey, region, keyfileDir, credentials: source.trim() || 'role', endpointUrl, isSeparateAgent };
}

async function answer(io: Pick<CliIo, 'ask' | 'isInteractive'>, flag: string, question: string): Promise<string> {
  const text = io.isInteractive ? (await io.ask(question)).trim() : '';
  if (text !== '') return text;
  throw new KeyError('BAD_OPTION', `${flag} is missing`, {
    hint: 'mariadb-aws-kms init --master-key alias/NAME --region REGION; or a trial without AWS: mariadb-aws-kms init --embedded-kms',
  });
}
