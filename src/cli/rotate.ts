import { Command } from 'commander';
import { type Audit, auditData } from '../audit/audit.ts';
import { KeyError, toKeyError } from '../errors.ts';
import { keyId } from '../ids.ts';
import { openStore } from '../keystore/open-store.ts';
import { agesOf, parseAge } from '../operate/rotate/age.ts';
import { waitForDisk } from '../operate/rotate/disk.ts';
import { backupProcess, tooLittleSpace } from '../operate/rotate/local.ts';
import { backupRefusal, nameOfTable, namesOf, type Plan, planOf, pluginRefusal } from '../operate/rotate/plan.ts';
import { rebuildTables, tablesOf } from '../operate/rotate/rebuild.ts';
import { readState, readTablespaces, type ServerState } from '../operate/rotate/state.ts';
import type { TableName } from '../operate/rotate/table-name.ts';
import { rotateKeys } from '../operate/rotate/versions.ts';
import { type Retired, waitForServer } from '../operate/rotate/wait.ts';
import type { Configuration } from '../server/configuration.ts';
import { dataLocations } from '../server/data-locations.ts';
import { type SqlFlags, sqlTargetOf } from '../server/sql-target.ts';
import { diskOf, type Surroundings } from '../server/surroundings.ts';
import type { SqlServer, SqlTarget } from '../sql/server.ts';
import { type AuditLogOptions, audited, withAuditLog } from './audited.ts';
import { type OptionFileOptions, withOptionFiles } from './option-files.ts';
import type { CliIo } from './process-io.ts';
import { type ProgressBar, progressBar } from './progress-line.ts';
import { namedKeyPlace, readServer } from './read-server.ts';
import { printOutcome, printReport, type RotateReport, reportAsJson, statusOf } from './rotate-report.ts';
import { connectTo, withServerConnection } from './server-connection.ts';
import { systemSurroundings } from './system-surroundings.ts';

interface RotateOptions extends OptionFileOptions, SqlFlags, AuditLogOptions {
  readonly keyId?: number;
  readonly all?: boolean;
  readonly olderThan?: number;
  readonly wait?: boolean;
  readonly waitOnly?: boolean;
  readonly rebuild?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly keyfileDir?: string;
}

const HELP = `
SQL privileges:
  SUPER    for the statement that rotates
  PROCESS  to see tablespaces, and statements of backups
  ALTER, CREATE and INSERT on the tables, with --rebuild

AWS actions: none by this command; the server's identity makes the versions.

Exit status:
  0  done, or nothing was to do
  1  refused before anything changed, failed, or interrupted: the output says what was done
  2  bad usage
  3  INCOMPLETE: a key's age is not known, or --wait could not look at the disk
  4  done, and the outcome is not in the audit log`;
const EXAMPLES = `
Example:
  mariadb-aws-kms rotate --all --dry-run
  mariadb-aws-kms rotate --older-than 90d --wait
  mariadb-aws-kms rotate --key-id 3 --wait --rebuild
  mariadb-aws-kms rotate --wait-only`;

/** `mariadb-aws-kms rotate`. @throws KeyError BAD_OPTION, KEY_UNKNOWN, STORE_UNAVAILABLE, SERVER_…, SQL_FAILED */
export function rotateCommand(io: CliIo, surroundings: () => Surroundings = systemSurroundings): Command {
  return withAuditLog(withServerConnection(withOptionFiles(new Command('rotate'))))
    .description('make new key versions through the running server, and wait until its data has moved to them')
    .option('--key-id <id>', 'rotate this key', keyIdOption)
    .option('--all', 'rotate all keys of the server')
    .option(
      '--older-than <age>',
      'rotate only keys whose latest version is older, such as 90d, by their sidecars',
      parseAge,
    )
    .option('--wait', 'wait until the server has moved all data that it will move, and the disk shows it')
    .option('--wait-only', 'make no new version, and wait for the rotations before: goes on with an interrupted --wait')
    .option('--rebuild', 'rebuild tables that the server does not move, with ALTER TABLE … FORCE, one by one')
    .option('--dry-run', 'say what would happen, and change nothing')
    .option('--keyfile-dir <directory>', 'override aws_key_management_keyfile_dir, for --older-than')
    .option('--quiet', 'print problems only')
    .option(
      '--json',
      'print the result as JSON: { ok, server, keyIds, rotated, rebuilt, retired, disk, notes, problems, … }',
    )
    .addHelpText('after', HELP)
    .addHelpText('after', EXAMPLES)
    .action(async (options: RotateOptions) => {
      checkOptions(options);
      await new Rotation(options, io, surroundings()).run();
    });
}

