import { hash } from 'node:crypto';
import { expect, it } from 'vitest';
import { auditHtml } from '../../../../src/audit/html/document.ts';
import { log, reportOf, tablespace } from '../../../support/audits.ts';

const EVIL = `"><script>alert(1)</script><img src=x onerror='alert(1)'>&\u202e\u0007`;

function textOf(html: string): string {
  return html
    .replace(/<style>[^<]*<\/style>/, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
}

it('the report has no script, fetches nothing, and its policy allows its own style sheet alone', () => {
  const html = auditHtml(reportOf([tablespace('d/t.ibd', { used: 1 })]));
  const [, style = ''] = /<style>([^<]*)<\/style>/.exec(html) ?? [];
  const [, policy = ''] = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html) ?? [];
  const allowed = `default-src 'none'; style-src 'sha256-${hash('sha256', style, 'base64')}'; base-uri 'none'; form-action 'none'`;
  expect(policy.replaceAll('&#39;', "'")).toBe(allowed);
  expect(
    html.match(/<(?:script|link|img|iframe|object|embed|form|a|base)\b|\b(?:src|href|style|on\w+)=|@import/g),
  ).toBeNull();
  expect(html.match(/url\([^)]*\)/g)).toEqual(['url(#hatch)']);
});

it('file names, paths and remarks are texts, whatever they hold', () => {
  const names = [`d/${EVIL}.ibd`, `${EVIL}/t.ibd`];
  const report = reportOf([...names.map((name) => tablespace(name, { clear: 3 })), log('binary log', EVIL, 1)], {
    where: `/${EVIL}`,
    unseen: [{ path: EVIL, reason: EVIL }],
    remarks: [EVIL],
    release: EVIL,
  });
  const html = auditHtml(report);
  const plain = auditHtml(
    reportOf([tablespace('d/t.ibd', { clear: 3 }), tablespace('d/u.ibd', { clear: 3 }), log('binary log', 'b', 1)], {
      unseen: [{ path: 'p', reason: 'r' }],
      remarks: ['remark'],
    }),
  );
  const tagsOf = (text: string): readonly string[] => [...text.matchAll(/<\/?[a-z]\w*/gi)].map(([tag]) => tag);
  expect(tagsOf(html)).toEqual(tagsOf(plain));
  for (const character of '\u0007\u202e') expect(html).not.toContain(character);
  expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
});

it('the report says when, by which release, and of which directory it was made', () => {
  const text = textOf(auditHtml(reportOf([])));
  expect(text).toContain('Encryption audit of /var/lib/mysql');
  expect(text).toContain('Made 2030-01-02 03:04:05 UTC, in 1.5 s, by mariadb-aws-kms 1.2.3.');
});

it.each([
  ['all is encrypted', [tablespace('d/t.ibd', { used: 1 })], [], 'Every file with data that was read is encrypted. '],
  [
    'a file could not be read',
    [tablespace('d/t.ibd', { used: 1 })],
    [{ path: 'd/u.ibd', reason: 'EACCES' }],
    'Every file with data that was read is encrypted. Incomplete: 1 path could not be read.',
  ],
  ['nothing was found', [], [], 'Incomplete: nothing was found that a server encrypts.'],
  [
    'a file is in clear and one is partly encrypted',
    [tablespace('d/t.ibd', { clear: 1 }), tablespace('d/u.ibd', { used: 1, clear: 1 })],
    [],
    'Not all is encrypted: 1 file in clear, 1 file partly encrypted.',
  ],
] as const)('the first sentence of the report says that %s', (_, files, unseen, sentence) => {
  expect(textOf(auditHtml(reportOf(files, { unseen })))).toContain(sentence);
});

it('each key version is listed with what needs it, or with nothing found here', () => {
  const files = [tablespace('d/t.ibd', { used: 2, free: 1 }), log('redo log', 'ib_logfile0', 3)];
  const unneeded = [1, 2, 3].map((version) => ({ id: 7, version, needs: {} }));
  const needs = [...reportOf(files).needs, ...unneeded, { id: 8, version: 4, needs: {} }];
  const text = textOf(auditHtml(reportOf(files, { needs })));
  expect(text).toContain('key 1 version 1 – 2 pages, 1 file, 32.8 KB 1 page, 1 file, 16.4 KB – needed');
  expect(text).toContain('key 1 version 3 1 file, 1.0 KB – – – needed');
  expect(text).toContain('key 7 versions 1 to 3 – – – – nothing found here');
  expect(text).toContain('key 8 version 4 – – – – nothing found here');
});

it('tables beyond the limit of the picture are summed, and every file is in the list', () => {
  const files = Array.from({ length: 40 }, (_, at) => tablespace(`d/t${at}.ibd`, { used: 100 - at }));
  const html = auditHtml(reportOf(files));
  expect(textOf(html)).toContain('25 smaller tables 25');
  for (const { file } of files) expect(html).toContain(`<td>${file}</td>`);
});

it('a long list of files is folded, and a short one is open', () => {
  const many = Array.from({ length: 201 }, (_, at) => tablespace(`d/t${at}.ibd`, { used: 1 }));
  expect(auditHtml(reportOf(many))).toContain('<details><summary>201 files');
  expect(auditHtml(reportOf(many.slice(1)))).toContain('<details open><summary>200 files');
});

it('a version that is needed and has no key file is named so', () => {
  const [of] = reportOf([tablespace('d/t.ibd', { used: 2 })]).needs;
  if (of === undefined) throw new Error('no key version is needed');
  const html = auditHtml(reportOf([tablespace('d/t.ibd', { used: 2 })], { needs: [{ ...of, isStored: false }] }));
  expect(textOf(html)).toContain('needed, without a key file');
});

it('requirements, contradictions and what was not read are told', () => {
  const report = reportOf([tablespace('d/t.ibd', { clear: 2 })], {
    requirements: [
      { requirement: '--require-encrypted', isMet: false, files: ['d/t.ibd'] },
      { requirement: '--require-version 2', isMet: true, files: [] },
    ],
    conflicts: [{ file: 'd/t.ibd', asked: 'innodb_encrypt_tables=ON', isEncrypted: false }],
    remarks: ['a remark'],
    unseen: [{ path: 'd/u.ibd', reason: 'EACCES' }],
    notLookedAt: ['backups', 'replicas'],
  });
  const text = textOf(auditHtml(report));
  for (const part of [
    '--require-encrypted: not met by 1 file',
    '--require-version 2: met',
    'd/t.ibd innodb_encrypt_tables=ON in clear, or partly',
    'a remark',
    'd/u.ibd EACCES',
    'Other data: backups, replicas.',
  ])
    expect(text).toContain(part);
});

it('every picture has a title and a description, and is no wider than the page', () => {
  const html = auditHtml(reportOf([tablespace('d/t.ibd', { used: 2, clear: 1 }), log('redo log', 'ib_logfile0', 1)]));
  const pictures = [...html.matchAll(/<svg class="bars"[\s\S]*?<\/svg>/g)].map(([picture]) => picture);
  expect(pictures).toHaveLength(3);
  for (const picture of pictures) {
    const [, title = '', description = ''] = /aria-labelledby="([\w-]+) ([\w-]+)"/.exec(picture) ?? [];
    expect(picture).toContain(`<title id="${title}">`);
    expect(picture).toContain(`<desc id="${description}">`);
    for (const [, x = '', width = ''] of picture.matchAll(/x="([\d.]+)%" y="\d+" width="([\d.]+)%"/g))
      expect(Number(x) + Number(width)).toBeLessThanOrEqual(100.01);
  }
});
