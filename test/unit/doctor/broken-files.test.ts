import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { nodeFileSystem } from '../../../src/disk/file-system.ts';
import { dataFileVectors } from '../../support/data-file-vectors.ts';
import { elf, newPatient, plainFiles, runServer } from './patient.ts';

it('there is no plugin library', async () => {
  const patient = await newPatient();
  rmSync(join(patient.plugins, 'aws_key_management.so'));
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  plugin-library: there is no ROOT/plugins/aws_key_management.so
             install -m 0644 aws_key_management.so ROOT/plugins/ && install -m 0755 aws_key_management_agent ROOT/plugins/
    exit 1"
  `);
});

it('the library is for another machine', async () => {
  const patient = await newPatient();
  patient.write('plugins/aws_key_management.so', elf(183), 0o755);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  plugin-library: ROOT/plugins/aws_key_management.so is for another machine (e_machine 183)
             install the library of the x64 package
    exit 1"
  `);
});

it('the library is no ELF file', async () => {
  const patient = await newPatient();
  patient.write('plugins/aws_key_management.so', 'MZ', 0o755);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  plugin-library: ROOT/plugins/aws_key_management.so is no ELF file
             install the library of the x64 package
    exit 1"
  `);
});

it('the library is the original plugin', async () => {
  const patient = await newPatient();
  patient.write('plugins/aws_key_management.so', elf(62).subarray(0, 64), 0o755);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  plugin-library: ROOT/plugins/aws_key_management.so is not of this project: it knows no aws_key_management_agent
             the plugin built with the AWS C++ SDK has the same name: replace it by ours
    exit 0"
  `);
});

it('the agent is not beside the library', async () => {
  const patient = await newPatient();
  rmSync(join(patient.plugins, 'aws_key_management_agent'));
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  agent: there is no ROOT/plugins/aws_key_management_agent
             install -m 0755 aws_key_management_agent ROOT/plugins/
    exit 1"
  `);
});

it('the agent may not be executed', async () => {
  const patient = await newPatient();
  chmodSync(join(patient.plugins, 'aws_key_management_agent'), 0o640);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  agent: mysql may not execute ROOT/plugins/aws_key_management_agent (mode 0640, owner root:0)
             chmod 0755 ROOT/plugins/aws_key_management_agent
    exit 1"
  `);
});