function checkOptions({ keyId: id, all, olderThan, waitOnly }: RotateOptions): void {
  if (id !== undefined && all) throw new KeyError('BAD_OPTION', '--key-id and --all: only one of them at a time');
  if (waitOnly && olderThan !== undefined)
    throw new KeyError('BAD_OPTION', '--wait-only makes no version, and --older-than chooses for which keys');
  if (id !== undefined || all || olderThan !== undefined || waitOnly) return;
  throw new KeyError('BAD_OPTION', 'rotate which keys?', { hint: 'give --key-id N, --all, or --older-than 90d' });
}

class Rotation {
  readonly #options: RotateOptions;
  readonly #io: CliIo;
  readonly #outside: Surroundings;
  readonly #interrupted = new AbortController();
  readonly #connections: SqlServer[] = [];

  constructor(options: RotateOptions, io: CliIo, outside: Surroundings) {
    this.#options = options;
    this.#io = io;
    this.#outside = outside;
  }

  async run(): Promise<void> {
    const forget = this.#io.onSignal(() => this.#interrupted.abort(new KeyError('TIMEOUT', 'interrupted')));
    try {
      const { keyfileDir } = this.#options;
      const server = await readServer(this.#options, { variables: { keyfile_dir: keyfileDir } }, this.#outside);
      const target = await sqlTargetOf(this.#options, server, this.#outside, this.#interrupted.signal);
      await this.#rotate(server, target);
    } finally {
      forget();
      for (const sql of this.#connections) await sql.close();
    }
  }

  async #rotate(server: Configuration, target: SqlTarget): Promise<void> {
    const { waitOnly = false, wait = false, rebuild = false, dryRun = false } = this.#options;
    const { signal } = this.#interrupted;
    const sql = await this.#connect(target);
    const state = await readState(sql, signal);
    const unfit = pluginRefusal(state);
    if (unfit !== undefined) throw unfit;
    const scope = this.#scopeOf(state);
    const ages = await this.#ages(scope, server);
    const wish = { isWaitOnly: waitOnly, waits: wait || waitOnly, rebuilds: rebuild };
    const spaces = await readTablespaces(sql, signal);
    const chosen = waitOnly ? [] : ages.old;
    const plan = planOf(state, spaces, wish.waits || rebuild ? scope : chosen, {
      ...wish,
      isWaitOnly: chosen.length === 0,
    });
    const refusals = [...plan.refusals, ...(await this.#localRefusals(plan, state, target, sql))];
    const before: RotateReport = {
      server: sql.name,
      dryRun,
      keyIds: chosen,
      young: ages.young,
      undated: ages.undated,
      notes: plan.notes,
      rotated: [],
      untried: [],
      rebuilt: [],
      notRebuilt: [],
      retired: undefined,
      disk: 'not looked at',
      diskFound: [],
      interrupted: false,
      problems: refusals,
    };
    this.#say(before);
    if (refusals.length > 0 || dryRun) this.#end(before, statusOf(before));
    else await this.#work(before, { sql, target, state, plan, scope, waits: wish.waits });
  }

  #scopeOf({ keys }: ServerState): readonly number[] {
    const { keyId: id } = this.#options;
    if (id === undefined) return [...keys.keys()];
    if (keys.has(id)) return [id];
    const known = namesOf([...keys.keys()].map(String));
    throw new KeyError('KEY_UNKNOWN', `key ${id} does not exist; the keys of this server are ${known || 'none'}`, {
      hint: 'a key is made when the first table uses it: CREATE TABLE … ENCRYPTED=YES ENCRYPTION_KEY_ID=N',
    });
  }

  async #ages(scope: readonly number[], server: Configuration) {
    const { olderThan, keyfileDir } = this.#options;
    if (olderThan === undefined) return { old: scope, young: [], undated: [] };
    const { directory, named } = await namedKeyPlace(server, keyfileDir, this.#outside);
    const store = openStore(directory, diskOf(this.#outside), named);
    return await agesOf(store, scope, { nowMs: this.#outside.clock.wallMs(), ageMs: olderThan });
  }

  async #localRefusals(
    plan: Plan,
    state: ServerState,
    { place }: SqlTarget,
    sql: SqlServer,
  ): Promise<readonly KeyError[]> {
    if (!('socket' in place)) return [];
    const { waitOnly = false, rebuild = false } = this.#options;
    const datadir = datadirOf(state);
    const backup = await backupProcess(this.#outside, { datadir, socket: place.socket });
    return [
      ...(backup === undefined || (waitOnly && !rebuild) ? [] : [backupRefusal(backup)]),
      ...(rebuild ? await tooLittleSpace(plan.stuck, sql, this.#outside.files, datadir, this.#interrupted.signal) : []),
    ];
  }

  async #work(before: RotateReport, parts: WorkParts): Promise<void> {
    const tables = this.#options.rebuild ? tablesOf(parts.plan.stuck) : [];
    const change = async (): Promise<RotateReport> => await this.#change(before, tables, parts);
    if (before.keyIds.length === 0 && tables.length === 0) {
      const report = await this.#wait(before, parts);
      this.#end(report, statusOf(report));
      return;
    }
    const about = { server: before.server, keyIds: before.keyIds, rebuild: tables.map(nameOfTable) };
    const context = { io: this.#io, outside: this.#outside, options: this.#options };
    // The wait, which may be long, changes nothing.
    const { value, statusOf: loggedStatus } = await audited(context, 'rotate', about, async () => {
      const changed = await change();
      const { interrupted, problems, rotated, rebuilt, notRebuilt } = changed;
      const outcome = interrupted ? 'interrupted' : problems.length > 0 ? 'failed' : 'done';
      const codes = problems.map(({ code }) => code);
      return { outcome, facts: { rotated, rebuilt, notRebuilt, problems: codes }, value: changed };
    });
    const report = value.interrupted || value.problems.length > 0 ? value : await this.#wait(value, parts);
    this.#end(report, loggedStatus(statusOf(report)));
  }

  async #change(
    before: RotateReport,
    tables: readonly TableName[],
    { sql, state, target }: WorkParts,
  ): Promise<RotateReport> {
    const { signal } = this.#interrupted;
    const made = await rotateKeys(sql, before.keyIds, state.keys, signal);
    const report = { ...before, ...made, interrupted: signal.aborted };
    if (tables.length === 0 || signal.aborted || made.problems.length > 0)
      return { ...report, notRebuilt: tables.map(nameOfTable) };
    const bar = this.#bar('rebuild');
    try {
      const { done, left, problems } = await rebuildTables(tables, {
        sql: await this.#connect(target),
        onlooker: await this.#connect(target),
        clock: this.#outside.clock,
        signal,
        progress: (count, table, percent) => bar.at(count + percent / 100, tables.length, table),
      });
      return { ...report, rebuilt: done, notRebuilt: left, problems, interrupted: signal.aborted };
    } catch (thrown) {
      // The versions were made, and must be reported.
      return { ...report, notRebuilt: tables.map(nameOfTable), problems: [toKeyError(thrown)] };
    } finally {
      bar.clear();
    }
  }

  async #wait(report: RotateReport, parts: WorkParts): Promise<RotateReport> {
    const { signal } = this.#interrupted;
    if (!parts.waits) return report;
    let retired: readonly Retired[] | undefined;
    try {
      retired = await this.#waitForServer(parts);
      return { ...report, retired, ...(await this.#waitForDisk(retired, parts)) };
    } catch (thrown) {
      if (signal.aborted) return { ...report, retired, interrupted: true };
      return { ...report, retired, problems: [toKeyError(thrown)] };
    }
  }

  async #waitForServer({ sql, state, scope }: WorkParts): Promise<readonly Retired[]> {
    const bar = this.#bar('re-encryption');
    try {
      return await waitForServer({
        sql,
        state,
        clock: this.#outside.clock,
        signal: this.#interrupted.signal,
        keyIds: new Set(scope),
        progress: (done, all) => bar.at(done, all, `${done} of ${all} tablespaces`),
      });
    } finally {
      bar.clear();
    }
  }

  async #waitForDisk(
    retired: readonly Retired[],
    { state, target }: WorkParts,
  ): Promise<Pick<RotateReport, 'disk' | 'diskFound'>> {
    if (retired.length === 0) return { disk: 'agrees', diskFound: [] };
    if (!('socket' in target.place))
      return { disk: 'not looked at', diskFound: ['the server was reached over TCP: run this on its machine'] };
    const { files, clock } = this.#outside;
    const { signal } = this.#interrupted;
    const bar = this.#bar('audit of the disk');
    const locations = dataLocations(datadirOf(state), (name) => state.variables.get(name));
    const audit = async (paths: readonly string[] | undefined): Promise<Audit> =>
      await auditData(
        [paths === undefined ? { locations, isCopy: false, isUnprepared: false, more: [] } : { files: paths }],
        {
          disk: files.data,
          clock,
          signal,
          progress: (count) => bar.at(0, 0, `${count} files read`),
        },
      );
    const { behind, unseen } = await waitForDisk(retired, audit, clock, signal).finally(() => bar.clear());
    if (behind.length > 0) return { disk: 'disagrees', diskFound: behind };
    if (unseen.length === 0) return { disk: 'agrees', diskFound: [] };
    return { disk: 'not looked at', diskFound: unseen.map(({ path, reason }) => `${path}: ${reason}`) };
  }

  async #connect(target: SqlTarget): Promise<SqlServer> {
    const sql = await connectTo(target, this.#outside);
    this.#connections.push(sql);
    return sql;
  }

  #bar(title: string): ProgressBar {
    return progressBar({ redraw: this.#options.quiet ? undefined : this.#io.redraw }, this.#outside.clock, title);
  }

  /** Says what will happen, before it does. */
  #say({ server, keyIds, young, notes, dryRun }: RotateReport): void {
    if (this.#options.quiet || this.#options.json) return;
    this.#io.stdout(`server: ${server}`);
    if (young.length > 0) this.#io.stdout(`young enough: ${keysNamed(young)}`);
    this.#io.stdout(`${dryRun ? 'would rotate' : 'rotating'}: ${keysNamed(keyIds) || 'nothing'}`);
    for (const note of notes) this.#io.stdout(`- ${note}`);
  }

  #end(report: RotateReport, status: number): void {
    if (this.#options.json) this.#io.stdout(reportAsJson(report), 'prepared');
    else if (this.#options.quiet) printOutcome(this.#io, report);
    else printReport(this.#io, report, this.#again());
    this.#io.exit(status);
  }

  /** The command that goes on where this one was interrupted. */
  #again(): string {
    const { keyId: id, rebuild } = this.#options;
    const key = id === undefined ? '' : ` --key-id ${id}`;
    return `mariadb-aws-kms rotate${key} --wait-only${rebuild ? ' --rebuild' : ''}`;
  }
}

interface WorkParts {
  readonly sql: SqlServer;
  readonly target: SqlTarget;
  readonly state: ServerState;
  readonly plan: Plan;
  /** The keys to wait for. */
  readonly scope: readonly number[];
  readonly waits: boolean;
}

function datadirOf({ variables }: ServerState): string {
  return (variables.get('datadir') ?? '').replace(/(?<=.)\/+$/, '');
}

function keysNamed(ids: readonly number[]): string {
  return namesOf(ids.map((id) => `key ${id}`));
}

function keyIdOption(text: string): number {
  return keyId(/^\d{1,10}$/.test(text) ? Number(text) : 0);
}
