/**
 * Licences and notices of everything in the executable, the offer of the plugin's source, and a bill of materials in
 * CycloneDX's form.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Enums, Models, Serialize, Spec } from '@cyclonedx/cyclonedx-library';
import { readSource } from './source.ts';

export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX identifier. */
  readonly license: string;
  /** Texts of its licence and notice files. */
  readonly texts: readonly string[];
}

const TEXTS = /^(?:licen[cs]e|notice|copying)/i;

/** The npm packages that files of the bundle belong to, in the order of their names. @throws Error without a licence */
export function bundledPackages(root: string, files: readonly string[]): readonly BundledPackage[] {
  const directories = new Set(
    files.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []),
  );
  return [...directories].sort().map((directory) => readPackage(join(root, directory), root));
}

function readPackage(directory: string, root: string): BundledPackage {
  const { name, version, license } = manifestOf(directory);
  const names = readdirSync(directory).filter((file) => TEXTS.test(file));
  const texts = names.sort().map((file) => readFileSync(join(directory, file), 'utf8'));
  // Some packages of the AWS SDK name their licence without its text, which this project's own licence is, too.
  if (!names.some((file) => /^(?:licen[cs]e|copying)/i.test(file))) {
    if (license !== 'Apache-2.0') throw new Error(`${name} ${version}: no text of its licence, ${license}`);
    texts.push(readFileSync(join(root, 'LICENSE'), 'utf8'));
  }
  return { name, version, license, texts };
}

function manifestOf(directory: string): Record<'name' | 'version' | 'license', string> {
  const manifest: unknown = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const text = (member: string): string => {
    const value: unknown = manifest !== null && typeof manifest === 'object' && Reflect.get(manifest, member);
    if (typeof value !== 'string') throw new Error(`${directory}/package.json: expected "${member}" to be text`);
    return value;
  };
  return { name: text('name'), version: text('version'), license: text('license') };
}

/** Each text once, below the packages that it belongs to. */
export function noticesText(packages: readonly BundledPackage[]): string {
  const owners = new Map<string, string[]>();
  for (const { name, version, license, texts } of packages)
    for (const text of texts.map((each) => each.trim()))
      owners.set(text, [...(owners.get(text) ?? []), `${name} ${version} (${license})`]);
  const parts = [...owners].map(([text, names]) => `${names.join('\n')}\n\n${text}\n`);
  const introduction = 'The executable mariadb-aws-kms contains these packages. Node.js is in LICENSE.nodejs.txt.\n';
  return [introduction, ...parts].join(`\n${'='.repeat(80)}\n\n`);
}

/** @returns JSON of CycloneDX 1.6, the same for the same packages */
export function billOfMaterials(packages: readonly BundledPackage[], version: string, commit: string): string {
  const ours = new Models.Component(Enums.ComponentType.Application, 'mariadb-aws-kms', {
    version,
    bomRef: 'mariadb-aws-kms',
    purl: `pkg:npm/mariadb-aws-kms@${version}`,
    properties: new Models.PropertyRepository([new Models.Property('mariadb-aws-kms:commit', commit)]),
    licenses: licenseOf('Apache-2.0'),
  });
  const plugin = new Models.Component(Enums.ComponentType.Library, 'aws_key_management.so', {
    version,
    bomRef: 'aws_key_management.so',
    licenses: licenseOf('GPL-2.0-only'),
  });
  const node = new Models.Component(Enums.ComponentType.Platform, 'node', {
    version: process.versions.node,
    bomRef: 'node',
    purl: `pkg:generic/node@${process.versions.node}`,
    licenses: licenseOf('MIT'),
  });
  // Versions of the libraries that Node.js is linked with, as it states them itself; one that it lacks is empty.
  for (const [name, library] of Object.entries(process.versions))
    if (library && !['node', 'modules', 'napi'].includes(name))
      node.components.add(
        new Models.Component(Enums.ComponentType.Library, name, {
          version: library,
          bomRef: `node/${name}`,
          purl: `pkg:generic/${name}@${library}`,
        }),
      );
  const components = packages.map(({ name, version: release, license }) => {
    const [, group, base = name] = /^(@[^/]+)\/(.*)$/.exec(name) ?? [];
    return new Models.Component(Enums.ComponentType.Library, base, {
      group,
      version: release,
      bomRef: `${name}@${release}`,
      purl: `pkg:npm/${name.replace('@', '%40')}@${release}`,
      licenses: licenseOf(license),
    });
  });
  const bom = new Models.Bom({
    components: new Models.ComponentRepository([plugin, node, ...components]),
    metadata: new Models.Metadata({ component: ours }),
  });
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

function licenseOf(id: string): Models.LicenseRepository {
  return new Models.LicenseRepository([new Models.SpdxLicense(id)]);
}

function sourceOffer(version: string, commit: string): string {
  return `aws_key_management.so, release ${version}, is free software under the GNU General Public License, version 2, whose text is in
LICENSE.plugin.txt. Its complete source is the directory plugin/ of this project at commit ${commit}, with the scripts
that build it. It is published where this package is published. For three years from the day on which you received this
package, its maintainers also give the source to anybody who asks, on a customary medium, for no more than the cost of
making and sending the copy.

The command mariadb-aws-kms is a separate program under the Apache License, version 2.0 (LICENSE.txt). It contains
Node.js (LICENSE.nodejs.txt) and the packages in THIRD-PARTY-NOTICES.txt. sbom.cdx.json lists all of them.

MariaDB's connector, the package mariadb in that list, is free software under the GNU Lesser General Public License,
version 2.1 or later. The command uses it unchanged. Its source is the package of that name and version on npm; the same
offer holds for it. You may change it, and build the command with your version of it: put that into node_modules/mariadb
of this project's source, and run: npm run build
`;
}

/** @param build a build of the sources in `root`; it gets a directory `notices` */
export function writeNotices(root: string, build: string): void {
  const out = join(build, 'notices');
  const files = readFileSync(join(build, 'bundled-files.txt'), 'utf8').split('\n');
  const { version, commit } = readSource();
  const packages = bundledPackages(root, files);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  cpSync(join(root, 'LICENSE'), join(out, 'LICENSE.txt'));
  cpSync(join(root, 'plugin/LICENSE'), join(out, 'LICENSE.plugin.txt'));
  cpSync(join(root, 'plugin/NOTICE'), join(out, 'NOTICE.plugin.txt'));
  cpSync(join(process.execPath, '../../LICENSE'), join(out, 'LICENSE.nodejs.txt'));
  writeFileSync(join(out, 'THIRD-PARTY-NOTICES.txt'), noticesText(packages));
  writeFileSync(join(out, 'SOURCE-OFFER.txt'), sourceOffer(version, commit));
  writeFileSync(join(out, 'sbom.cdx.json'), billOfMaterials(packages, version, commit));
}