it('the agent lacks a library of the system', async () => {
  const patient = await newPatient({
    programs: {
      aws_key_management_agent: {
        code: 127,
        stderr: 'error while loading shared libraries: libatomic.so.1: cannot open shared object file',
      },
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  agent: ROOT/plugins/aws_key_management_agent does not run: error while loading shared libraries: libatomic.so.1: cannot open shared object file
             apt install libatomic1 (Red Hat: dnf install libatomic)
    exit 1"
  `);
});

it('the agent belongs to another release', async () => {
  const patient = await newPatient({ programs: { aws_key_management_agent: { stdout: '0.0.9 (0123456789ab)\n' } } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  agent: ROOT/plugins/aws_key_management_agent is of release 0.0.9, this program of 0.1.0
             install both from one package
    exit 0"
  `);
});

it('the agent can be replaced by others', async () => {
  const patient = await newPatient();
  chmodSync(patient.plugins, 0o777);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  agent: ROOT/plugins/aws_key_management_agent can be replaced by others than root: not run
             chown root:root ROOT/plugins ROOT/plugins/aws_key_management_agent && chmod go-w ROOT/plugins ROOT/plugins/aws_key_management_agent
    exit 0"
  `);
});

it('nothing listens on the socket of a separate agent', async () => {
  const patient = await newPatient({ options: { aws_key_management_agent: 'unix:/nowhere/agent.sock' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  agent: no agent listens on /nowhere/agent.sock
             mariadb-aws-kms agent --listen /nowhere/agent.sock --keyfile-dir DIR, or its service, must run before the server
    warning  backup: the keys are where the agent on unix:/nowhere/agent.sock has them, and mariadb-backup copies them only if that is the data directory
             after every backup, where the agent runs: mariadb-aws-kms backup-keys --keyfile-dir DIRECTORY-OF-THE-AGENT --to DIRECTORY
    exit 1"
  `);
});

it('the key directory does not exist', async () => {
  const patient = await newPatient({ options: { aws_key_management_keyfile_dir: '/nowhere/keys' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-directory: there is no directory /nowhere/keys
             install -d -o mysql -g mysql -m 0750 /nowhere/keys
    warning  backup: /nowhere/keys is in no mariadb-backup: without it no backup can be read
             after every backup: mariadb-aws-kms backup-keys --to DIRECTORY
    exit 1"
  `);
});

it('the key directory of encrypted data is gone', async () => {
  const patient = await newPatient({ keys: [] });
  const redo = dataFileVectors().find(({ vector }) => vector === 'redo-encrypted');
  patient.write('data/ib_logfile0', redo?.bytes ?? '');
  patient.alsoSet = { aws_key_management_keyfile_dir: join(patient.root, 'keys') };
  const { findings } = await patient.examine();
  const lost = findings.find(({ check }) => check === 'key-directory');
  expect(lost).toMatchObject({ status: 'failure', found: expect.stringMatching(/, and the data is encrypted: /) });
  const [words, command = ''] = lost?.fix?.split('\n') ?? [];
  expect(words).toMatch(/^mount it .* from a backup:$/);
  // The command, with the user who runs the tests for the server's, restores key files and sidecars.
  patient.makeKey('1.1');
  const files = ['aws-kms-key.1.1', 'aws-kms-key.1.1.json'];
  const backup = join(patient.root, 'backup');
  mkdirSync(backup);
  for (const file of files) renameSync(join(patient.data, file), join(backup, file));
  const [uid, gid] = [process.getuid?.(), process.getgid?.()];
  execFileSync('sh', ['-ec', command.replaceAll('-o mysql -g mysql', `-o ${uid} -g ${gid}`).replace('BACKUP', backup)]);
  expect(readdirSync(join(patient.root, 'keys')).sort()).toEqual(files);
  expect((await patient.examine()).exit).toBe(0);
});

it('the server may not enter the key directory', async () => {
  const patient = await newPatient();
  chmodSync(patient.data, 0o600);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-directory: mysql may not read ROOT/data (mode 0600, owner mysql:mysql)
             chown mysql: ROOT/data && chmod 0750 ROOT/data
    exit 1"
  `);
});

it('the server may not write the key directory, which has no keys', async () => {
  const patient = await newPatient({ keys: [] });
  chmodSync(patient.data, 0o550);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-directory: mysql may not list and write ROOT/data (mode 0550, owner mysql:mysql): no new keys can be stored
             chown mysql: ROOT/data && chmod 0750 ROOT/data
    failure  data: mysql may not list and write ROOT/data (mode 0550, owner mysql:mysql)
             chown -R mysql: ROOT/data && chmod u+rwx ROOT/data
    exit 1"
  `);
});

it('the server may not write the key directory, which has keys', async () => {
  const patient = await newPatient();
  chmodSync(patient.data, 0o550);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  data: mysql may not list and write ROOT/data (mode 0550, owner mysql:mysql)
             chown -R mysql: ROOT/data && chmod u+rwx ROOT/data
    warning  key-directory: mysql may not list and write ROOT/data (mode 0550, owner mysql:mysql): no new keys can be stored
             chown mysql: ROOT/data && chmod 0750 ROOT/data
    exit 1"
  `);
});

it('the key directory is writable for everybody', async () => {
  const patient = await newPatient();
  chmodSync(patient.data, 0o777);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  key-directory: everybody may write ROOT/data (mode 0777, owner mysql:mysql)
             chmod o-w ROOT/data
    exit 0"
  `);
});

it('the file system has no hard links', async () => {
  const patient = await newPatient({
    surroundings: {
      files: {
        ...plainFiles,
        keyDirectory: {
          ...nodeFileSystem,
          link: async () => {
            throw Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM' });
          },
        },
      },
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  key-directory: cannot store a key in the key directory ROOT/data: EPERM: operation not permitted, link
             the file system refuses it: it must support hard links, and the user the server runs as must own the directory
    exit 0"
  `);
});

it('the file system is full', async () => {
  const patient = await newPatient({
    surroundings: { files: { ...plainFiles, statfs: async () => ({ bsize: 4096, bavail: 0, files: 9, ffree: 9 }) } },
    keys: [],
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-directory: ROOT/data: 0 MiB free
             free some space: df -h ROOT/data
    exit 1"
  `);
});

it('strange files lie in the key directory', async () => {
  const patient = await newPatient();
  patient.write('data/aws-kms-key.01.1', 'x');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  key-directory: ROOT/data: not names of key files, ignored by the server: aws-kms-key.01.1
             look at them and move them away from ROOT/data
    exit 0"
  `);
});

it('keys are outside the data directory, beside other files', async () => {
  const patient = await newPatient();
  patient.write('data/notes.txt', 'x');
  patient.write('server/mysql/db.opt', '');
  patient.alsoSet = { datadir: join(patient.root, 'server'), aws_key_management_keyfile_dir: patient.data };
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  key-directory: ROOT/data holds files that are no keys: notes.txt
             give the keys a directory alone
    warning  backup: ROOT/data is in no mariadb-backup: without it no backup can be read
             after every backup: mariadb-aws-kms backup-keys --to DIRECTORY
    exit 0"
  `);
});

it('an unused sealed key cache is left over', async () => {
  const patient = await newPatient();
  patient.write('data/aws-kms-sealed-key-cache', 'x');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  key-directory: ROOT/data holds aws-kms-sealed-key-cache, and aws_key_management_sealed_key_cache is OFF
             nobody reads it any more: rm ROOT/data/aws-kms-sealed-key-cache
    exit 0"
  `);
  patient.alsoSet = { aws_key_management_sealed_key_cache: 'ON' };
  expect((await patient.examine()).problems).toBe('exit 0');
});

it('a key file is gone', async () => {
  const patient = await newPatient();
  rmSync(join(patient.data, 'aws-kms-key.1.2'));
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-files: key 1 version 2: its sidecar is there, its key file aws-kms-key.1.2 is gone
             restore it from a backup of the key directory: data under it cannot be read without it
    exit 1"
  `);
});

it('a version between 1 and the latest is missing', async () => {
  const patient = await newPatient({ keys: ['1.1', '1.3'] });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-files: key 1 version 2 is missing between version 1 and the latest
             restore it from a backup of the key directory: data under it cannot be read without it
    exit 1"
  `);
});

