/** Turns the sources of the command into the scripts that the executable holds. */
import { join } from 'node:path';
import { build, type CommonOptions, type Metafile, transform } from 'esbuild';

const root = join(import.meta.dirname, '..');
const entry = 'src/cli/main.ts';
/** The main modules of threads, which have no file to start from: the bundle has their texts, under these names. */
const THREADS = { PAGES_THREAD: 'src/decrypt/tablespace/thread.ts', AUDIT_THREAD: 'src/audit/thread.ts' };

const COMMON = {
  platform: 'node',
  target: `node${process.versions.node.split('.')[0]}`,
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
} as const satisfies CommonOptions;

export interface Bundle {
  /** The main script, an ES module. */
  readonly loader: string;
  /** CommonJS modules, one after the other, in ASCII. The loader has their names, and begins with `main.js`. */
  readonly chunks: string;
  /** Files that are in it, relative to the root of the checkout, sorted. */
  readonly inputs: readonly string[];
}

/** @param commit what `--version` prints */
export async function bundle(commit: string): Promise<Bundle> {
  const threads = await Promise.all(Object.entries(THREADS).map(([name, module]) => bundleThread(name, module)));
  const { outputFiles, metafile } = await build({
    ...COMMON,
    absWorkingDir: root,
    entryPoints: [entry],
    outdir: root,
    write: false,
    bundle: true,
    metafile: true,
    // Only ES modules can be split.
    format: 'esm',
    splitting: true,
    // Prefer ES modules, from which unused exports can be removed.
    mainFields: ['module', 'main'],
    define: {
      BUILD_COMMIT: JSON.stringify(commit),
      ...Object.fromEntries(threads.map(({ name, text }) => [name, JSON.stringify(text)])),
    },
  });
  const modules = new Map<string, string>();
  for (const { path, text } of outputFiles) modules.set(path.slice(root.length + 1), await toCommonJs(text));
  // A start reads few pages of the executable where its modules stand together.
  const names = new Set([...loadedWith('main.js', metafile), ...modules.keys()]);
  const places: Record<string, readonly [offset: number, length: number]> = {};
  let chunks = '';
  for (const name of names) {
    const code = modules.get(name);
    if (code === undefined) throw new Error(`esbuild wrote no ${name}`);
    // esbuild writes ASCII; the loader relies on it.
    if (/[^\0-\x7f]/.test(code)) throw new Error(`${name} is not ASCII`);
    places[name] = [chunks.length, code.length];
    chunks += code;
  }
  const { outputFiles: loaders } = await build({
    ...COMMON,
    absWorkingDir: root,
    entryPoints: ['src/cli/load-chunks.ts'],
    write: false,
    format: 'esm',
    define: { CHUNKS: JSON.stringify(places) },
  });
  const inputs = new Set(
    [...threads.map((thread) => thread.metafile), metafile].flatMap(({ outputs }) =>
      Object.values(outputs).flatMap((output) => Object.keys(output.inputs)),
    ),
  );
  return { loader: loaders.map(({ text }) => text).join(''), chunks, inputs: [...inputs].sort() };
}

async function bundleThread(name: string, module: string): Promise<{ name: string; text: string; metafile: Metafile }> {
  const { outputFiles, metafile } = await build({
    ...COMMON,
    absWorkingDir: root,
    entryPoints: [module],
    outdir: root,
    write: false,
    bundle: true,
    metafile: true,
    format: 'cjs',
    mainFields: ['module', 'main'],
  });
  return { name, text: outputFiles.map(({ text }) => text).join(''), metafile };
}

/** Names of the chunk and of all that it imports statically. */
function loadedWith(name: string, { outputs }: Metafile): ReadonlySet<string> {
  const names = new Set([name]);
  // A set's iteration also visits what is added meanwhile.
  for (const each of names) {
    for (const { path, kind, external } of outputs[each]?.imports ?? [])
      if (kind === 'import-statement' && external !== true) names.add(path);
  }
  return names;
}

/** The loader can require but not import, also where a module is imported late. */
async function toCommonJs(code: string): Promise<string> {
  return (await transform(code, { ...COMMON, format: 'cjs', supported: { 'dynamic-import': false } })).code;
}
