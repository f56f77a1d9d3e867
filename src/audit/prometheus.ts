/** The audit for Prometheus: the text format that the textfile collector of node_exporter reads. */
import { printable } from '../printable.ts';
import type { FileAudit, FileState } from './file-audit.ts';
import { isNeeded, NEED_CLASSES, type Need } from './needs.ts';
import { type AuditReport, isComplete } from './report.ts';

const PREFIX = 'mariadb_aws_kms_audit_';
const STATES: readonly FileState[] = ['encrypted', 'partly', 'clear', 'empty'];

type Labels = Readonly<Record<string, string | number>>;
type Sample = readonly [labels: Labels, value: number];

/** Every sample names the data directory, so that servers of one machine can each have a file. No label names a file. */
export function auditMetrics(report: AuditReport): string {
  const { where, files, unseen, needs, release, endMs, durationMs, requirements } = report;
  const gauge = (name: string, help: string, samples: readonly Sample[]): readonly string[] => [
    `# HELP ${PREFIX}${name} ${help}`,
    `# TYPE ${PREFIX}${name} gauge`,
    ...samples.map(([labels, value]) => `${PREFIX}${name}${labelled({ datadir: where, ...labels })} ${value}`),
  ];
  const strange = files.reduce((sum, { pages }) => sum + (pages?.strangePages ?? 0), 0);
  return [
    ...gauge('info', 'The program that made the audit.', [[{ release }, 1]]),
    ...gauge(
      'files',
      'Files by kind and by whether their data is encrypted.',
      byKindAndState(files, () => 1),
    ),
    ...gauge(
      'file_bytes',
      'Length of files by kind and by whether their data is encrypted.',
      byKindAndState(files, ({ bytes }) => bytes),
    ),
    ...gauge(
      'clear_pages',
      'Pages in clear that could be encrypted, by whether they are in use.',
      (['used', 'free'] as const).map((use) => [
        { use },
        files.reduce((sum, { pages }) => sum + (pages?.clear[use] ?? 0), 0),
      ]),
    ),
    ...gauge('unreadable_pages', 'Pages that are damaged, or were being written each time they were read.', [
      [{}, strange],
    ]),
    ...gauge('unseen_paths', 'Files and directories that could not be read.', [[{}, unseen.length]]),
    ...gauge(
      'key_versions',
      'Key versions by whether anything that was found needs them.',
      [...Map.groupBy(needs, ({ id }) => id)].flatMap(([id, versions]) =>
        [true, false].map((isNeededHere): Sample => {
          const those = versions.filter((version) => isNeeded(version) === isNeededHere);
          return [{ key_id: id, needed: `${isNeededHere}` }, those.length];
        }),
      ),
    ),
    ...gauge('key_version_files', 'Files that need a key version, by what they need it for.', amounts(needs, 'files')),
    ...gauge(
      'key_version_pages',
      'Pages under a key version, by what needs them; logs have none.',
      amounts(needs, 'pages'),
    ),
    ...gauge(
      'requirement_met',
      'Whether a requirement is met: 1 or 0.',
      requirements.map(({ requirement, isMet }) => [{ requirement }, isMet ? 1 : 0]),
    ),
    ...gauge('complete', 'Whether everything was read: 1 or 0.', [[{}, isComplete(report) ? 1 : 0]]),
    ...gauge('duration_seconds', 'Time that the audit took.', [[{}, durationMs / 1000]]),
    ...gauge('timestamp_seconds', 'When the audit ended, in seconds since 1970.', [[{}, endMs / 1000]]),
    '',
  ].join('\n');
}

function byKindAndState(files: readonly FileAudit[], amount: (file: FileAudit) => number): readonly Sample[] {
  return [...Map.groupBy(files, ({ kind }) => kind)].flatMap(([kind, those]) =>
    STATES.map((state): Sample => {
      const sum = those.reduce((all, file) => all + (file.state === state ? amount(file) : 0), 0);
      return [{ kind: kind.toLowerCase().replaceAll(' ', '_'), state }, sum];
    }),
  );
}

function amounts(versions: AuditReport['needs'], what: keyof Need): readonly Sample[] {
  return versions.flatMap(({ id, version, needs }) =>
    NEED_CLASSES.flatMap((need): readonly Sample[] => {
      const found = needs[need];
      if (found === undefined) return [];
      const amount = what === 'files' ? found.files.length : found.pages;
      return [[{ key_id: id, key_version: version, class: need }, amount]];
    }),
  );
}

function labelled(labels: Labels): string {
  return `{${Object.entries(labels).map(([name, value]) => `${name}="${escaped(`${value}`)}"`)}}`;
}

/** Exposition formats: backslash, double quote and line feed are escaped in a label value. The last is gone here. */
function escaped(text: string): string {
  return printable(text).replace(/[\\"]/g, '\\$&');
}