it('a key file is empty', async () => {
  const patient = await newPatient();
  patient.write('data/aws-kms-key.2.1', '');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-files: key 2 version 1: key file aws-kms-key.2.1: expected 1 to 6144 bytes, got 0
             restore the file from a backup
    exit 1"
  `);
});

it('a key file was swapped', async () => {
  const patient = await newPatient();
  patient.write('data/aws-kms-key.2.1', readFileSync(join(patient.data, 'aws-kms-key.1.1')));
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-files: key 2 version 1: key file aws-kms-key.2.1: its SHA-256 is A, its sidecar says B
             restore the file from a backup; if you replaced it on purpose, move aws-kms-key.2.1.json away
    exit 1"
  `);
});

it.each(['2.1', undefined])(
  'a running server is not restarted before its key file is back (damaged: %s)',
  async (damaged) => {
    const patient = await newPatient();
    runServer(patient);
    if (damaged === undefined) rmSync(join(patient.data, 'aws-kms-key.1.2'));
    else patient.write(`data/aws-kms-key.${damaged}`, 'damaged');
    const { findings } = await patient.examine();
    const fixes = findings
      .filter(({ check, status }) => check === 'key-files' && status === 'failure')
      .map(({ fix }) => fix);
    expect(fixes).toEqual([expect.stringMatching(/^do not restart the server before this:\nrestore /)]);
  },
);

