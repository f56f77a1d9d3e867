/** Manual pages, completion, licences and AppArmor's rules in the package that `npm run package -- deb` made. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeAll, expect, it } from 'vitest';
import { deadLinksOf } from '../support/dead-links.ts';
import { TestedPackage } from '../support/tested-package.ts';

const root = join(import.meta.dirname, '../..');
const NAME = 'mariadb-plugin-aws-key-management';
const tested = new TestedPackage('.deb');
/** A letter that mandoc prints again, for bold or underlined. */
const OVERSTRUCK = new RegExp(`.${'\b'}`, 'g');
let tree: string;

beforeAll(() => {
  tree = tested.scratch();
  execFileSync('dpkg-deb', ['--extract', tested.path, tree]);
});

/** @returns the text of a file of the package, which is compressed if it is long */
function document(name: string): string {
  const directory = join(tree, 'usr/share/doc', NAME);
  const compressed = readdirSync(directory).includes(`${name}.gz`);
  const file = join(directory, compressed ? `${name}.gz` : name);
  return compressed ? gunzipSync(readFileSync(file)).toString() : readFileSync(file, 'utf8');
}

function commandSays(...args: readonly string[]): string {
  return execFileSync(join(tree, 'usr/bin/mariadb-aws-kms'), args, { encoding: 'utf8' });
}

/** Names of the verbs that the command of the package lists. */
function verbs(): string[] {
  const listed = /^Commands:\n(?<lines>(?: {2}.*\n)+)/m.exec(commandSays('--help'))?.groups?.['lines'] ?? '';
  return [...listed.matchAll(/^ {2}(?<verb>[a-z][-a-z]*)/gm)].flatMap((match) => match.groups?.['verb'] ?? []);
}

it('each verb of the command has a manual page with all its options', () => {
  const pages = join(tree, 'usr/share/man/man1');
  const named = verbs().filter((verb) => verb !== 'help');
  expect(named.length).toBeGreaterThan(5);
  const expected = ['mariadb-aws-kms.1.gz', ...named.map((verb) => `mariadb-aws-kms-${verb}.1.gz`)];
  expect(readdirSync(pages).sort()).toEqual(expected.sort());
  for (const verb of named) {
    const source = gunzipSync(readFileSync(join(pages, `mariadb-aws-kms-${verb}.1.gz`)));
    const page = execFileSync('mandoc', ['-T', 'ascii'], { encoding: 'utf8', input: source }).replaceAll(
      OVERSTRUCK,
      '',
    );
    const options = [...commandSays(verb, '--help').matchAll(/^ {2}.*?(?<option>--[a-z][-a-z]*)/gm)];
    expect(options.length, verb).toBeGreaterThan(0);
    for (const option of options) expect(page, verb).toContain(option.groups?.['option']);
  }
});

it('completion knows the verbs and their options in a shell that has read it', () => {
  const file = join(tree, 'usr/share/bash-completion/completions/mariadb-aws-kms');
  const complete = (...words: readonly string[]): string[] => {
    const script = `source '${file}'; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
      read -r _ _ function _ <<< "$(complete -p mariadb-aws-kms | sed 's/.*-F/x -F/')"
      "$function" mariadb-aws-kms "\${COMP_WORDS[-1]}" "\${COMP_WORDS[-2]}"; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split('\n');
  };
  expect(complete('mariadb-aws-kms', 'rew')).toEqual(['rewrap']);
  expect(complete('mariadb-aws-kms', 'init', '--embedded')).toEqual(['--embedded-kms']);
  expect(complete('mariadb-aws-kms', 'init', '--credentials', '/etc/passw')).toContain('/etc/passwd');
});

it('no document that the package ships has a dead link', () => {
  const directory = join(tree, 'usr/share/doc', NAME);
  const documents = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.md(?:\.gz)?$/.test(file),
  );
  expect(documents).toEqual(expect.arrayContaining(['README.md', 'SECURITY.md', 'CHANGELOG.md', 'docs/aws.md']));
  const dead = documents.flatMap((file) => deadLinksOf(join(directory, file)).map((target) => `${file}: ${target}`));
  expect(dead).toEqual([]);
});

it('the licences, the notices, the offer of source and the bill of materials are there, of this build', () => {
  expect(document('LICENSE.plugin.txt')).toContain('GNU GENERAL PUBLIC LICENSE');
  expect(document('NOTICE.plugin.txt')).toContain('special exception');
  expect(document('LICENSE.txt')).toContain('Apache License');
  expect(document('LICENSE.nodejs.txt')).toContain('OpenSSL');
  expect(document('THIRD-PARTY-NOTICES.txt')).toMatch(/^@aws-sdk\/client-kms \d/m);
  const [, commit = ''] = /\((?<commit>[0-9a-f]+)/.exec(commandSays('--version')) ?? [];
  expect(commit).not.toBe('');
  expect(document('SOURCE-OFFER.txt')).toContain(commit);
  const bom: { components: { name: string }[] } = JSON.parse(document('sbom.cdx.json'));
  expect(bom.components.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['aws_key_management.so', 'client-kms', 'commander', 'node']),
  );
});

it("AppArmor's rules are those of the sources", () => {
  for (const file of ['local-mariadbd', 'mariadb-aws-kms-agent'])
    expect(readFileSync(join(tree, 'usr/share/mariadb-aws-kms/apparmor', file), 'utf8')).toBe(
      readFileSync(join(root, 'packaging/apparmor', file), 'utf8'),
    );
});
