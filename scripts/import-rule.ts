/** The import rule of CONTRIBUTING.md: the files that each folder of `src` and `plugin` may import or include. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Each folder with the others that it may import from. A folder comes after all that it imports from. */
type Layers = Readonly<Record<string, readonly string[]>>;

/** `leaf` stands for the files in `src` itself, except for `index.ts`, which belongs to `api`. */
const SOURCE: Layers = {
  leaf: [],
  format: ['leaf'],
  disk: ['leaf', 'format'],
  data: ['leaf', 'format', 'disk'],
  'audit-log': ['leaf', 'disk'],
  audit: ['leaf', 'format', 'data'],
  'kms/failures': ['leaf'],
  kms: ['leaf', 'format', 'kms/failures'],
  'kms/aws': ['leaf', 'format', 'disk', 'kms/failures', 'kms'],
  'dev-kms': ['leaf', 'format', 'kms'],
  keystore: ['leaf', 'format', 'disk'],
  keyring: ['leaf', 'format', 'disk', 'kms/failures', 'kms', 'keystore'],
  escrow: ['leaf', 'format', 'kms', 'keystore', 'keyring'],
  decrypt: ['leaf', 'format', 'disk', 'data', 'kms', 'keystore', 'keyring'],
  import: ['leaf', 'format', 'kms', 'kms/failures', 'keystore', 'keyring', 'decrypt'],
  sql: ['leaf'],
  server: ['leaf', 'format', 'disk', 'data', 'kms', 'kms/aws', 'sql'],
  iam: ['leaf', 'format', 'kms'],
  login: ['leaf', 'kms/failures', 'kms/aws'],
  doctor: ['leaf', 'format', 'data', 'kms/failures', 'kms', 'keystore', 'server', 'iam'],
  setup: ['leaf', 'format', 'disk', 'data', 'iam', 'server'],
  operate: ['leaf', 'format', 'data', 'audit', 'keystore', 'keyring', 'sql', 'server'],
  agent: ['leaf', 'format', 'kms', 'keyring'],
  api: ['leaf', 'format', 'disk', 'kms', 'kms/aws', 'keystore', 'keyring'],
  cli: [
    'leaf',
    'format',
    'disk',
    'data',
    'audit',
    'audit-log',
    'kms',
    'kms/aws',
    'dev-kms',
    'keystore',
    'keyring',
    'escrow',
    'decrypt',
    'import',
    'sql',
    'server',
    'iam',
    'login',
    'doctor',
    'setup',
    'operate',
    'agent',
  ],
};

const PLUGIN: Layers = {
  base: [],
  keys: [],
  crypt: ['keys'],
  data: ['base', 'keys', 'crypt'],
  client: ['base', 'keys'],
  server: ['base', 'keys', 'crypt', 'data', 'client'],
};

/** The only folder of the plugin that may include the server's headers. */
const KNOWS_THE_SERVER = 'server';

interface Import {
  readonly file: string;
  readonly target: string;
}

/** Returns all violations of the rule in `root`, a line each. */
export function importRuleViolations(root: string): string[] {
  const source = sourceFiles(join(root, 'src'), /\.ts$/);
  const plugin = sourceFiles(join(root, 'plugin'), /\.[ch]$/).filter(({ file }) => !/^(?:test|fuzz)\//.test(file));
  const sourceImports = source.flatMap(({ file, text }) => importsOf(file, text));
  const pluginImports = plugin.flatMap(({ file, text }) => includesOf(file, text));
  return [
    ...layerViolations('src', SOURCE, source, sourceImports),
    ...source.flatMap(({ file, text }) => habitViolations(file, text)),
    ...circles('src', sourceImports),
    ...layerViolations('plugin', PLUGIN, plugin, pluginImports),
    ...plugin
      .filter(({ file, text }) => folderOf(file) !== KNOWS_THE_SERVER && /^#include\s+[<"](?:my|mariadb)/m.test(text))
      .map(({ file }) => `plugin/${file} includes a header of the server: only plugin/${KNOWS_THE_SERVER} may`),
    ...circles('plugin', pluginImports),
  ];
}

/** Permissions of the rule that nothing in `root` needs, a line each. */
export function unusedPermissions(root: string): string[] {
  const source = sourceFiles(join(root, 'src'), /\.ts$/).flatMap(({ file, text }) => importsOf(file, text));
  const plugin = sourceFiles(join(root, 'plugin'), /\.[ch]$/).flatMap(({ file, text }) => includesOf(file, text));
  return [...unused(SOURCE, source), ...unused(PLUGIN, plugin)];
}

function unused(layers: Layers, imports: readonly Import[]): readonly string[] {
  const used = new Set(imports.map(({ file, target }) => `${folderOf(file)} → ${folderOf(target)}`));
  return Object.entries(layers)
    .flatMap(([from, targets]) => targets.map((to) => `${from} → ${to}`))
    .filter((permission) => !used.has(permission));
}

interface SourceFile {
  readonly file: string;
  readonly text: string;
}

function sourceFiles(directory: string, pattern: RegExp): readonly SourceFile[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => pattern.test(file))
    .sort()
    .map((file) => ({ file, text: readFileSync(join(directory, file), 'utf8') }));
}

function importsOf(file: string, text: string): readonly Import[] {
  return [...text.matchAll(/^(?:import|export)\b[^;]*?from '([^']+)'|\bimport\('([^']+)'\)/gm)]
    .map(([, from, dynamic]) => from ?? dynamic ?? '')
    .filter((target) => target.startsWith('.'))
    .map((target) => ({ file, target: join(dirname(file), target) }))
    .filter(({ target }) => !target.startsWith('..'));
}

