import { expect, it } from 'vitest';
import { wordsOfProcess } from '../../../../../src/kms/aws/credentials/process-words.ts';

const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';

it.each([
  [
    'aws configure export-credentials --profile prod',
    '\nThe config profile (prod) could not be found\n',
    'The config profile (prod) could not be found',
  ],
  [
    '/opt/signer --cert /etc/pki/host.pem',
    'open /etc/pki/host.pem: permission denied',
    'open /etc/pki/host.pem: permission denied',
  ],
  ['source', 'Traceback:\n  File "/x.py", line 3\nValueError: no ticket\n', 'ValueError: no ticket'],
  ['source', '\u001b[31mred\u001b[0m\u0007', '[31mred [0m'],
  ['source', 'cat: /tmp/answers-1/answer.json: gone', 'cat: /tmp/answers-1/answer.json: gone'],
  ['source', `/${SECRET.replaceAll('/', '8')}`, '(hidden)'],
  ['source', '', ''],
  ['source', ' \n\t\n', ''],
  ['source', `key ${SECRET} refused`, 'key (hidden) refused'],
  ['source', `token=${Buffer.from(SECRET).toString('base64')}`, '(hidden)'],
  ['source --password swordfish', 'bad password swordfish', 'bad password (hidden)'],
  ['source --client-secret=swordfish', 'bad secret swordfish', 'bad secret (hidden)'],
  ["source 'hunter22'", 'not hunter22', 'not (hidden)'],
  ['source --key-file /run/key', 'cannot read /run/key', 'cannot read (hidden)'],
])('the error of `%s`, which says %j, is shown as %j', (command, said, shown) => {
  expect(wordsOfProcess(command, `Command failed: ${command}\n${said}`)).toBe(shown);
});

it('the error of another command is not shown', () => {
  expect(wordsOfProcess('source', 'Command failed: other\nwhat it said')).toBe('');
  expect(wordsOfProcess('source', 'stdout maxBuffer length exceeded')).toBe('');
});

it('a long error is cut between two words', () => {
  const shown = wordsOfProcess('source', `Command failed: source\n${'word '.repeat(100)}`);
  expect(shown).toHaveLength(301);
  expect(shown).toMatch(/word …$/);
});
