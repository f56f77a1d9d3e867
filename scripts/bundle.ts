/** Turns the sources of the command into the scripts that the executable holds. */
import { join } from 'node:path';
import { build, type CommonOptions, transform } from 'esbuild';

const root = join(import.meta.dirname, '..');
const entry = 'src/cli/main.ts';

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
  /** CommonJS modules by their names; the loader begins with `main.js`. */
  readonly chunks: ReadonlyMap<string, string>;
  /** Files that are in it, relative to the root of the checkout, sorted. */
  readonly inputs: readonly string[];
}

/** @param commit what `--version` prints */
export async function bundle(commit: string): Promise<Bundle> {
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
    define: { BUILD_COMMIT: JSON.stringify(commit) },
  });
  const chunks = new Map<string, string>();
  for (const { path, text } of outputFiles) chunks.set(path.slice(root.length + 1), await toCommonJs(text));
  const { outputFiles: loaders } = await build({
    ...COMMON,
    absWorkingDir: root,
    entryPoints: ['src/cli/load-chunks.ts'],
    write: false,
    format: 'esm',
  });
  const inputs = new Set(Object.values(metafile.outputs).flatMap((output) => Object.keys(output.inputs)));
  return { loader: loaders.map(({ text }) => text).join(''), chunks, inputs: [...inputs].sort() };
}

/** The loader can require but not import, also where a module is imported late. */
async function toCommonJs(code: string): Promise<string> {
  return (await transform(code, { ...COMMON, format: 'cjs', supported: { 'dynamic-import': false } })).code;
}