function includesOf(file: string, text: string): readonly Import[] {
  return [...text.matchAll(/^#include "([^"]+)"/gm)].map(([, target = '']) => ({ file, target }));
}

/** The folder of the rule that a file lies in: `kms/aws/http/direct.ts` lies in `kms/aws`. */
function folderOf(file: string): string {
  const [first = '', second = '', ...deeper] = file.split('/');
  if (second === '') return file === 'index.ts' ? 'api' : 'leaf';
  return deeper.length > 0 && `${first}/${second}` in SOURCE ? `${first}/${second}` : first;
}

function layerViolations(
  place: string,
  layers: Layers,
  files: readonly SourceFile[],
  imports: readonly Import[],
): readonly string[] {
  const unknown = files
    .filter(({ file }) => layers[folderOf(file)] === undefined)
    .map(({ file }) => `${place}/${file}: the import rule does not know the folder ${folderOf(file)}`);
  const forbidden = imports
    .filter(({ file, target }) => {
      const [from, to] = [folderOf(file), folderOf(target)];
      return from !== to && layers[from]?.includes(to) === false;
    })
    .map(
      ({ file, target }) =>
        `${place}/${file} (${folderOf(file)}) imports ${place}/${target} (${folderOf(target)}): it may not`,
    );
  return [...unknown, ...forbidden];
}

/** Time, timers and chance. They are made in one file and passed in everywhere else. */
const CLOCKS =
  /\b(?:Date\.now|performance\.now|AbortSignal\.timeout|Math\.random|set(?:Timeout|Interval|Immediate)\b|node:timers\b|new Date\(\))/;
const MAKES_CLOCKS = ['cli/system.ts', 'system-clock.ts', 'next-turn.ts'];

/** The process and the terminal, as a global or as an import. */
const SURROUNDINGS = /\b(?:process|console)\.\w+|(?<=(?:from|import) '|import\(')(?:node:)?(?:process|console)(?=')/;
/** Files outside `src/cli` that may use one thing of the process. */
const PROCESS_USES: ReadonlyMap<string, string> = new Map([
  // A credential process that hangs is killed with its children, and only `node:process` kills by id.
  ['kms/aws/credentials/chain.ts', "import { kill } from 'node:process';"],
  // The library reads the environment, and touches nothing else of the process.
  ['api/surroundings.ts', 'process.env'],
  ['system-clock.ts', "import { hrtime } from 'node:process';"],
]);

function habitViolations(file: string, text: string): readonly string[] {
  const violations: string[] = [];
  const seen = text.replaceAll(PROCESS_USES.get(file) ?? '', '');
  const surroundings = folderOf(file) === 'cli' ? null : SURROUNDINGS.exec(seen);
  if (surroundings !== null)
    violations.push(`src/${file} uses ${surroundings[0]}: only src/cli touches the process and the terminal`);
  const clock = MAKES_CLOCKS.includes(file) ? null : CLOCKS.exec(text);
  if (clock !== null)
    violations.push(`src/${file} uses ${clock[0]}: pass a clock in (${MAKES_CLOCKS.join(', ')} make it)`);
  if (/^export default|^export \* from/m.test(text)) violations.push(`src/${file} has a default export or export *`);
  return violations;
}

/** Files that import each other in a circle. A header and the source of its name are one file here. */
function circles(place: string, imports: readonly Import[]): readonly string[] {
  const targets = new Map<string, string[]>();
  const module = (file: string): string => file.replace(/\.h$/, '.c');
  for (const { file, target } of imports) {
    const [from, to] = [module(file), module(target)];
    if (from !== to) targets.set(from, [...(targets.get(from) ?? []), to]);
  }
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file);
    if (start >= 0) found.push(`${place}: a circle of imports: ${[...path.slice(start), file].join(' → ')}`);
    if (start >= 0 || done.has(file)) return;
    for (const target of targets.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of [...targets.keys()].sort()) visit(file, []);
  return found;
}
