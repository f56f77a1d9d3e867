import { Command } from 'commander';
import { wipe } from '../../bytes.ts';
import { readSmallFile } from '../../disk/small-file.ts';
import { KeyError, systemErrorCode } from '../../errors.ts';
import { isKeyId, type KeyId, parseDecimal } from '../../ids.ts';
import { parseVaultUrl, readVault } from '../../import/vault.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import type { CliIo } from '../process-io.ts';
import { processSecrets } from '../system.ts';
import { systemSurroundings } from '../system-surroundings.ts';
import { httpGet } from './http-get.ts';
import { IMPORT_HELP, importInto, type TargetOptions, targetOf, withTarget } from './target.ts';

interface VaultOptions extends TargetOptions {
  readonly url?: string;
  readonly tokenFile?: string;
  readonly namespace?: string;
  readonly ca?: string;
  readonly ids?: string;
  readonly allVersions?: boolean;
}

const PLUGIN = 'hashicorp_key_management';
const MOST_TOKEN_BYTES = 65_536;

/** `mariadb-aws-kms import vault`. @throws KeyError BAD_OPTION, SOURCE_UNAVAILABLE, and those of `importKeys` */
export function importVaultCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withTarget(new Command('vault'))
    .description(
      "take over the keys of a server from Vault's KV version 2; written from its description, not compared with a Vault",
    )
    .option('--url <url>', 'override hashicorp_key_management_vault_url: https://HOST:PORT/v1/MOUNT')
    .option('--token-file <file>', 'file with the token; default: the variable VAULT_TOKEN')
    .option('--namespace <name>', "Vault's namespace")
    .option('--ca <file>', 'override hashicorp_key_management_vault_ca: certificates to trust')
    .option('--ids <ids>', 'take these key ids, such as 1,3; default: those that Vault lists')
    .option('--all-versions', 'take every version, and not the latest of each key alone')
    .addHelpText('after', IMPORT_HELP)
    .addHelpText(
      'after',
      `
Example:
  mariadb-aws-kms import vault --token-file /etc/mysql/vault-token --all-versions --master-key-id alias/mariadb --dry-run`,
    )
    .action(async (options: VaultOptions) => {
      const outside = surroundings();
      const target = await targetOf(options, outside);
      const configured = (name: string): string | undefined => target.server.options.last(`${PLUGIN}_${name}`);
      const url = options.url ?? configured('vault_url');
      if (url === undefined)
        throw new KeyError('BAD_OPTION', 'no Vault is named, and hashicorp_key_management_vault_url is not set', {
          hint: 'name it: --url https://HOST:PORT/v1/MOUNT',
        });
      const place = parseVaultUrl(url);
      const ca = options.ca ?? configured('vault_ca');
      const request = {
        place,
        token: await tokenOf(options.tokenFile, outside),
        namespace: options.namespace ?? '',
        ids: options.ids === undefined ? undefined : parseIds(options.ids),
        allVersions: options.allVersions ?? false,
      };
      const get = httpGet(
        place.origin,
        ca === undefined || ca === '' ? undefined : await readFile('--ca', ca),
        outside.clock,
      );
      const keys = await readVault(request, get);
      try {
        await importInto(io, options, outside, target, {
          command: 'import vault',
          place: `${place.origin}/v1/${place.mount}`,
          keys,
          // MariaDB's plugin knows no other.
          algorithm: 'AES_CBC',
          isAlgorithmSure: true,
          warnings: [],
          change: {
            plugin: PLUGIN,
            destroy: [
              `the keys in ${place.mount}: ${place.origin}`,
              'the token of the server',
              'snapshots of that Vault',
            ],
          },
        });
      } finally {
        for (const { bytes } of keys) wipe(bytes);
      }
    });
}

async function tokenOf(file: string | undefined, { environment }: Surroundings): Promise<string> {
  const written = file === undefined ? environment['VAULT_TOKEN'] : String(await readFile('--token-file', file));
  const token = written?.trim() ?? '';
  processSecrets.add(token);
  if (/^[!-~]+$/.test(token)) return token;
  throw new KeyError('BAD_OPTION', 'there is no token for Vault', {
    hint: 'write it into a file that you alone may read: --token-file FILE; or set VAULT_TOKEN',
  });
}

async function readFile(option: string, path: string): Promise<Buffer> {
  return await readSmallFile(path, option === '--ca' ? undefined : MOST_TOKEN_BYTES).catch((cause: unknown) => {
    throw new KeyError('BAD_OPTION', `${option}: cannot read ${path}: ${systemErrorCode(cause) ?? 'no file'}`, {
      cause,
    });
  });
}

function parseIds(text: string): readonly KeyId[] {
  return text.split(',').map((part) => {
    const id = parseDecimal(part.trim());
    if (id === undefined || !isKeyId(id)) throw new KeyError('BAD_OPTION', `--ids: "${part}" is no key id`);
    return id;
  });
}
