import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { bundle } from '../../../scripts/bundle.ts';
import { billOfMaterials, bundledPackages, noticesText } from '../../../scripts/notices.ts';

const root = join(import.meta.dirname, '../../..');
const { inputs } = await bundle('0123456789ab');
const packages = bundledPackages(root, inputs);
/** Directories of packages: two versions of one package have two. */
const directories = new Set(
  inputs.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []),
);
const nameOf = (directory: string): string => directory.replace(/^.*node_modules\//, '');
const names = [...directories].map(nameOf);

it('every package of the bundle has its licence and notice texts in the notices, and no other package is named', () => {
  const text = noticesText(packages);
  for (const directory of directories)
    for (const file of readdirSync(join(root, directory)).filter((each) => /^(?:licen[cs]e|notice)/i.test(each)))
      expect(text, directory).toContain(readFileSync(join(root, directory, file), 'utf8').trim());
  const named = [...text.matchAll(/^(\S+) \d\S* \(\S+\)$/gm)].map(([, name]) => name);
  expect(new Set(named)).toEqual(new Set(names));
  expect(names.length).toBeGreaterThan(10);
});

it('every package of the bundle is a component of the bill of materials, beside Node.js and the plugin', () => {
  const bom: { components: { 'bom-ref': string }[] } = JSON.parse(billOfMaterials(packages, '0.1.0', '0123456789ab'));
  const expected = packages.map(({ name, version }) => `${name}@${version}`);
  expect(packages.map(({ name }) => name).sort()).toEqual([...names].sort());
  expect(bom.components.map((component) => component['bom-ref']).sort()).toEqual(
    [...expected, 'node', 'aws_key_management.so'].sort(),
  );
});

it('the bill of materials has the libraries inside Node.js in a form that scanners look up', () => {
  const bom: { components: { name: string; components?: { purl: string }[] }[] } = JSON.parse(
    billOfMaterials(packages, '0.1.0', '0123456789ab'),
  );
  const inNode = bom.components.find(({ name }) => name === 'node')?.components?.map(({ purl }) => purl);
  expect(inNode).toContain(`pkg:generic/openssl@${process.versions.openssl}`);
  expect(inNode).toContain(`pkg:generic/zlib@${process.versions.zlib}`);
  expect(inNode?.filter((purl) => purl.endsWith('@'))).toEqual([]);
});

it('the bill of materials is the same each time', () => {
  const make = (): string => billOfMaterials(packages, '0.1.0', '0123456789ab');
  expect(make()).toBe(make());
});

it('a package without its own text has that of the Apache License, and one that is not there stops the notices', () => {
  const files = ['test/vectors/none', 'node_modules/@aws-sdk/nested-clients/dist-es/index.js'];
  expect(bundledPackages(root, files)[0]?.texts.join('')).toContain('Apache License');
  expect(() => bundledPackages(root, ['node_modules/absent/index.js'])).toThrow('node_modules/absent');
});
