/** The answer of `verify-data` about the files of a state, with all keys and with some taken away. */
import type { AuditedFile, AuditJson, Site } from './site.ts';
import type { Check } from './truth.ts';

/** The answer of `verify-data --json`, as far as it is used here. */
interface VerifiedJson {
  readonly ok: boolean;
  readonly missing: readonly VersionInFiles[];
  readonly files: readonly {
    readonly file: string;
    readonly versions: readonly { readonly version: number; readonly decrypted?: number }[];
    readonly failures: readonly string[];
  }[];
  readonly unseen: readonly { readonly path: string; readonly reason: string }[];
}

interface VersionInFiles {
  readonly keyId: number;
  readonly version: number;
  readonly files: readonly string[];
}

/** Classes of needs that are data in use. */
const IN_USE = ['start', 'read', 'logs'];
const WHAT = 'verify-data';

/**
 * Compares `verify-data` with the audit: the same files have the same versions, and those without a key that is taken
 * away are named with it.
 * @param taken versions that the key directory lacks, as ID.VERSION
 */
export async function compareVerified(
  site: Site,
  audit: AuditJson,
  taken: readonly string[],
  copy?: string,
): Promise<readonly Check[]> {
  const { status, stdout, stderr } = await site.command('verify-data', '--json', ...(copy === undefined ? [] : [copy]));
  if (stdout === '') return [{ what: WHAT, problem: `status ${status}: ${stderr}` }];
  const answer: VerifiedJson = JSON.parse(stdout);
  const needed = taken.map((name) => versionIn(audit, name)).filter(({ files }) => files.length > 0);
  const expected = needed.length === 0 ? 0 : 1;
  const problems = [
    ...(status === expected && answer.ok === (expected === 0)
      ? []
      : [`status ${status}: ${JSON.stringify(failuresOf(answer))}`]),
    ...answer.unseen.map(({ path, reason }) => `${path} is not read: ${reason}`),
    ...differences(needed, answer.missing),
    ...(expected === 0 ? audit.files.flatMap((file) => versionDifference(file, answer)) : []),
  ];
  return [{ what: WHAT, problem: problems.join('; ') }];
}

function failuresOf({ files }: VerifiedJson): readonly string[] {
  return files.flatMap(({ file, failures }) => failures.map((failure) => `${file}: ${failure}`)).slice(0, 10);
}

function versionIn({ keyVersions }: AuditJson, name: string): VersionInFiles {
  const [keyId = 0, version = 0] = name.split('.').map(Number);
  const found = keyVersions.find((one) => one.keyId === keyId && one.version === version);
  const files = IN_USE.flatMap((need) => found?.needs[need]?.files ?? []);
  return { keyId, version, files: [...new Set(files)].sort() };
}

function differences(needed: readonly VersionInFiles[], named: readonly VersionInFiles[]): readonly string[] {
  const lines = (all: readonly VersionInFiles[]): ReadonlySet<string> =>
    new Set(all.flatMap(({ keyId, version, files }) => files.map((file) => `key ${keyId}.${version} of ${file}`)));
  const [expected, got] = [lines(needed), lines(named)];
  return [
    ...[...expected].filter((line) => !got.has(line)).map((line) => `${line} is not named`),
    ...[...got].filter((line) => !expected.has(line)).map((line) => `${line} is named, and not audited`),
  ];
}

/**
 * Every version of pages in use has pages that decrypt, and no page has a version that the audit did not see. In a file
 * whose pages in use are in clear, free pages may still decrypt, and nothing needs their versions.
 */
function versionDifference(
  { file, kind, keyVersions, state }: AuditedFile,
  { files }: VerifiedJson,
): readonly string[] {
  if (!kind.endsWith('tablespace') || kind.startsWith('temporary')) return [];
  const verified = files.find((one) => one.file === file);
  if (verified === undefined) return [`${file} is not verified`];
  const decrypted = new Set(verified.versions.map(({ version }) => version));
  const inUse = keyVersions.filter(({ pagesInUse = 0 }) => pagesInUse > 0).map(({ version }) => version);
  const audited = new Set(keyVersions.map(({ version }) => version));
  return [
    ...inUse.filter((version) => !decrypted.has(version)).map((version) => `${file}: no page of version ${version}`),
    ...[...decrypted]
      .filter((version) => state !== 'clear' && !audited.has(version))
      .map((version) => `${file}: pages of ${version}`),
  ];
}
