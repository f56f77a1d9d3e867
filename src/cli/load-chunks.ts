/**
 * The main script of the executable. Its assets are the chunks of the bundle, each a CommonJS module that is compiled
 * when it is first required: an agent that a plugin starts needs a fifth of the code.
 */
import { getAsset } from 'node:sea';
import { compileFunction } from 'node:vm';

const chunks = new Map<string, { readonly exports: unknown }>();

/** `require` of the chunks, which name each other `./CHUNK.js`. Everything else is a module of Node.js. */
function load(name: string): unknown {
  if (!name.startsWith('./')) return process.getBuiltinModule(name);
  const known = chunks.get(name);
  if (known !== undefined) return known.exports;
  const chunk = { exports: {} };
  // Known before it runs, as chunks may require each other.
  chunks.set(name, chunk);
  const filename = name.slice('./'.length);
  const run = compileFunction(getAsset(filename, 'utf8'), ['require', 'module', 'exports'], { filename });
  run(load, chunk, chunk.exports);
  return chunk.exports;
}

load('./main.js');
