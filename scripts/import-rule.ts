/** The import rule of CONTRIBUTING.md: each layer imports from itself and the layers before it, nothing else. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const LAYERS = ['leaf', 'format', 'data', 'kms', 'keystore', 'keyring', 'doctor', 'agent', 'cli'] as const;
type Layer = (typeof LAYERS)[number];

/** Only these files of the plugin know the server. */
const KNOW_THE_SERVER = ['aws_key_management.c', 'server.c', 'status.c', 'sysvars.c'];

/** Everything in `root` that breaks the rule, a line each. */
export function importRuleViolations(root: string): string[] {
  return [...typescriptViolations(join(root, 'src')), ...pluginViolations(join(root, 'plugin'))];
}

function typescriptViolations(src: string): string[] {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return files.flatMap((file) => {
    const text = readFileSync(join(src, file), 'utf8');
    const layer = layerOf(file);
    const upwards = importsOf(text)
      .filter((target) => target.startsWith('.'))
      .map((target) => relative(src, join(src, dirname(file), target)))
      .filter((target) => !target.startsWith('..') && LAYERS.indexOf(layerOf(target)) > LAYERS.indexOf(layer))
      .map((target) => `src/${file} (${layer}) imports src/${target} (${layerOf(target)})`);
    const surroundings = layer === 'cli' ? null : /\b(?:process\.(?!hrtime)|console\.)\w+/.exec(text);
    if (surroundings !== null)
      upwards.push(`src/${file} uses ${surroundings[0]}: only src/cli touches the process and the terminal`);
    if (/^export default|^export \* from/m.test(text)) upwards.push(`src/${file} has a default export or export *`);
    return upwards;
  });
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/^(?:import|export)\b[^;]*?from '([^']+)'|\bimport\('([^']+)'\)/gm)].map(
    ([, from, dynamic]) => from ?? dynamic ?? '',
  );
}

function layerOf(file: string): Layer {
  const folder = file.split('/')[0];
  return LAYERS.find((layer) => layer === folder) ?? 'leaf';
}

function pluginViolations(plugin: string): string[] {
  return readdirSync(plugin)
    .filter(
      (file) =>
        /\.[ch]$/.test(file) &&
        !KNOW_THE_SERVER.includes(file) &&
        !KNOW_THE_SERVER.includes(file.replace(/\.h$/, '.c')),
    )
    .filter((file) => /^#include\s+[<"](?:my|mariadb)/m.test(readFileSync(join(plugin, file), 'utf8')))
    .map((file) => `plugin/${file} includes a header of the server`);
}