it('a sidecar is damaged', async () => {
  const patient = await newPatient();
  patient.write('data/aws-kms-key.2.1.json', '{');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  key-files: sidecar aws-kms-key.2.1.json: it is not JSON
             restore it from a backup; without it key 2 version 1 loads when it is bound to what aws_key_management_encryption_context says now, or to nothing
    exit 0"
  `);
});

it('a key file cannot be read by the server', async () => {
  const patient = await newPatient();
  chmodSync(join(patient.data, 'aws-kms-key.2.1'), 0o040);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-files: mysql may not read ROOT/data/aws-kms-key.2.1 (mode 0040, owner mysql:mysql)
             chown mysql: ROOT/data/aws-kms-key.2.1 && chmod 0600 ROOT/data/aws-kms-key.2.1
    exit 1"
  `);
});

it('there are no keys, and none can be created', async () => {
  const patient = await newPatient({ keys: [], options: { aws_key_management_master_key_id: undefined } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-files: there is no key 1, and aws_key_management_master_key_id is empty: none can be created
             aws_key_management_master_key_id = alias/NAME, or point keyfile_dir at the existing keys
    warning  master-key: aws_key_management_master_key_id is empty: no new keys can be created
             in /etc/my.cnf, section [mariadb]: aws_key_management_master_key_id = alias/NAME
    exit 1"
  `);
});

it('there are no keys, and key 1 is not allowed', async () => {
  const patient = await newPatient({ keys: [], options: { aws_key_management_key_ids: '100-199' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-files: there is no key 1, and aws_key_management_key_ids does not allow it
             in /etc/my.cnf, section [mariadb]: aws_key_management_key_ids = 1-2,100-199
    warning  encryption-settings: aws_key_management_key_ids does not allow key 1, innodb_default_encryption_key_id: no encrypted table can be created
             add 1 to the list
    exit 1"
  `);
});

it('the key files belong to root: one finding for all', async () => {
  const patient = await newPatient();
  patient.strangers = ['1.1', '1.2', '2.1'].map((name) => join(patient.data, `aws-kms-key.${name}`));
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-files: mysql may not read ROOT/data/aws-kms-key.1.1 (mode 0600, owner root:0), nor 2 other key files
             chown mysql: ROOT/data/aws-kms-key.* && chmod 0600 ROOT/data/aws-kms-key.*
    exit 1"
  `);
});

it('the key files belong to root, and only root reads them: one finding for all, and for their sidecars', async () => {
  const denied = (path: string): Error =>
    Object.assign(new Error(`EACCES: permission denied, open '${path}'`), { code: 'EACCES' });
  const ofRoot = (path: string): boolean => /aws-kms-key\.\d/.test(path);
  const keyDirectory: typeof nodeFileSystem = {
    ...nodeFileSystem,
    open: async (path, ...rest) => {
      if (ofRoot(path)) throw denied(path);
      return await nodeFileSystem.open(path, ...rest);
    },
  };
  const patient = await newPatient({ surroundings: { files: { ...plainFiles, keyDirectory } } });
  const names = ['1.1', '1.2', '2.1'].map((name) => join(patient.data, `aws-kms-key.${name}`));
  patient.strangers = [...names, ...names.map((name) => `${name}.json`)];
  const { findings } = await patient.examine();
  expect(findings.filter(({ check }) => check === 'key-files')).toEqual([
    {
      check: 'key-files',
      status: 'failure',
      found: `mysql may not read ${names[0]} (mode 0600, owner root:0), nor 2 other key files`,
      fix: `chown mysql: ${patient.data}/aws-kms-key.* && chmod 0600 ${patient.data}/aws-kms-key.*`,
    },
  ]);
});

it('the sidecars belong to root: one warning for all', async () => {
  const patient = await newPatient({
    surroundings: {
      files: {
        ...plainFiles,
        keyDirectory: {
          ...nodeFileSystem,
          open: async (path, ...rest) => {
            if (path.endsWith('.json')) throw Object.assign(new Error('EACCES'), { code: 'EACCES' });
            return await nodeFileSystem.open(path, ...rest);
          },
        },
      },
    },
  });
  patient.strangers = ['1.1', '1.2', '2.1'].map((name) => join(patient.data, `aws-kms-key.${name}.json`));
  const { findings } = await patient.examine();
  expect(findings.filter(({ check }) => check === 'key-files')).toMatchObject([
    { status: 'warning', found: expect.stringMatching(/aws-kms-key.1.1.json \(.*\), nor 2 other sidecars$/) },
  ]);
});
