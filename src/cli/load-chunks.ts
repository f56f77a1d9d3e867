/**
 * The main script of the executable. Its one asset holds the chunks of the bundle, each a CommonJS module that is
 * compiled when it is first required: an agent that a plugin starts needs a sixth of the code. Node.js reads the
 * beginning of each asset at every start, so that several assets would be mapped whole.
 */
import { getRawAsset } from 'node:sea';
import { compileFunction } from 'node:vm';

/** Offset and length of each chunk in bytes, which are ASCII. The build sets it. */
declare const CHUNKS: Readonly<Record<string, readonly [number, number]>>;

/** Large modules of Node.js. The agent answers the plugin's greeting before it needs any of them. */
const LATE: ReadonlySet<string> = new Set(['node:crypto', 'node:fs/promises', 'node:v8', 'node:worker_threads']);

const code = getRawAsset('chunks');
const chunks = new Map<string, { readonly exports: unknown }>();

/** `require` of the chunks, which name each other `./CHUNK.js`. Everything else is a module of Node.js. */
function load(name: string): unknown {
  if (LATE.has(name)) return late(name);
  if (!name.startsWith('./')) return process.getBuiltinModule(name);
  const known = chunks.get(name);
  if (known !== undefined) return known.exports;
  const chunk = { exports: {} };
  // Known before it runs, as chunks may require each other.
  chunks.set(name, chunk);
  const filename = name.slice('./'.length);
  const place = CHUNKS[filename];
  if (place === undefined) throw new Error(`the bundle has no ${filename}`);
  const text = Buffer.from(code, ...place).toString('latin1');
  const run = compileFunction(text, ['require', 'module', 'exports'], { filename });
  run(load, chunk, chunk.exports);
  return chunk.exports;
}

/** A module of Node.js that is loaded when something of it is first used. */
function late(name: string): object {
  let loaded: object | undefined;
  const real = (): object => {
    loaded ??= process.getBuiltinModule(name) ?? {};
    return loaded;
  };
  return new Proxy(
    {},
    {
      get: (_, property): unknown => Reflect.get(real(), property),
      // For `import * as` and `import()`, of which esbuild makes copies.
      ownKeys: () => Reflect.ownKeys(real()),
      getOwnPropertyDescriptor: (_, property) => {
        const found = Reflect.getOwnPropertyDescriptor(real(), property);
        return found && { ...found, configurable: true };
      },
    },
  );
}

load('./main.js');
