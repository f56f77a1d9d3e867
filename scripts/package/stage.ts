/** The tree of installed files that deb, rpm and tarball share. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { writeDocument } from './documents.ts';

/** Absolute directories of the target system that differ from one kind of package to another. */
export interface Layout {
  /** MariaDB's plugin directory. */
  readonly plugins: string;
  /** systemd's units of packages. Undefined: the packager's tool installs the unit. */
  readonly units: string | undefined;
  /** Documents, licences and notices. */
  readonly documents: string;
}

export interface Sources {
  /** The checkout. */
  readonly root: string;
  /** Output of its build. */
  readonly build: string;
  /** Seconds since 1970: the time of every staged file. */
  readonly epoch: number;
}

export const UNIT = 'mariadb-aws-kms-agent.service';
const COMMAND = '/usr/bin/mariadb-aws-kms';
const SHARED = '/usr/share/mariadb-aws-kms';
/** Files of `packaging/` in the directory above. */
const TEMPLATES = [
  'aws_key_management.cnf',
  'mariadb-aws-kms.conf',
  'mariadb-aws-kms-rotate.service',
  'mariadb-aws-kms-rotate.timer',
  'needrestart.conf',
  'removal-warnings',
];
const TOP_DOCUMENTS = ['README.md', 'CHANGELOG.md', 'SECURITY.md'];
const MANUALS = '/usr/share/man/man1';

/**
 * Puts the installed files below `tree`, which is empty. Modes do not depend on the umask, nor times on the clock.
 */
export function stage(tree: string, layout: Layout, { root, build, epoch }: Sources): void {
  const at = (installed: string): string => {
    const path = join(tree, installed);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  };
  const put = (from: string, to: string): void => cpSync(from, at(to), { recursive: true });
  const putIfMade = (from: string, to: string): void => {
    if (existsSync(from)) put(from, to);
  };

  put(join(build, 'plugin/aws_key_management_agent'), COMMAND);
  // Never the command: `strip` would take the scripts out of it. The build has stripped the rest of it.
  const library = join(layout.plugins, 'aws_key_management.so');
  const unneeded = ['--strip-unneeded', '--remove-section=.comment', '--remove-section=.note'];
  execFileSync('strip', [...unneeded, '-o', at(library), join(build, 'plugin/aws_key_management.so')]);
  symlinkSync(relative(layout.plugins, COMMAND), at(join(layout.plugins, 'aws_key_management_agent')));

  for (const name of TEMPLATES) put(join(root, 'packaging', name), join(SHARED, name));
  putIfMade(join(root, 'packaging/apparmor'), join(SHARED, 'apparmor'));
  if (layout.units !== undefined) put(join(root, 'packaging/systemd', UNIT), join(layout.units, UNIT));

  // Messages and the README name documents as docs/NAME.md.
  const documents = [...TOP_DOCUMENTS, ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)];
  const shipped = new Map([...documents.map((path) => [path, path] as const), ...elsewhere(layout)]);
  for (const path of documents) {
    if (path.endsWith('.md')) writeDocument(root, path, at(join(layout.documents, path)), shipped);
    else put(join(root, path), join(layout.documents, path));
  }
  putIfMade(join(build, 'notices'), layout.documents);
  putIfMade(join(build, 'man'), MANUALS);
  putIfMade(join(build, 'completion'), '/usr/share/bash-completion/completions');
  compressAll(join(tree, MANUALS));

  normalise(tree, [join(tree, COMMAND)], epoch);
}

/** Files of the sources that are shipped under another name, with their places as seen from the documents. */
function elsewhere({ documents }: Layout): readonly (readonly [source: string, place: string])[] {
  const template = (name: string) => [`packaging/${name}`, join(relative(documents, SHARED), name)] as const;
  return [['LICENSE', 'LICENSE.txt'], ['plugin/LICENSE', 'LICENSE.plugin.txt'], ...TEMPLATES.map(template)];
}

/** Node.js's gzip writes no name and no time. */
function compressAll(directory: string): void {
  if (!existsSync(directory)) return;
  for (const name of readdirSync(directory)) {
    const file = join(directory, name);
    writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
    rmSync(file);
  }
}

function normalise(tree: string, executables: readonly string[], epoch: number): void {
  const paths = readdirSync(tree, { recursive: true, encoding: 'utf8' }).map((name) => join(tree, name));
  for (const path of [tree, ...paths]) {
    const found = lstatSync(path);
    if (!found.isSymbolicLink()) chmodSync(path, found.isDirectory() || executables.includes(path) ? 0o755 : 0o644);
    lutimesSync(path, epoch, epoch);
  }
}
