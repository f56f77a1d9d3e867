/** Data directories with files of any bytes, and of names that printed reports and patterns might stumble over. */
import fc from 'fast-check';
import type { DataSeeds } from './data-seeds.ts';
import { spoiltFile } from './spoilt-files.ts';

/** Files by their path in the directory. Each can be written to a disk. */
export type AnyDirectory = ReadonlyMap<string, Buffer>;
type Files = readonly (readonly [path: string, bytes: Buffer])[];

/** Any bytes, each a character: the library's own strings of all characters take seconds to set up. */
function characters(maxLength: number): fc.Arbitrary<string> {
  return fc.uint8Array({ minLength: 1, maxLength }).map((bytes) => Buffer.from(bytes).toString('latin1'));
}

const NAMES = [
  't',
  'u',
  '#sql-ib3',
  'a#P#p0',
  'a.b',
  '@0041@003c',
  'FTS_0000000000000018_CONFIG',
  '\u2028\u202e\ud800',
];
const FOLDERS = ['d', 'd', 'mysql', '@0041', '<b>&"\'', '\\"}\n'];

function nameOnDisk(text: string): string {
  const name = text.replace(/[/\0]/g, '_');
  return name === '.' || name === '..' ? '_' : name;
}

/** A path of a file or a directory, as an option or a line of an index has it. */
export const anyPath: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom('./d/t.ibd', '/data/d/t.ibd', 'binlog.000001', '../x.ibd', '/', '/data', '', '/data/d'),
  fc.constantFrom('/a"b\\c<d>&\n', '/\u202e\u2028\u009b', "'/><script>", '/{}=,#'),
  characters(40),
);

export function anyDirectory(seeds: DataSeeds): fc.Arbitrary<AnyDirectory> {
  const tablespace = spoiltFile(seeds.tablespaces);
  const redo = spoiltFile(seeds.redoLogs);
  const folder = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...FOLDERS) }, characters(8).map(nameOnDisk));
  const name = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...NAMES) }, characters(12).map(nameOnDisk));
  const inFolder = fc.tuple(folder, name).map(([of, one]) => `${of}/${one}`);
  const text = fc
    .tuple(fc.array(anyPath, { maxLength: 6 }), fc.constantFrom('\n', '\r\n', '\0', ''))
    .map(([lines, end]) => Buffer.from(lines.map((line) => line + end).join('')));
  const one = (path: fc.Arbitrary<string>, bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Files> =>
    fc.tuple(path, bytes).map((file) => [file]);
  const part = fc.oneof<fc.WeightedArbitrary<Files>[]>(
    {
      weight: 4,
      arbitrary: one(
        inFolder.map((path) => `${path}.ibd`),
        tablespace,
      ),
    },
    { weight: 2, arbitrary: one(fc.constantFrom('ibdata1', 'ibdata2', 'undo001', 'ibtmp1'), tablespace) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(inFolder, fc.constantFrom('', 'mysql/global_priv', 'd/#sql-temptable-1'), spoiltFile(seeds.indexes))
        .chain(([path, known, index]) =>
          spoiltFile(seeds.rows).map((rows) => [
            [`${known || path}.MAI`, index],
            [`${known || path}.MAD`, rows],
          ]),
        ),
    },
    { weight: 2, arbitrary: one(fc.constantFrom('ib_logfile0', 'ib_logfile1', 'ib_0000000000003000.log'), redo) },
    {
      weight: 1,
      arbitrary: redo.map((log) => ['1000', '2000', '300A'].map((lsn) => [`ib_000000000000${lsn}.log`, log] as const)),
    },
    {
      weight: 2,
      arbitrary: spoiltFile(seeds.binaryLogs).map((log) => [
        ['binlog.000001', log],
        ['binlog.index', Buffer.from('./binlog.000001\n')],
      ]),
    },
    {
      weight: 1,
      arbitrary: one(
        inFolder.map((path) => `${path}.isl`),
        text,
      ),
    },
    { weight: 1, arbitrary: one(fc.constantFrom('relay.index', 'binlog.index', 'd/t.ibd.delta'), text) },
    { weight: 1, arbitrary: one(inFolder, tablespace) },
  );
  return fc.array(part, { maxLength: 5 }).map((parts) => new Map(parts.flat()));
}
